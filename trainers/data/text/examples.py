"""Texts with what is to be learned of them, before any tokenizer has seen them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from trainers.errors import DataError

Measured = Literal["accuracy", "f1", "matthews", "spearman"]
"""What the test part of a data set is scored by."""


@dataclass(frozen=True)
class Example:
    """A text, or a pair of texts, and its target.

    Attributes:
        second: of a pair; empty for a single text.
        target: the index of a class, or a score.
    """

    first: str
    second: str
    target: float


@dataclass(frozen=True)
class TextData:
    """A whole data set of texts.

    Attributes:
        classes: their names, in the order of their indices; empty where a score is predicted.
        checksum: identifies the content.

    Raises:
        DataError: a part without examples, a text that is empty, or a class that is none.
    """

    train: tuple[Example, ...]
    test: tuple[Example, ...]
    classes: tuple[str, ...]
    checksum: str

    def __post_init__(self) -> None:
        for name, part in (("training", self.train), ("test", self.test)):
            if not part:
                raise DataError(f"there are no {name} examples")
            for index, example in enumerate(part):
                if not example.first.strip():
                    raise DataError(f"{name} example {index}: its text is empty")
                if self.classes and not (example.target == int(example.target) and example.target >= 0):
                    raise DataError(f"{name} example {index}: {example.target:g} is no class")
                if self.classes and example.target >= len(self.classes):
                    raise DataError(
                        f"{name} example {index}: class {example.target:g}, and there are {len(self.classes)}"
                    )


def held_out(text: str, one_in: int) -> bool:
    """Whether a text belongs to the test part of a data set that comes without one: by its content alone.

    Letters and digits alone count, so a text is on the same side in every data set that has it, however it is spaced,
    capitalised or quoted there, and twice the same text never on both.

    Args:
        one_in: of so many texts one is held out.
    """
    known = "".join(character for character in text.casefold() if character.isalnum()) or text
    return int.from_bytes(hashlib.sha256(known.encode()).digest()[:8]) % one_in == 0


def split(examples: Iterable[Example], one_in: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Training and test part, by `held_out` of the first text."""
    train: list[Example] = []
    test: list[Example] = []
    for example in examples:
        (test if held_out(example.first, one_in) else train).append(example)
    return tuple(train), tuple(test)


def class_index(name: str, classes: Sequence[str], where: str) -> int:
    """The index of a class by its name: numbers differ from source to source.

    Raises:
        DataError: no such class.
    """
    try:
        return classes.index(name)
    except ValueError:
        raise DataError(f"{where}: {name!r} is no label; there are {', '.join(classes)}") from None
