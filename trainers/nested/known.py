"""Nested forms of layers that come with torchvision, by the names of their classes: it is not imported for them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from torch import nn

from trainers.nested.layers.attention import AttentionParts, NestedSelfAttention
from trainers.nested.layers.layer_norm import NestedLayerNorm

TORCH_ATTENTION = AttentionParts(
    heads="num_heads",
    qkv=("in_proj_weight", "in_proj_bias"),
    out=("out_proj.weight", "out_proj.bias"),
    features=("embed_dim", "kdim", "vdim"),
    must_be={"dropout": 0.0, "bias_k": None, "add_zero_attn": False, "_qkv_same_embed_dim": True},
    weighs=True,
)
_SHIFTED_WINDOWS = AttentionParts(
    heads="num_heads",
    qkv=("qkv.weight", "qkv.bias"),
    out=("proj.weight", "proj.bias"),
    per_head={"relative_position_bias_table": 1},
    must_be={"dropout": 0.0, "attention_dropout": 0.0},
)
_SHIFTED_WINDOWS_V2 = replace(  # positions are computed by two layers, of which the second has an output for each head
    _SHIFTED_WINDOWS,
    per_head={"logit_scale": 0, "cpb_mlp.2.weight": 0},
    whole=("cpb_mlp.0.weight", "cpb_mlp.0.bias"),
)
_RELATIVE = AttentionParts(
    heads="n_heads",
    qkv=("to_qkv.weight", "to_qkv.bias"),
    out=("merge.weight", "merge.bias"),
    per_head={"relative_position_bias_table": 1},
)


Form: TypeAlias = Callable[[Any, str | None], nn.Module]
"""(plain layer, dimension) → its nested form."""


def _attention(parts: AttentionParts) -> Form:
    return lambda layer, dimension: NestedSelfAttention(layer, parts)


def _layer_norm_of_images(layer: nn.LayerNorm, dimension: str | None) -> nn.Module:
    return NestedLayerNorm(layer, axis=1)


KNOWN: Mapping[str, Form] = {
    "torchvision.models.convnext.LayerNorm2d": _layer_norm_of_images,
    "torchvision.models.swin_transformer.ShiftedWindowAttention": _attention(_SHIFTED_WINDOWS),
    "torchvision.models.swin_transformer.ShiftedWindowAttentionV2": _attention(_SHIFTED_WINDOWS_V2),
    "torchvision.models.maxvit.RelativePositionalMultiHeadAttention": _attention(_RELATIVE),
}
