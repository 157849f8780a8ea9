"""Texts as they may be shown, recorded and sent: without the passwords and tokens in them.

What reaches a screen, MLflow or a job's record passes `without_passwords`. It knows the forms in which addresses and
settings carry a secret, and besides the very secrets that this process was given, wherever a library quotes them.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus, urlsplit

from orchestrator.secrecy.tokens import without_tokens

UNSHOWABLE = "(an address that cannot be shown)"
_SERVED = ("http://", "https://")
_KEY = r"[\w.-]*(?:password|passwd|passphrase|passfile|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key)"
_KEY = rf"(?:{_KEY}|sig|signature|authorization)"
_SECRET_KEY = re.compile(_KEY, re.IGNORECASE)
_SETTING = re.compile(  # password=…, "token": "…", ?api_key=…&
    rf"(?i)(?<![\w.-])({_KEY}(?:\s*=\s*|[\"']\s*[:=]\s*(?:b?(?=[\"']))))"
    r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s&;,'\"()\[\]{}]+)"
)
_ENCODED = re.compile(rf"(?i)(?<![\w.-])({_KEY}%3D)(?:(?!%3B|%26)[^\s&;'\"])+")  # ODBC's settings in a query
_HEADER = re.compile(r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|digest|token)\s+)[^\s\"',]+")
_SERVER = r"(?:[\w.-]+\+)?https?"
_START = r"(?i)(?<![\w+.-])"
_PORT = r"(?!\d{1,5}(?:[/?#\s,;:)\"']|$))"
_IN_ADDRESS = (  # up to the last @ without a space before it; what follows a port is a path, where a @ may stand
    re.compile(rf"{_START}({_SERVER}://[^\s/:@?#\"'<>]*):{_PORT}(?:(?!://)[^\s\"'<>])*@"),
    re.compile(
        rf"{_START}((?!{_SERVER}:|file:|sqlite[\w+]*:)[a-z][a-z0-9+.-]*://[^\s:@\"'<>]*):(?:(?!://)[^\s\"'<>])*@"
    ),
    re.compile(rf"{_START}((?!file:|sqlite[\w+]*:)[a-z][a-z0-9+.-]*://[^\s/:@\"'<>]+):{_PORT}(?:(?!://)[^\n@])*@"),
)
_ENVIRONMENT = re.compile(r"(?i)(?:^|_)(?:PASSWORD|PASSWD|PGPASSWORD|TOKEN|SECRET|API_KEY|SECRET_ACCESS_KEY)$")
_ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_REGISTRY_URI", "DATABASE_URL")
_SHORTEST, _LONG = 6, 8  # characters: of what the environment tells; of what is hidden even within a word

_ESCAPE = re.compile("%[0-9A-F]{2}")

_told: set[str] = set()


def remember(address: str) -> None:
    """Has the secrets of an address left out of every text that this process shows from now on."""
    _told.update(secrets_of(address))


def secrets_of(address: str) -> set[str]:
    """Passwords and tokens in an address, decoded, as the library that connects to it reads them."""
    found = set()
    for _, password in _userinfo(address):
        found |= {password, unquote(password)}
    query = address.partition("?")[2].partition("#")[0]
    found |= {value for name, value in parse_qsl(query) if _SECRET_KEY.fullmatch(name)}
    return found - {"", "***"}


def _userinfo(address: str) -> Iterator[tuple[str, str]]:
    """User and password by every reading: SQLAlchemy ends a password at the first @, RFC 3986 at the last."""
    scheme, there, rest = address.partition("://")
    if not there or scheme.partition("+")[0] in ("sqlite", "file"):
        return
    ends = [rest.find("@"), rest.rfind("@")]
    if f"{scheme}://" in _SERVED:
        with suppress(ValueError):  # no address after all: every reading counts
            ends = [urlsplit(address).netloc.rfind("@")]
    for end in ends:
        user, colon, password = rest[: max(end, 0)].partition(":")
        if colon and password:
            yield user, password


def has_password(text: str) -> bool:
    """Whether an address or a setting in it carries one, or a token is in it."""
    return _without_forms(text) != text


def shown_address(address: str) -> str:
    """An address without its secrets; one that cannot be parsed is not shown at all."""
    return without_passwords(address) if _parses(address) else UNSHOWABLE


def _parses(address: str) -> bool:
    if "://" not in address:
        return "@" not in address  # a path, or a name such as auto
    if address.startswith(_SERVED):
        try:
            parts = urlsplit(address)
            return bool(parts.hostname) and (parts.port is None or parts.port >= 0)
        except ValueError:
            return False
    import sqlalchemy  # a quarter of a second, which bad input is answered without

    try:
        sqlalchemy.make_url(address)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return False
    return True


def without_passwords(text: str) -> str:
    """The text with `***` in the place of every password and token."""
    for secret in sorted(_known(), key=len, reverse=True):
        for form in _forms(secret):
            text = _replaced(text, form)
    return _without_forms(text)


def _without_forms(text: str) -> str:
    """Without what has the form of a secret."""
    text = without_tokens(text)
    for pattern in _IN_ADDRESS:
        text = pattern.sub(r"\1:***@", text)
    for pattern in (_HEADER, _SETTING, _ENCODED):
        text = pattern.sub(r"\1***", text)
    return text


def _known() -> set[str]:
    """What this process was given: in addresses and by the environment."""
    known = set(_told)
    for name, value in os.environ.items():
        if name in _ADDRESSES:
            known |= secrets_of(value)
        elif len(value) >= _SHORTEST and _ENVIRONMENT.search(name):
            known.add(value)
    return known


def _forms(secret: str) -> list[str]:
    """A secret as it may stand in a text: plain, encoded for an address, in a literal of Python's."""
    plain = {secret, unquote(secret), unquote_plus(secret)}
    forms = plain | {write(text) for text in plain for write in (quote, quote_plus, _quoted_whole, _in_a_literal)}
    forms |= {_ESCAPE.sub(lambda found: found[0].lower(), each) for each in forms}
    return sorted(forms - {""}, key=len, reverse=True)


def _quoted_whole(text: str) -> str:
    return quote(text, safe="")


def _in_a_literal(text: str) -> str:
    return repr(text)[1:-1]


def _replaced(text: str, secret: str) -> str:
    if secret not in text:
        return text
    if len(secret) >= _LONG:
        return text.replace(secret, "***")
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
