"""GLUE's eight tasks of Table 2 from a folder of its files, as `<folder>/<task>/train.tsv` and `dev.tsv`.

As the benchmark's own download lays them out, below `glue_data`; a task's own folder does, too. Development sets are
what is tested on, since the test sets come without labels. What the files are known to trip people over: CoLA's have
no header; quote characters are text everywhere (a reader that takes them for quotes swallows lines); labels of MNLI,
QNLI and RTE go by name, since their numbers differ from source to source; MNLI has two development sets; a test set's
label is -1; three lines of QQP's lack fields.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.data.fetching import file_checksum, one_line, say
from trainers.data.text.examples import Example, Measured, TextData, class_index
from trainers.errors import DataError

_ENTAILMENT = ("entailment", "not_entailment")
_BINARY = ("0", "1")
_MOST_BROKEN = 0.001  # of a file's lines: QQP's lacks fields in three of 363,849


@dataclass(frozen=True)
class GlueTask:
    """Where a task keeps what.

    Attributes:
        folder: its name in the folder of all tasks.
        texts: the columns of one text, or of two.
        target: the column of the label or the score.
        classes: labels as they are written, in the order of their indices; empty for a score.
        metric: what Table 2 reports.
        columns: in their order, where the file has no header.
        rows: of GLUE's own training file and the one that is tested on, broken lines left out.
        test: the file that is tested on.
    """

    folder: str
    texts: tuple[str, ...]
    target: str
    classes: tuple[str, ...]
    metric: Measured
    rows: tuple[int, int]
    columns: tuple[str, ...] = ()
    test: str = "dev.tsv"

    def load(self, folder: Path) -> TextData:
        """The examples below `folder`.

        Raises:
            DataError: a file that is not there or not as it should be, with its name, line and what was looked for.
        """
        parts = list[tuple[Example, ...]]()
        for path, usual in zip(self._paths(folder), self.rows, strict=True):
            parts.append(tuple(self._examples(path, _read(path))))
            if len(parts[-1]) != usual:
                say(f"{path} has {len(parts[-1]):,} rows; GLUE's has {usual:,}")
        train, test = parts
        return TextData(train, test, self.classes, self.checksum(folder))

    def checksum(self, folder: Path) -> str:
        """SHA-256 over those of the two files below `folder`.

        Raises:
            DataError: a file that is not there.
        """
        return hashlib.sha256(b"".join(map(_digest, self._paths(folder)))).hexdigest()

    def _paths(self, folder: Path) -> tuple[Path, Path]:
        """The training file and the one that is tested on; `folder` may be the task's own, or what all lie in."""
        homes = (folder / self.folder, folder / "glue_data" / self.folder, folder)
        home = next((each for each in homes if _lies(each / "train.tsv") and each.name == self.folder), homes[0])
        return home / "train.tsv", home / self.test

    def _examples(self, path: Path, content: bytes) -> list[Example]:
        rows = _rows(path, content)
        header = self.columns or (tuple(rows.pop(0)) if rows else ())
        first, second = (_column(path, header, name) for name in (*self.texts, self.texts[-1])[:2])
        target, found, broken = _column(path, header, self.target), [], list[int]()
        for number, row in enumerate(rows, 1 if self.columns else 2):
            if len(row) != len(header):
                broken.append(number)
                continue
            score = self._target(row[target], f"{path}, line {number}")
            found.append(Example(row[first], row[second] if len(self.texts) == 2 else "", score))
        if broken:
            lines = f"{path}: lines without {len(header)} fields: {len(broken)}, first line {broken[0]}"
            if len(broken) > _MOST_BROKEN * len(rows):
                raise DataError(lines)
            say(f"{lines}; they are left out")
        return found

    def _target(self, written: str, where: str) -> float:
        if written == "-1":
            raise DataError(f"{where}: label -1 is a test set's, which has none; give the training or development set")
        if self.classes:
            return class_index(written, self.classes, where)
        try:
            score = float(written)
        except ValueError:
            score = math.nan
        if not 0 <= score <= 5:
            raise DataError(f"{where}: {written!r} is no score from 0 to 5")
        return score


GLUE: dict[str, GlueTask] = {
    "mnli": GlueTask(
        "MNLI",
        ("sentence1", "sentence2"),
        "gold_label",
        ("entailment", "neutral", "contradiction"),
        "accuracy",
        (392_702, 9_815),
        test="dev_matched.tsv",
    ),
    "mnli-mismatched": GlueTask(
        "MNLI",
        ("sentence1", "sentence2"),
        "gold_label",
        ("entailment", "neutral", "contradiction"),
        "accuracy",
        (392_702, 9_832),
        test="dev_mismatched.tsv",
    ),
    "qqp": GlueTask("QQP", ("question1", "question2"), "is_duplicate", _BINARY, "f1", (363_846, 40_430)),
    "qnli": GlueTask("QNLI", ("question", "sentence"), "label", _ENTAILMENT, "accuracy", (104_743, 5_463)),
    "sst2": GlueTask("SST-2", ("sentence",), "label", _BINARY, "accuracy", (67_349, 872)),
    "cola": GlueTask(
        "CoLA", ("sentence",), "label", _BINARY, "matthews", (8_551, 1_043), ("source", "label", "star", "sentence")
    ),
    "stsb": GlueTask("STS-B", ("sentence1", "sentence2"), "score", (), "spearman", (5_749, 1_500)),
    "mrpc": GlueTask("MRPC", ("#1 String", "#2 String"), "Quality", _BINARY, "f1", (3_668, 408)),
    "rte": GlueTask("RTE", ("sentence1", "sentence2"), "label", _ENTAILMENT, "accuracy", (2_490, 277)),
}
"""By the names they have on the hub."""


def _lies(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}") from error


def _there(path: Path) -> Path:
    if not _lies(path):
        beside = sorted(each.name for each in path.parent.glob("*")) if path.parent.is_dir() else []
        there = f"; there is {', '.join(beside)}" if beside else ""
        raise DataError(f"{path} is not there{there}: give a folder of GLUE's files with --data")
    return path


def _read(path: Path) -> bytes:
    try:
        return _there(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}") from error


def _digest(path: Path) -> bytes:
    try:
        return bytes.fromhex(file_checksum(_there(path)))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}") from error


def _rows(path: Path, content: bytes) -> list[list[str]]:
    """Lines by line feeds, fields by tabs, and nothing else: quotes are text, and so are other ends of lines."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start:,} is no UTF-8") from error
    return [line.removesuffix("\r").split("\t") for line in text.split("\n") if line]


def _column(path: Path, header: Sequence[str], name: str) -> int:
    if name not in header:
        raise DataError(f"{path} has no column {name!r}, but {', '.join(header) or 'nothing'}")
    return header.index(name)
