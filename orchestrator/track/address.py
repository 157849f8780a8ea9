"""A tracking store by its address: a file, a database's server, or a tracking server; and whether anybody answers."""

import os
import urllib.error
import urllib.request

_REACH_SECONDS = 20


def is_served(uri: str) -> bool:
    """Whether a server stands before the store; else it is a database."""
    return uri.startswith(("http://", "https://"))


def reach(uri: str) -> None:
    """Asks once, whether anybody answers; MLflow itself would go on asking for minutes."""
    if not is_served(uri):
        if not uri.startswith("sqlite"):
            import sqlalchemy

            engine = sqlalchemy.create_engine(uri)
            try:
                engine.connect().close()
            finally:
                engine.dispose()
        return
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers; a proxy may not know /health
