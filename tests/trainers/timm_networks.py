"""Classification networks of timm, the smallest of their classes or made so: how each is built, and its head."""

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
from timm.models.mlp_mixer import MlpMixer
from torch import nn

_SMALL_SWIN: dict[str, Any] = {"embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4), "drop_path_rate": 0}


def _made(name: str, **settings: Any) -> Callable[[], nn.Module]:
    return partial(timm.create_model, name, num_classes=10, **settings)


TIMM: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "timm ConvNeXt": (_made("convnext_atto", depths=(1, 1, 2, 1)), "head.fc"),
    "timm DenseNet": (_made("densenet121", block_config=(2, 2, 2, 2)), "classifier"),
    "timm EfficientNet": (_made("efficientnet_b0"), "classifier"),
    "timm MobileNet v3": (_made("mobilenetv3_small_050"), "classifier"),
    "timm RegNet Y": (_made("regnety_002"), "head.fc"),
    "timm ResNet": (_made("resnet18"), "fc"),
    "timm Swin": (_made("swin_tiny_patch4_window7_224", img_size=64, window_size=4, **_SMALL_SWIN), "head.fc"),
    "timm ViT": (_made("vit_tiny_patch16_224", img_size=64, depth=2), "head"),
    "timm ViT, queries normed": (_made("vit_tiny_patch16_224", img_size=64, depth=2, qk_norm=True), "head"),
}
TIMM_REFUSED: dict[str, tuple[Callable[[], nn.Module], str, str]] = {  # with a part of the reason
    "timm ConvNeXt v2": (
        _made("convnextv2_atto", depths=(1, 1, 1, 1)),
        "head.fc",
        r"'stages\.0\.blocks\.0\.mlp\.fc2' of ",
    ),
    "timm MLP-Mixer": (
        lambda: MlpMixer(num_classes=10, patch_size=32, num_blocks=1, embed_dim=64),
        "head",
        r"'blocks\.0\.mlp_tokens\.fc1' of MlpMixer: ",
    ),
    "timm Swin v2": (
        _made("swinv2_tiny_window8_256", img_size=224, window_size=7, **_SMALL_SWIN),
        "head.fc",
        r"'layers\.0\.blocks\.0\.attn' of SwinTransformerV2: ",
    ),
}
