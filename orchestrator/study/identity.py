"""Identity by content: a trial is what can change its result, hashed.

Named by position in a grid or by a counter, a trial could neither be recognised after the grid grew nor told from
another one with an edited base config. Hashed by content, "did I already run this?" has an answer.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, integers and equal floats told apart only if they differ in value.

    Raises:
        TypeError: something without a canonical form, with the path to it.
    """
    try:
        plain = _plain(value, "$")
        return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:  # what Python does not write as digits, either
        raise TypeError("a number of thousands of digits has no canonical form") from error
    except RecursionError as error:
        raise TypeError("what is nested without end has no canonical form") from error


def fingerprint(**content: Any) -> str:
    """SHA-256 over the canonical JSON of the content, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def _plain(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{path}: key {key!r} is no text, so it has no canonical form")
        return {key: _plain(item, f"{path}.{key}") for key, item in value.items()}
    raise TypeError(f"{path}: {_shown(value)} has no canonical form; give numbers, texts, lists or mappings of them")


def _shown(value: Any) -> str:
    with suppress(Exception):  # what a class of somebody's own may do
        return repr(value)[:80]
    return f"a {type(value).__name__}"
