"""Where encoders of texts come from: a folder as `save_pretrained` writes it, packages, the hub, or a seed alone.

Weights are read from safetensors and tokenizers from `tokenizer.json`; nothing is unpickled, and no code that comes
with a model is run.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trainers.data.fetching import file_checksum, one_line
from trainers.errors import DataError, unknown
from trainers.extras import text_extra
from trainers.networks.encoder_files import CONFIG, FILES, read_config, read_encoder
from trainers.networks.encoders import PretrainedEncoder
from trainers.networks.packaged_encoders import PACKAGED

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class EncoderSource(Protocol):
    """An encoder before it is fetched."""

    @property
    def config(self) -> Mapping[str, Any]:
        """As `config.json` says it: its sizes at least. Raises `DataError` where it cannot be read."""

    @property
    def checksum(self) -> str:
        """Identifies weights and tokenizer. Raises `DataError` where they are known by their content, and not there."""

    def fetch(self, folder: Path | None, texts: Callable[[], Iterable[str]]) -> PretrainedEncoder:
        """The encoder, brought into `folder` (or the user's cache) if it is not there yet.

        Args:
            texts: what it shall be trained on, for a source that makes its tokenizer from them.

        Raises:
            DataError: it could not be had.
            ConfigError: the extra `[text]` is not installed.
        """


@dataclass(frozen=True)
class FolderEncoder:
    """An encoder in a folder that holds `config.json`, `model.safetensors` and `tokenizer.json`."""

    folder: Path

    @property
    def config(self) -> Mapping[str, Any]:
        return read_config(str(self.folder), self._content(CONFIG))

    @property
    def checksum(self) -> str:
        digests = (file_checksum(self._file(name)) for name in FILES)
        return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()

    def fetch(self, folder: Path | None, texts: Callable[[], Iterable[str]]) -> PretrainedEncoder:
        """What the files hold.

        Raises:
            DataError: a file that is not there, with what is; one that is damaged; a tokenizer of another model.
            ConfigError: the extra `[text]` is not installed.
        """
        return read_encoder(str(self.folder), {name: self._content(name) for name in FILES})

    def _content(self, name: str) -> bytes:
        path = self._file(name)
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {one_line(error)}") from error

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            inside = sorted(each.name for each in self.folder.glob("*")) if self.folder.is_dir() else ["no such folder"]
            there = ", ".join(inside) or "nothing"
            raise DataError(f"{self.folder} has no {name} (there is {there}): give one as save_pretrained writes")
        return path


@dataclass(frozen=True)
class HubEncoder:
    """An encoder of the Hugging Face hub, at one revision.

    Attributes:
        config: its sizes.
    """

    repository: str
    revision: str
    config: Mapping[str, Any]

    @property
    def checksum(self) -> str:
        """A commit of the hub names its content."""
        return f"{self.repository}@{self.revision}"

    def fetch(self, folder: Path | None, texts: Callable[[], Iterable[str]]) -> PretrainedEncoder:
        """Brought into the hub's own cache (`HF_HOME`) if it is not there yet."""
        with text_extra():
            from huggingface_hub import snapshot_download
        try:
            here = snapshot_download(self.repository, revision=self.revision, allow_patterns=list(FILES))
        except Exception as error:  # of the hub, of its client of HTTP and of a cache that lacks it: nothing in common
            raise DataError(
                f"{self.repository} could not be had. Tried the hub: {one_line(error)}. Pass a folder that holds it "
                "with --set network=DIR, or set HF_HOME to a cache that has it"
            ) from error
        return FolderEncoder(Path(here)).fetch(folder, texts)


@dataclass(frozen=True)
class UntrainedEncoder:
    """An encoder that is drawn from the seed, and reads the words of what it is trained on."""

    config: Mapping[str, Any]

    @property
    def checksum(self) -> str:
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()

    def fetch(self, folder: Path | None, texts: Callable[[], Iterable[str]]) -> PretrainedEncoder:
        """With a word each for the most frequent of the texts, of those as frequent the first by alphabet."""
        with text_extra():
            from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

        split, lower = pre_tokenizers.Whitespace(), normalizers.Lowercase()
        words = Counter(word for text in texts() for word, _ in split.pre_tokenize_str(lower.normalize_str(text)))
        usual = sorted(words, key=lambda word: (-words[word], word))[: self.config["vocab_size"] - len(_SPECIAL)]
        ids = {word: index for index, word in enumerate([*_SPECIAL, *usual])}
        tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = lower, split
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(name, ids[name]) for name in ("[CLS]", "[SEP]")],
        )
        return PretrainedEncoder(self.config, None, tokenizer)


TINY_BERT = UntrainedEncoder(
    {
        "model_type": "bert", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
        "intermediate_size": 128, "vocab_size": 2_048, "max_position_embeddings": 64, "type_vocab_size": 2,
        "pad_token_id": 0, "initializer_range": 0.1,
    }
)  # fmt: skip
_BERT = {"model_type": "bert", "vocab_size": 30_522, "max_position_embeddings": 512, "type_vocab_size": 2}
BERT_BASE = HubEncoder(
    "google-bert/bert-base-uncased",
    "86b5e0934494bd15c9632b12f734a8a67f723594",
    {**_BERT, "num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
)
BERT_LARGE = HubEncoder(
    "google-bert/bert-large-uncased",
    "6da4b6a26a1877e173fca3225479512db81a5e5b",
    {**_BERT, "num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096},
)
ENCODERS: dict[str, EncoderSource] = {
    **PACKAGED,
    "tiny-bert": TINY_BERT,
    "bert-base-uncased": BERT_BASE,
    "bert-large-uncased": BERT_LARGE,
}
"""By name."""


def encoder_source(name: str) -> EncoderSource:
    """An encoder by its name in `ENCODERS`, or of the folder that `name` is.

    Raises:
        ConfigError: neither is there.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    with suppress(OSError, RuntimeError):  # a name that can be no path, or is in a home that is none
        if name and Path(name).expanduser().is_dir():
            return FolderEncoder(Path(name).expanduser().resolve())
    raise unknown("encoder (nor is it a folder)", name, ENCODERS)
