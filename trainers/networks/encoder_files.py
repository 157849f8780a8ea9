"""An encoder's files as `save_pretrained` writes them: nothing is unpickled, and all must be of one model.

Weights are read from safetensors and the tokenizer from `tokenizer.json`; no code that comes with a model is run.
"""

import json
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from trainers.data.fetching import one_line
from trainers.errors import DataError
from trainers.extras import text_extra
from trainers.networks.encoders import PretrainedEncoder

CONFIG, _WEIGHTS, _TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
FILES = (CONFIG, _WEIGHTS, _TOKENIZER)
_KINDS = ("bert", "roberta", "mpnet")
_SIZES = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size",
    "max_position_embeddings",
)  # fmt: skip


def read_encoder(called: str, files: Mapping[str, bytes]) -> PretrainedEncoder:
    """What `FILES` hold.

    Args:
        called: what errors call the model.
        files: the content of each by its name.

    Raises:
        DataError: one is damaged, or another model's.
        ConfigError: the extra `[text]` is not installed.
    """
    with text_extra():
        from tokenizers import Tokenizer

    config = read_config(called, files[CONFIG])
    try:
        weights = load(files[_WEIGHTS])
    except SafetensorError as error:
        raise DataError(f"{called}, {_WEIGHTS}: it is cut off or damaged ({one_line(error)})") from error
    try:
        tokenizer = Tokenizer.from_str(files[_TOKENIZER].decode())
    except Exception as error:  # nothing narrower comes from there
        raise DataError(f"{called}, {_TOKENIZER}: it is no tokenizer ({one_line(error)})") from error
    ids = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    _refuse_more_than_its_weights(called, config, weights)
    if ids > config["vocab_size"]:
        raise DataError(
            f"{called}: the tokenizer has {ids:,} tokens, the weights {config['vocab_size']:,}: it is another model's"
        )
    return PretrainedEncoder(config, weights, tokenizer)


def _refuse_more_than_its_weights(called: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Before memory is taken for what a configuration says."""
    layers, hidden, _, neurons, words, places = (config[size] for size in _SIZES)
    said = hidden * (words + places) + layers * hidden * (4 * hidden + 2 * neurons)
    held = sum(each.numel() for each in weights.values())
    if said > 2 * held:
        raise DataError(
            f"{called}: {CONFIG} is of a model with {said:,} weights, {_WEIGHTS} holds {held:,}: it is another model's"
        )


def read_config(called: str, content: bytes) -> Mapping[str, Any]:
    """What a configuration says, its sizes at least.

    Raises:
        DataError: it is none, or of a kind that is not nested here.
    """
    try:
        config: Mapping[str, Any] = json.loads(content)
        kind = config["model_type"]
        sizes = [config[name] for name in _SIZES]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{called}, {CONFIG}: it is no configuration of a model ({one_line(error)})") from error
    if kind not in _KINDS:
        raise DataError(f"{called}, {CONFIG}: model_type {kind!r} is none of {', '.join(_KINDS)}")
    if not all(type(size) is int and size > 0 for size in sizes):
        raise DataError(f"{called}, {CONFIG}: it is no configuration of a model (a size is no whole number above 0)")
    return config
