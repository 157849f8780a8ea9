"""What a tracking store takes: PostgreSQL refuses what SQLite takes, and after hours of training it is too late.

Every text that is recorded goes through here, before training and after, and comes out the same each time. What is too
long keeps its beginning and ends in a digest of the whole, so that two that differ stay two.
"""

import hashlib
import posixpath
import re
from functools import lru_cache

VALUE_LIMIT = 5000  # characters of a tag: MLflow 2.12 and earlier take 5,000, later ones 8,000
NAME_LIMIT = 250  # of a key, and of a run's name
PARAM_LIMIT = 6000
LOCATION_LIMIT = 156  # of an experiment's artifacts: a run's, which PostgreSQL has 200 for, are 44 longer
_DIGITS = 8
_FOREIGN = re.compile(r"[^/\w.\- :]")


def as_value(text: str, limit: int = VALUE_LIMIT) -> str:
    """A text as every store takes it: without NUL, which PostgreSQL has no place for, whole in UTF-8, not too long."""
    clean = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    if len(clean) <= limit:
        return clean
    return f"{clean[: limit - _DIGITS - 1]}~{_digest(text)}"


@lru_cache(maxsize=10_000)
def as_name(name: str) -> str:
    """The key of a metric, parameter or tag: the same, unless MLflow would refuse it."""
    kept = posixpath.normpath(_FOREIGN.sub("_", name)).lstrip("/.") or "_"
    if kept == name and len(name) <= NAME_LIMIT:
        return name
    return f"{kept[: NAME_LIMIT - _DIGITS - 1]}-{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
