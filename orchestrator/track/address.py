"""A tracking store by its address: a file, a database's server, or a tracking server; and whether anybody answers."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.errors import UserError

_REACH_SECONDS = 20


def sqlite_address(file: Path) -> str:
    """Of an SQLite database, by its whole path.

    Raises:
        UserError: the path has a character at which an address ends.
    """
    plain = f"sqlite:///{file}"
    if not _has_special(plain):
        return plain
    import sqlalchemy  # a quarter of a second, for a path as few have it

    address = sqlalchemy.URL.create("sqlite", database=str(file)).render_as_string()
    if sqlalchemy.make_url(address).database != str(file):  # SQLAlchemy before 2.1 writes none of such a path
        raise UserError(f"an SQLite database cannot be addressed in {file.parent}: choose a folder without ? and %")
    return address


def database_file(uri: str) -> Path | None:
    """The file of an SQLite database; None for any other store."""
    if not uri.startswith("sqlite:///"):
        return None
    if not _has_special(uri):
        return Path(uri.removeprefix("sqlite:///")).absolute()
    import sqlalchemy

    return Path(sqlalchemy.make_url(uri).database or "").absolute()


@contextmanager
def opened_by_mlflow(uri: str) -> Iterator[None]:
    """MLflow makes a folder of an address as it is written, `%3F` for `?`; what was not there before goes again."""
    written = Path(uri.removeprefix("sqlite:///")).parent
    is_odd = uri.startswith("sqlite:///") and _has_special(uri) and not written.exists()
    try:
        yield
    finally:
        if is_odd:
            with suppress(OSError):
                os.removedirs(written)


def _has_special(text: str) -> bool:
    return "%" in text or "?" in text


def is_served(uri: str) -> bool:
    """Whether a server stands before the store; else it is a database."""
    return uri.startswith(("http://", "https://"))


def reach(uri: str) -> None:
    """Asks once, whether anybody answers; MLflow itself would go on asking for minutes."""
    if not is_served(uri):
        if not uri.startswith("sqlite:"):
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
