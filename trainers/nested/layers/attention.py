"""Self-attention that keeps whole heads."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from trainers.nested.layers.layer import FollowingLayer, Shape
from trainers.nested.prefix import LeafViews, copied, in_same_storage


@dataclass(frozen=True)
class AttentionParts:
    """Where a class of self-attention has what depends on its numbers of features and heads.

    Attributes:
        heads: the attribute that counts them.
        qkv: weight and bias of the projection to queries, keys and values, `(3 · features, features)`; in each third
            the features of a head lie side by side.
        out: weight and bias of the projection behind, `(features, features)`.
        per_head: other parameters and the axis along which they have one entry for each head.
        whole: other parameters, which every sub-model has all of.
        features: attributes that count features.
        must_be: what other attributes must be.
        weighs: whether it is called with queries, keys and values, and gives (output, attention weights).
    """

    heads: str
    qkv: tuple[str, str]
    out: tuple[str, str]
    per_head: Mapping[str, int] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    must_be: Mapping[str, object] = field(default_factory=dict)
    weighs: bool = False


class NestedSelfAttention(FollowingLayer, nn.Module):
    """Runs the forward of the layer's own class with the first heads. `x: (..., c)`, c a multiple of the head size.

    As a depthwise convolution it has as many outputs as arrive; layers before it keep a multiple of the head size.

    Args:
        attention: the plain layer, whose parameters it takes over.
        parts: of its class.

    Raises:
        ValueError: what the class can do and this can't.
    """

    axis = -1

    def __init__(self, attention: nn.Module, parts: AttentionParts) -> None:
        super().__init__()
        for name, value in parts.must_be.items():
            if getattr(attention, name) != value:
                raise ValueError(f"self-attention with {name}={getattr(attention, name)!r} has no nested form")
        if any(isinstance(part, nn.Dropout) and part.p > 0 for part in attention.modules()):
            raise ValueError("dropout draws from a generator that a resumed trial would have lost: build it with p=0")
        known = {*parts.qkv, *parts.out, *parts.per_head, *parts.whole}
        if others := [name for name, _ in attention.named_parameters() if name not in known]:
            raise ValueError(f"self-attention with {', '.join(others)} has no nested form")
        own: dict[int, Any] = {id(parameter): in_same_storage(parameter) for parameter in attention.parameters()}
        self.attention = copy.deepcopy(attention, own)
        self._parts = parts
        self.inputs = self.attention.get_parameter(parts.out[0]).shape[0]
        self.head_size = self.inputs // int(getattr(attention, parts.heads))
        if self.attention.get_parameter(parts.qkv[0]).shape != (3 * self.inputs, self.inputs):
            raise ValueError("self-attention whose heads have other features together than arrive has no nested form")
        self._views = {name: LeafViews() for name, _ in self.attention.named_parameters()}

    def forward(self, x: Tensor, *same: Tensor, **options: Any) -> Any:
        self.check_call(x, *same, **options)
        features = x.shape[-1]
        self._count(self.attention, features)
        return functional_call(self.attention, self._read(features), (x, *same), options)

    def check_call(self, x: Tensor, *same: Tensor, **options: Any) -> None:
        """Refuses what is no self-attention, or more.

        Raises:
            ValueError: keys or values of another sequence, or heads whose weights are asked for.
        """
        if options.get("need_weights", self._parts.weighs) or any(each is not x for each in same):
            raise ValueError("it is asked for the weights of its heads, or to attend to other sequences than its own")

    def answer(self, out: Tensor) -> Any:
        """What a call gives, `out` being its output."""
        return (out, None) if self._parts.weighs else out

    def plain(self, channels: int) -> nn.Module:
        with torch.no_grad():
            read = self._read(channels)
        named = self.attention.named_parameters()
        memo: dict[int, Any] = {id(parameter): copied(read[name], parameter) for name, parameter in named}
        alone = copy.deepcopy(self.attention, memo)
        self._count(alone, channels)
        for module in alone.modules():
            if isinstance(module, nn.Linear):
                module.out_features, module.in_features = module.weight.shape
        return alone

    def move(self, attention: nn.Module, features: Tensor) -> None:
        """Gives a layer like this one its parameters in another order of features, and its heads in that of importance.

        The most important head is the one whose values the projection behind reads with the largest absolute weights.

        Args:
            attention: in which they are moved, in place.
            features: `(inputs,)` int64, which feature is to be read and given at each place.
        """
        own = dict(attention.named_parameters())
        features = features.to(own[self._parts.out[0]].device)
        read = own[self._parts.out[0]].abs().unflatten(1, (-1, self.head_size)).sum((0, 2))
        heads = read.argsort(descending=True, stable=True)
        of_heads = torch.arange(self.inputs, device=heads.device).view(-1, self.head_size)[heads].flatten()
        for name, parameter in own.items():
            if name in self._parts.qkv:
                moved = parameter.unflatten(0, (3, -1))[:, of_heads]
                parameter.copy_((moved[:, :, features] if parameter.ndim == 2 else moved).flatten(0, 1))
            elif name in self._parts.out:
                moved = parameter[features]
                parameter.copy_(moved[:, of_heads] if parameter.ndim == 2 else moved)
            elif name in self._parts.per_head:
                parameter.copy_(parameter.index_select(self._parts.per_head[name], heads))

    def output_shape(self, shape: Shape, prefix: Callable[[int], int]) -> Shape:
        if shape[-1] % self.head_size:
            raise ValueError(f"{shape[-1]} features reach self-attention with heads of {self.head_size}")
        return shape

    def _count(self, attention: nn.Module, features: int) -> None:
        setattr(attention, self._parts.heads, features // self.head_size)
        for name in self._parts.features:
            setattr(attention, name, features)

    def _read(self, features: int) -> dict[str, Tensor]:
        """Weights of the first heads, differentiable."""
        read = {}
        for name, parameter in self.attention.named_parameters():
            views, sizes = self._views[name], (features,) * parameter.ndim
            if name in self._parts.qkv:
                read[name] = views.prefix(parameter, (3, *sizes), parts=3).flatten(0, 1)
            elif name in self._parts.out:
                read[name] = views.prefix(parameter, sizes)
            else:
                own = list(parameter.shape)
                if name in self._parts.per_head:
                    own[self._parts.per_head[name]] = features // self.head_size
                read[name] = views.prefix(parameter, tuple(own))
            if not torch.is_grad_enabled():  # torch goes other ways for what is learnt, and rounds otherwise there
                read[name] = read[name].detach().requires_grad_(parameter.requires_grad)
        return read
