"""Data sets of texts by their names; `register` adds another."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainers.data.text import characters
from trainers.data.text.analogue import ANALOGUE
from trainers.data.text.examples import Measured, TextData
from trainers.data.text.glue import GLUE
from trainers.data.text.glue_hub import GLUE_HUB
from trainers.errors import unknown
from trainers.own.parts import enter


@dataclass(frozen=True)
class TextDataset:
    """A data set by name: what can be said without loading it, and how to load it.

    Attributes:
        measured: what its test part is scored by.
        classes: number of classes; 0 where a score is predicted.
        pairs: whether an example is of two texts.
        train_examples, test_examples: how many there are.
        tokens: of a usual example, in word pieces, about.
        checksum: identifies the content, which is read only where it is known by nothing else.
        load: brings the examples, from a folder if given; fetches what is missing.
    """

    measured: Measured
    classes: int
    pairs: bool
    train_examples: int
    test_examples: int
    tokens: int
    checksum: Callable[[Path | None], str]
    load: Callable[[Path | None], TextData]


def _packaged(
    name: str, measured: Measured, classes: int, examples: tuple[int, int], tokens: int, pairs: bool = False
) -> TextDataset:
    packaged = ANALOGUE[name]
    return TextDataset(measured, classes, pairs, *examples, tokens, lambda _: packaged.checksum, packaged.fetch)


def _glue(name: str) -> TextDataset:
    task = GLUE[name]
    return TextDataset(
        task.metric,
        len(task.classes),
        len(task.texts) == 2,
        *task.rows,
        128,  # the paper's length; what is usual is not known here
        lambda folder: task.checksum(folder) if folder else GLUE_HUB[name].checksum,
        lambda folder: task.load(folder) if folder else GLUE_HUB[name].load(),
    )


TEXTS: dict[str, TextDataset] = {
    "characters": TextDataset(
        "accuracy",
        len(characters.CLASSES),
        False,
        9_998,
        1_457,
        8,
        lambda _: characters.CHECKSUM,
        lambda _: characters.load(),
    ),
    "rotten-tomatoes": _packaged("rotten-tomatoes", "accuracy", 2, (7_495, 1_035), 27),
    "snli": _packaged("snli", "accuracy", 3, (99_890, 9_824), 25, pairs=True),
    "vader": _packaged("vader", "spearman", 0, (20_792, 2_911), 24),
    **{name: _glue(name) for name in GLUE},
}


def register(name: str, source: TextDataset) -> None:
    """Makes a data set known by a name, under which a study may ask for it, in this process.

    A study's file does so when it is imported, as workers do, too.

    Raises:
        ConfigError: the name is another's.
    """
    enter("dataset", name, source, TEXTS)


def text_dataset(name: str) -> TextDataset:
    """The data set of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TEXTS:
        raise unknown("dataset", name, TEXTS)
    return TEXTS[name]
