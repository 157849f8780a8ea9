"""Encoders of texts with their weights and tokenizers; `trainers.networks.encoder_sources` says where they are from.

transformers comes with the extra `[text]` and is imported when an encoder is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainers.config.precision import Precision
from trainers.errors import DataError
from trainers.extras import text_extra
from trainers.randomness import stream

_BUFFERS = ("position_ids", "token_type_ids")  # which older versions of transformers saved, too


def padding(config: Mapping[str, Any]) -> int:
    """The id that fills a batch."""
    usual = 0 if config["model_type"] == "bert" else 1  # what transformers takes where nothing is said
    said = config.get("pad_token_id")
    return usual if said is None else int(said)


def positions(config: Mapping[str, Any]) -> int:
    """Tokens of a text at most."""
    reserved = 0 if config["model_type"] == "bert" else padding(config) + 1
    return int(config["max_position_embeddings"]) - reserved


def blank(config: Mapping[str, Any], outputs: int) -> nn.Module:
    """A model of `transformers` for sequence classification, as its configuration makes it, in evaluation mode.

    Args:
        config: as `config.json` says it.
        outputs: classes; 1 for a score.

    Raises:
        ConfigError: the extra `[text]` is not installed.
    """
    with text_extra():
        from transformers import AutoConfig, AutoModelForSequenceClassification

    given = {name: value for name, value in config.items() if name not in ("model_type", "architectures")}
    full = AutoConfig.for_model(config["model_type"], **{**given, "num_labels": outputs})
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = AutoModelForSequenceClassification.from_config(full)
    return model.eval()


def choose_attention(model: Any, precision: Precision, device: torch.device) -> None:
    """Has a model of `transformers` attend by matrix products where torch's scaled dot product is slow.

    In bf16 on a CPU its way back through texts of 32 tokens takes five times as long (`benchmarks/README.md`).
    """
    if precision == "bf16" and device.type == "cpu":
        model.set_attn_implementation("eager")


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder as it was pretrained, before it has a head.

    Attributes:
        config: as `config.json` says it.
        weights: by name; None where all are to be drawn from the seed.
        tokenizer: a `tokenizers.Tokenizer`.
    """

    config: Mapping[str, Any]
    weights: Mapping[str, Tensor] | None
    tokenizer: Any

    def with_head(self, outputs: int, seed: int) -> nn.Module:
        """A model of `transformers` for sequence classification, its head drawn from the seed.

        So are the other parameters that the weights do not hold, the pooler's as a rule: normal, with the configured
        standard deviation, biases zero, norms the identity.

        Args:
            outputs: classes; 1 for a score.

        Raises:
            DataError: weights that are not this configuration's.
            ConfigError: the extra `[text]` is not installed.
        """
        model = blank(self.config, outputs)
        return _with_drawn(model, self._load(model), seed, float(self.config.get("initializer_range", 0.02)))

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
        if self.weights is not None and (needed := [name for name in missing if not _may_lack(name)]):
            raise DataError(f"the weights lack {needed[0]!r}")
        return missing

    def _named(self) -> dict[str, Tensor]:
        """By the names in a model with a head: an encoder saved alone lacks the prefix."""
        prefix, weights = f"{self.config['model_type']}.", self.weights or {}
        alone = not any(name.startswith(prefix) for name in weights)
        return {
            _today(f"{prefix}{name}" if alone and not _is_of_a_head(name) else name): values
            for name, values in weights.items()
        }


def _today(name: str) -> str:
    """BERT's own weights call a norm's parameters as TensorFlow does."""
    return name.replace(".LayerNorm.gamma", ".LayerNorm.weight").replace(".LayerNorm.beta", ".LayerNorm.bias")


def _is_of_a_head(name: str) -> bool:
    return name.startswith(("classifier.", "cls.", "lm_head."))


def _may_lack(name: str) -> bool:
    return _is_of_a_head(name) or ".pooler." in name


def _with_drawn(model: nn.Module, missing: list[str], seed: int, deviation: float) -> nn.Module:
    parameters = dict(model.named_parameters())
    for name in missing:
        parameter = parameters[name]
        if parameter.ndim >= 2:
            drawn = stream(seed, f"init {name}").standard_normal(tuple(parameter.shape)) * deviation
            parameter.data.copy_(torch.from_numpy(drawn))
        else:  # of a norm or a bias
            parameter.data.fill_(name.endswith("LayerNorm.weight"))
    return model
