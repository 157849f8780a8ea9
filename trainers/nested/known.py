"""What is known of layers that come with torchvision and timm, by the names of their classes: neither is imported."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from torch import nn

from trainers.nested.layers.attention import AttentionParts, NestedSelfAttention
from trainers.nested.layers.layer_norm import NestedLayerNorm
from trainers.nested.layers.linear import NestedLinear

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

_TIMMS = AttentionParts(
    heads="num_heads",
    qkv=("qkv.weight", "qkv.bias"),
    out=("proj.weight", "proj.bias"),
    whole=("q_norm.weight", "q_norm.bias", "k_norm.weight", "k_norm.bias"),  # over the features of a head
    features=("attn_dim",),
)
_TIMMS_WINDOWS = AttentionParts(
    heads="num_heads",
    qkv=("qkv.weight", "qkv.bias"),
    out=("proj.weight", "proj.bias"),
    per_head={"relative_position_bias_table": 1},
    features=("dim",),
)


Form: TypeAlias = Callable[[Any, str | None], nn.Module]
"""(plain layer, dimension) → its nested form."""


def _attention(parts: AttentionParts) -> Form:
    return lambda layer, dimension: NestedSelfAttention(layer, parts)


def _layer_norm(axis: int) -> Form:
    def form(layer: Any, dimension: str | None) -> nn.Module:
        if getattr(layer, "_fast_norm", False):
            raise ValueError("timm's fast norm rounds otherwise under autocast: build it after set_fast_norm(False)")
        return NestedLayerNorm(layer, axis)

    return form


KNOWN: Mapping[str, Form] = {
    "torchvision.models.convnext.LayerNorm2d": _layer_norm(axis=1),
    "torchvision.models.swin_transformer.ShiftedWindowAttention": _attention(_SHIFTED_WINDOWS),
    "torchvision.models.swin_transformer.ShiftedWindowAttentionV2": _attention(_SHIFTED_WINDOWS_V2),
    "torchvision.models.maxvit.RelativePositionalMultiHeadAttention": _attention(_RELATIVE),
    "timm.layers.attention.Attention": _attention(_TIMMS),
    "timm.layers.linear.Linear": NestedLinear,
    "timm.layers.norm.LayerNorm": _layer_norm(axis=-1),
    "timm.layers.norm.LayerNorm2d": _layer_norm(axis=1),
    "timm.models.swin_transformer.WindowAttention": _attention(_TIMMS_WINDOWS),
}


def _norm_and_activation(layer: Any) -> list[nn.Module]:
    norm = nn.BatchNorm2d(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats, device="meta"
    )
    for name, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
        setattr(norm, name, tensor)
    return [norm, *(part for part in (layer.drop, layer.act) if type(part) is not nn.Identity)]


PARTS: Mapping[str, Callable[[Any], list[nn.Module]]] = {"timm.layers.norm_act.BatchNormAct2d": _norm_and_activation}
"""The layers that one of a class is in turn, over its own parameters and buffers."""
