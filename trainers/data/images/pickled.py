"""What a pickle of plain values and numpy arrays says, read as data: nothing of it is run.

Unpickling calls whatever a file names. Here its instructions are followed by a reader that knows those which numbers,
texts, lists, dictionaries and arrays are written by, in Python 2 as in Python 3, and calls nothing: an array is found
as the bytes that would have been put into it. What names anything else is refused by that name.
"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.errors import DataError

_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
_FROM_BUFFER = ("numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer")
_DTYPE, _ENCODE = "numpy dtype", "_codecs encode"
_KNOWN = (*_RECONSTRUCT, *_FROM_BUFFER, "numpy ndarray", _DTYPE, _ENCODE)
_WRITTEN_OUT = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
})  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class _Named:
    """Something of Python's or numpy's, by module and name."""

    name: str


@dataclass
class _Made:
    """What a pickle asks to be made: by what, of what, and what it is then filled with."""

    by: str
    of: tuple[Any, ...]
    state: Any = None


_MARK = object()


def read_pickled(content: bytes) -> dict[str, Any]:
    """The dictionary that a pickle is of, an array in it as something that `array_of` reads.

    Raises:
        DataError: it names what no such pickle names, is of something else, or is cut off or damaged.
    """
    try:
        found = _follow(content)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, MemoryError) as error:
        raise DataError("it is no pickle, or is cut off or damaged") from error
    if not isinstance(found, dict):
        raise DataError(f"it is a pickle of something else than a dictionary ({type(found).__name__.lstrip('_')})")
    return found


def array_of(made: Any, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """An array of bytes.

    Raises:
        DataError: it is none, or of another shape.
    """
    match made:
        case _Made(by=by, state=(_, held, _Made(by="numpy dtype", of=("u1" | "uint8", *_)), columns, content)):
            known = by in _RECONSTRUCT
        case _Made(by=by, of=(content, _Made(by="numpy dtype", of=("u1" | "uint8", *_)), held, order)):
            known, columns = by in _FROM_BUFFER, order == "F"
        case _:
            known, held = False, None
    if not known or held != shape:
        raise DataError(f"it holds no array of bytes of shape {shape}")
    if isinstance(content, str):  # a text of Python 2, which is bytes
        content = content.encode("latin-1")
    if not isinstance(content, bytes | bytearray) or len(content) != shape[0] * shape[1]:
        raise DataError(f"its array of bytes of shape {shape} is of another length")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if columns else "C")


def _follow(content: bytes) -> Any:
    """Follows the instructions, whose operands are on a stack; a mark tells where a sequence of them begins."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(content):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                stack.append(_MARK)
            case name if name in _WRITTEN_OUT:
                stack.append(argument)
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "EMPTY_TUPLE":
                stack.append(())
            case name if name in _TUPLES:
                stack.append(tuple(_popped(stack, _TUPLES[name])))
            case "TUPLE":
                stack.append(tuple(_since_mark(stack)))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                stack.append(_since_mark(stack))
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "APPENDS":
                items = _since_mark(stack)
                _extend(stack[-1], items)
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                stack.append(dict(_pairs(_since_mark(stack))))
            case "SETITEM":
                items = _popped(stack, 2)
                _update(stack[-1], items)
            case "SETITEMS":
                items = _since_mark(stack)
                _update(stack[-1], items)
            case "GLOBAL":
                stack.append(_named(argument))
            case "STACK_GLOBAL":
                module, name = _popped(stack, 2)
                stack.append(_named(f"{module} {name}"))
            case "REDUCE":
                by, of = _popped(stack, 2)
                stack.append(_made(by, of))
            case "BUILD":
                made, state = _popped(stack, 2)
                made.state = state
                stack.append(made)
            case name:
                raise DataError(f"it is refused: its instruction {name} is none that a batch is written by")
    raise ValueError("no end")


def _named(name: str) -> _Named:
    if name not in _KNOWN:
        raise DataError(f"it is refused: it names {name.replace(' ', '.')!r}, which is no part of a batch")
    return _Named(name)


def _made(by: Any, of: Any) -> Any:
    if not isinstance(by, _Named) or not isinstance(of, tuple):
        raise TypeError("nothing is called but what was named")
    if by.name == _ENCODE:  # as Python 3 writes bytes so that Python 2 can read them
        text, coding = of
        if coding != "latin1":
            raise ValueError("another coding")
        return text.encode("latin-1")
    return _Made(by.name, of)


def _popped(stack: list[Any], count: int) -> list[Any]:
    taken = stack[-count:]
    if len(taken) < count or any(each is _MARK for each in taken):
        raise IndexError("too few operands")
    del stack[-count:]
    return taken


def _since_mark(stack: list[Any]) -> list[Any]:
    taken = []
    while (item := stack.pop()) is not _MARK:
        taken.append(item)
    return taken[::-1]


def _pairs(items: list[Any]) -> Iterator[tuple[str, Any]]:
    """Names with values; a name may be written as the bytes that it is in Python 2."""
    for name, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(name, str | bytes):
            raise TypeError("a name is no text")
        yield (name.decode("latin-1") if isinstance(name, bytes) else name), value


def _extend(target: Any, items: list[Any]) -> None:
    if not isinstance(target, list):
        raise TypeError("appended to no list")
    target.extend(items)


def _update(target: Any, items: list[Any]) -> None:
    if not isinstance(target, dict):
        raise TypeError("put into no dictionary")
    target.update(_pairs(items))
