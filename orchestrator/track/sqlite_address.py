"""Where SQLite keeps a database, as an address and as a file.

In an address `?` begins options and, from SQLAlchemy 2.1 on, `%` a quoted character: of a folder that has one in its
name, another file would be opened, outside of it. SQLAlchemy 2.0 quotes nothing itself, but SQLite's own addresses do.
"""

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

_SPECIAL = frozenset("?%")
_QUOTED = "sqlite+pysqlite:///"  # MLflow makes the folder of what follows `sqlite:///`, whether it is quoted or not


def address_of(file: Path) -> str:
    """The address of the database in a file."""
    if _SPECIAL.isdisjoint(str(file)):
        return f"sqlite:///{file}"
    from sqlalchemy import make_url  # a quarter of a second, which most do without

    address = f"{_QUOTED}{quote(str(file))}"
    if make_url(address).database == str(file):
        return address
    return f"{_QUOTED}file:{quote(str(file))}?uri=true"


def file_of(address: str) -> Path | None:
    """The whole path of the database at an address; None where it is no file of SQLite's: a server, or in memory."""
    dialect, there, name = address.partition(":///")
    if not there or dialect.partition("+")[0] != "sqlite":
        return None
    if not _SPECIAL.isdisjoint(name):  # its options, or what it quotes
        from sqlalchemy import make_url

        url = make_url(address)
        name = url.database or ""
        if "uri" in url.query and name.startswith("file:"):
            name = ":memory:" if url.query.get("mode") == "memory" else unquote(urlsplit(name).path)
    return None if name in ("", ":memory:") else Path(name).absolute()
