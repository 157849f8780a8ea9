"""GLUE's tasks from the Hugging Face hub, at one revision, by `datasets`, which comes with the extra `[text]`.

Labels go by their names there, too: what a number means is the source's own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainers.data.fetching import one_line
from trainers.data.text.examples import Example, TextData, class_index
from trainers.data.text.glue import GLUE
from trainers.errors import DataError
from trainers.extras import text_extra

REPOSITORY, REVISION = "nyu-mll/glue", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"


@dataclass(frozen=True)
class HubTask:
    """Where the hub keeps a task of `GLUE`.

    Attributes:
        name: in `GLUE`.
        config: the name of its subset.
        texts: the columns of one text, or of two.
        classes: labels by their names there, in the order of the task's own; empty for a score.
        test: the split that is tested on.
    """

    name: str
    config: str
    texts: tuple[str, ...]
    classes: tuple[str, ...]
    test: str = "validation"

    @property
    def checksum(self) -> str:
        """A commit of the hub names its content."""
        return f"{REPOSITORY}@{REVISION}/{self.config}/{self.test}"

    def load(self, repository: str = REPOSITORY) -> TextData:
        """The examples, fetched into the cache of `datasets` if they are not there yet.

        Raises:
            DataError: they could not be had, or are not what they are taken for.
            ConfigError: the extra `[text]` is not installed.
        """
        with text_extra():
            from datasets import load_dataset
        try:
            parts = [load_dataset(repository, self.config, split=each, revision=REVISION) for each in self._splits]
        except Exception as error:  # of the hub, of files and of parquet, with nothing in common
            raise DataError(
                f"{self.name} could not be had. Tried the hub, {repository}: {one_line(error)}. Pass --data DIR with a "
                "folder of GLUE's files, or set HF_HOME to a cache that has it"
            ) from error
        train, test = (tuple(self._examples(split, part)) for split, part in zip(self._splits, parts, strict=True))
        return TextData(train, test, GLUE[self.name].classes, self.checksum)

    @property
    def _splits(self) -> tuple[str, str]:
        return "train", self.test

    def _examples(self, split: str, part: Any) -> Iterator[Example]:
        names = part.features["label"].names if self.classes else ()
        for number, row in enumerate(part):
            where, label = f"{self.config}, {split}, row {number}", row["label"]
            if label == -1:
                raise DataError(f"{where}: label -1 is a test set's, which has none")
            target = class_index(names[label], self.classes, where) if self.classes else float(label)
            first, second = (*(row[column] for column in self.texts), "")[:2]
            yield Example(first, second, target)


_SENTENCES, _NLI = ("sentence1", "sentence2"), ("entailment", "neutral", "contradiction")
_ENTAILMENT = ("entailment", "not_entailment")
GLUE_HUB: dict[str, HubTask] = {
    task.name: task
    for task in (
        HubTask("mnli", "mnli", ("premise", "hypothesis"), _NLI, "validation_matched"),
        HubTask("mnli-mismatched", "mnli", ("premise", "hypothesis"), _NLI, "validation_mismatched"),
        HubTask("qqp", "qqp", ("question1", "question2"), ("not_duplicate", "duplicate")),
        HubTask("qnli", "qnli", ("question", "sentence"), _ENTAILMENT),
        HubTask("sst2", "sst2", ("sentence",), ("negative", "positive")),
        HubTask("cola", "cola", ("sentence",), ("unacceptable", "acceptable")),
        HubTask("stsb", "stsb", _SENTENCES, ()),
        HubTask("mrpc", "mrpc", _SENTENCES, ("not_equivalent", "equivalent")),
        HubTask("rte", "rte", _SENTENCES, _ENTAILMENT),
    )
}
"""By their names in `GLUE`."""
