"""Nested forms of layers that come with torchvision and timm, by the names of their classes: neither is imported."""

from collections.abc import Mapping
from typing import Any

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
    per_head=("relative_position_bias_table",),
    must_be={"dropout": 0.0, "attention_dropout": 0.0},
)
_RELATIVE = AttentionParts(
    heads="n_heads",
    qkv=("to_qkv.weight", "to_qkv.bias"),
    out=("merge.weight", "merge.bias"),
    per_head=("relative_position_bias_table",),
)


def _attention(parts: AttentionParts) -> Any:
    return lambda layer, dimension: NestedSelfAttention(layer, parts)


def _layer_norm_of_images(layer: nn.LayerNorm, dimension: str | None) -> nn.Module:
    return NestedLayerNorm(layer, axis=1)


KNOWN: Mapping[str, Any] = {
    "torchvision.models.convnext.LayerNorm2d": _layer_norm_of_images,
    "torchvision.models.swin_transformer.ShiftedWindowAttention": _attention(_SHIFTED_WINDOWS),
    "torchvision.models.maxvit.RelativePositionalMultiHeadAttention": _attention(_RELATIVE),
}
