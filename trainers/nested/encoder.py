"""Hugging Face's encoders of texts as nested networks: depth, hidden size, attention heads and FFN neurons.

BERT, RoBERTa and MPNet, with a head or without. Their own code runs: every layer with parameters reads a prefix, the
layers of the stack that a sub-model lacks hand on what they are given. transformers is not imported here: whoever has
an encoder has it.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from trainers.lattice import Lattice
from trainers.nested.encoder_size import DEPTH, HEADS, HIDDEN, NEURONS, EncoderSize, Kept, check_lattice
from trainers.nested.layers.embedding import NestedEmbedding
from trainers.nested.layers.layer_norm import NestedLayerNorm
from trainers.nested.layers.linear import NestedLinear
from trainers.nested.layers.sizes import Size
from trainers.submodel import SubModel

_KINDS = ("bert", "roberta", "mpnet")
_PROJECTIONS = re.compile(r"\.(query|key|value|q|k|v)$")
_BACK = re.compile(r"\.(attention\.output\.dense|attn\.o)$")  # from the heads to the hidden size
_FEED_FORWARD = re.compile(r"\.intermediate\.dense$")
_CLASSIFIER = re.compile(r"(^|\.)(classifier|out_proj|decoder)$")
_STACK = re.compile(r"(^|.*\.)encoder\.layer\.(\d+)(?=\.|$)")


class _Layer(nn.Module):
    """A layer of the stack, which sub-models that lack it pass by."""

    def __init__(self, layer: nn.Module, gives_tuple: bool) -> None:
        super().__init__()
        self.layer, self.runs, self._gives_tuple = layer, True, gives_tuple

    def forward(self, hidden: Tensor, *arguments: Any, **named: Any) -> Any:
        if self.runs:
            return self.layer(hidden, *arguments, **named)
        return (hidden,) if self._gives_tuple else hidden


class NestedEncoder(nn.Module):
    """An encoder whose layers read prefixes; called as the plain model, it computes the active sub-model.

    Args:
        model: of `transformers`, taken over: its parameters become those of the nested one. Dropout is turned off,
            since what it draws from torch's generator would be lost to a resumed trial.
        lattice: sub-models by `depth`, `hidden`, `heads`, `neurons`, whole numbers; what a lattice does not name is
            whole, heads as many as the hidden size has room for. The largest is the model itself, and active at first.
        kept: which layers a depth keeps: the `first`, as the paper's Eq. 1 has it, or `spaced` evenly over those of
            the next larger depth.

    Raises:
        ValueError: a model or a lattice that cannot be, with the reason.
    """

    def __init__(self, model: nn.Module, lattice: Lattice, kept: Kept = "first") -> None:
        super().__init__()
        self.config = _checked_config(model)
        self.full = EncoderSize.whole(self.config.to_dict())
        self.head_size = self.full.hidden // self.full.heads
        check_lattice(lattice, self.full)
        self.lattice = lattice
        self._kept = _kept_layers(lattice, self.full.depth, kept)
        self._kind: Any = type(model)
        self.network = model
        _turn_off_dropout(model)
        self._exchange()
        self.activate(lattice.largest)

    def size(self, sub_model: SubModel) -> EncoderSize:
        """What a sub-model has of every dimension, those that the lattice does not name included."""
        return self.full.of(sub_model)

    def activate(self, sub_model: SubModel) -> None:
        """Every forward from now on is that of `sub_model`."""
        size = self.size(sub_model)
        for layer in self._layers:
            layer.activate(SubModel(**asdict(size)))
        kept = self._kept[size.depth]
        for index, of_stack in enumerate(self._stack):
            of_stack.runs = index in kept
        for attention in self._attentions:
            attention.all_head_size = size.heads * self.head_size
        self.active = sub_model

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        return self.network(*inputs, **named)

    def separable(self, *inputs: Tensor) -> bool:
        """Whether passes can be made apart from one another: not of encoders."""
        return False

    def signature(self) -> tuple[object, ...]:
        """Equal signatures, equal networks."""
        return (self.size(self.active),)

    def extract(self, sub_model: SubModel) -> nn.Module:
        """A genuine model of `transformers`, of the smaller configuration, with the sub-model's weights.

        Where a sub-model has fewer heads than its hidden size has room for, which no configuration can say, the heads
        that it lacks are there and zero: what they add is zero.
        """
        size = self.size(sub_model)
        config = copy.deepcopy(self.config)
        for name, value in size.in_config(self.head_size).items():
            setattr(config, name, value)
        with torch.random.fork_rng(devices=[]):
            alone: nn.Module = self._kind(config)
        alone.load_state_dict(self._cut_out(alone.state_dict(), size))
        _turn_off_dropout(alone)
        return alone.train(self.training)

    def _cut_out(self, wanted: Mapping[str, Tensor], size: EncoderSize) -> dict[str, Tensor]:
        """The sub-model's part of every tensor that a plain model of its configuration has."""
        # The stack's layers lie one deeper here than in a plain model.
        own = {re.sub(r"(encoder\.layer\.\d+)\.layer\.", r"\1.", n): t for n, t in self.network.state_dict().items()}
        kept, inner = sorted(self._kept[size.depth]), size.heads * self.head_size
        found: dict[str, Tensor] = {}
        for name, like in wanted.items():
            stands = _STACK.match(name)
            source = name
            if stands is not None:
                source = f"{stands[1]}encoder.layer.{kept[int(stands[2])]}{name[stands.end() :]}"
            values = own[source].detach()[tuple(map(slice, like.shape))].clone()
            path = name.rpartition(".")[0]
            if _PROJECTIONS.search(path):
                values[inner:] = 0
            elif _BACK.search(path) and values.ndim == 2:
                values[:, inner:] = 0
            elif path.endswith("relative_attention_bias"):
                values[:, size.heads :] = 0
            found[name] = values
        return found

    def _exchange(self) -> None:
        """Puts the nested form of every layer in its place."""
        model, paths = self.network, dict(self.network.named_modules())
        self._layers: list[NestedLinear | NestedEmbedding] = []
        for path, module in paths.items():
            if isinstance(module, nn.Linear | nn.Embedding | nn.LayerNorm):
                form = self._form(path, module)
                _put(model, path, form)
                if not isinstance(form, NestedLayerNorm):
                    self._layers.append(form)
            elif own := [name for name, _ in module.named_parameters(recurse=False)]:
                raise ValueError(f"layer {path!r} has parameters ({', '.join(own)}) but no nested form")
        (stack,) = [module for path, module in paths.items() if path.endswith("encoder.layer")]
        assert isinstance(stack, nn.ModuleList)
        gives_tuple = self.config.model_type == "mpnet"
        self._stack = [_Layer(layer, gives_tuple) for layer in stack]
        for index, of_stack in enumerate(self._stack):
            stack[index] = of_stack
        self._attentions: list[Any] = [module for module in model.modules() if hasattr(module, "all_head_size")]

    def _form(self, path: str, module: nn.Module) -> NestedLinear | NestedEmbedding | NestedLayerNorm:
        hidden, heads = Size(HIDDEN), Size(HEADS, self.head_size)
        if isinstance(module, nn.LayerNorm):
            return NestedLayerNorm(module)
        if isinstance(module, nn.Embedding):
            return NestedEmbedding(module, Size(HEADS) if path.endswith("relative_attention_bias") else hidden)
        assert isinstance(module, nn.Linear)
        if _PROJECTIONS.search(path):
            return NestedLinear(module, heads)
        if _FEED_FORWARD.search(path):
            return NestedLinear(module, Size(NEURONS))
        if _CLASSIFIER.search(path):
            return NestedLinear(module, None)
        return NestedLinear(module, hidden)


