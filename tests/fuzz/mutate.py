"""Inputs that nobody would write on purpose: seeded, so that what was found can be found again."""

import json
import random
from typing import Any

_TEXTS = (
    "", " ", "=", ",", "a=b=c", "--", "-1", "0", "1e400", "NaN", "null", "[]", "{}", "../../etc/passwd", "/dev/null",
    "\x00", "\n", "🦆", "<script>", "';DROP TABLE runs;--", "%s%n", "${HOME}", "a" * 5000, "1" * 400, "true", "0x10",
    "1_000", "٣", "\ud800", "[" * 3000, "w050", "uniform", "categorical(", "sandwich(99999999999)",
    "log-uniform(continuous)",
)  # fmt: skip


def text(chance: random.Random) -> str:
    """Something short, or one of the classics."""
    if chance.random() < 0.6:
        return chance.choice(_TEXTS)
    return "".join(chr(chance.choice((chance.randrange(32, 127), chance.randrange(1, 0x2FFF)))) for _ in range(9))


def value(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value, and numbers that JSON has no name for."""
    kind = chance.randrange(10 if depth < 3 else 7)
    if kind < 2:
        return chance.choice((0, 1, -1, 2**63, -(2**70), 10**400, chance.randrange(-1000, 1000)))
    if kind < 4:
        return chance.choice((0.0, -0.5, 1e-320, 1e308, float("nan"), float("inf"), chance.random()))
    if kind < 6:
        return text(chance)
    if kind == 6:
        return chance.choice((None, True, False))
    items = [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return items if kind < 9 else {text(chance): item for item in items}


def damaged(content: bytes, chance: random.Random) -> bytes:
    """A file's content cut, flipped, doubled, or something else altogether."""
    kind = chance.randrange(7)
    if kind == 0:
        return content[: chance.randrange(len(content) + 1)]
    if kind == 1:
        return content + chance.randbytes(chance.randrange(1, 50))
    if kind == 2:
        return chance.randbytes(chance.randrange(200))
    if kind == 3:
        return json.dumps(value(chance)).encode("utf-8", "replace")
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 6)):
        if changed:
            place = chance.randrange(len(changed))
            changed[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    return bytes(changed)


def damaged_json(document: Any, chance: random.Random) -> Any:
    """A document with one place in it replaced, taken away, or added to."""
    copy = json.loads(json.dumps(document))
    place = copy
    while isinstance(place, dict | list) and place and chance.random() < 0.75:
        key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
        child = place[key]
        if not isinstance(child, dict | list) or not child or chance.random() < 0.3:
            if chance.random() < 0.2:
                del place[key]
            else:
                place[key] = value(chance)
            return copy
        place = child
    return value(chance)