def _checked_config(model: nn.Module) -> Any:
    config: Any = getattr(model, "config", None)
    kind = getattr(config, "model_type", None)
    if kind not in _KINDS:
        raise ValueError(f"{type(model).__name__} is none of the encoders that can be nested: {', '.join(_KINDS)}")
    if getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
        raise ValueError(f"{type(model).__name__} is built as a decoder, which has no nested form")
    if config.hidden_size % config.num_attention_heads:
        raise ValueError(
            f"hidden_size={config.hidden_size} is no multiple of num_attention_heads={config.num_attention_heads}"
        )
    return config


def _kept_layers(lattice: Lattice, full: int, kept: Kept) -> dict[int, frozenset[int]]:
    """The layers that each depth keeps: those of a smaller one are among those of a larger."""
    depths = sorted({int(target[DEPTH]) for target in lattice if DEPTH in target} | {full}, reverse=True)
    chosen: Sequence[int] = range(full)
    found: dict[int, frozenset[int]] = {}
    for depth in depths:
        chosen = chosen[:depth] if kept == "first" else [chosen[i * len(chosen) // depth] for i in range(depth)]
        found[depth] = frozenset(chosen)
    return found


def _turn_off_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def _put(model: nn.Module, path: str, layer: nn.Module) -> None:
    owner, _, name = path.rpartition(".")
    setattr(model.get_submodule(owner), name, layer)
