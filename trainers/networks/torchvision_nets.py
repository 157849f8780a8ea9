"""torchvision's classifiers: any as it is; ResNet-18 and MobileNetV2 with strides for images of 32×32 or less, too.

At their own strides a 32×32 image is a single pixel before the last stages. The usual mend for CIFAR is fewer
strides: ResNet-18 with a 3×3 stem of stride 1 and no pooling, MobileNetV2 with stride 1 in its first strided stage.
torchvision takes as long to import as torch, so it is imported only where one of its networks is built.
"""

from typing import Any

from torch import nn

from trainers.nested.depth import interleaved

# Expansion, outputs, blocks, stride of each stage (Sandler et al. 2018, table 2), and the strides for small images.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_SMALL_STRIDES = (1, 1, 2, 2, 1, 1, 1)
_SMALL = 64  # pixels; below it an image counts as small
_RESNET18 = (2, 2, 2, 2)


def names_of_torchvision() -> list[str]:
    """Of all classifiers that it ships."""
    import torchvision.models

    return list(torchvision.models.list_models(module=torchvision.models))


def any_of_torchvision(name: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A classifier of torchvision's at its own strides, untrained, without dropout, stochastic depth and side heads.

    Args:
        name: there.
        shape: of one image, channels, height, width.
        classes: outputs.
    """
    from torchvision.models import get_model
    from torchvision.ops import StochasticDepth

    own: dict[str, dict[str, Any]] = {
        "vit": {"image_size": shape[1]},
        "maxvit": {"input_size": shape[1:]},
        "googlenet": {"aux_logits": False, "init_weights": False},
        "inception": {"aux_logits": False, "init_weights": False},
    }
    network: nn.Module = get_model(name, weights=None, num_classes=classes, **own.get(name.partition("_")[0], {}))
    for module in network.modules():
        if isinstance(module, nn.Dropout | StochasticDepth):
            module.p = 0.0
    first = next((path for path, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None and shape[0] != 3:
        stem = network.get_submodule(first)
        assert isinstance(stem, nn.Conv2d)
        kernel, stride, padding = (stem.kernel_size[0], stem.stride[0], stem.padding[0])
        fresh = nn.Conv2d(shape[0], stem.out_channels, kernel, stride, int(padding), bias=stem.bias is not None)
        network.set_submodule(first, fresh)
    return network


def mobilenet_v2(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """MobileNetV2 at width 1, without dropout, for images of `shape` (channels, height, width)."""
    from torchvision.models import MobileNetV2

    strides = _SMALL_STRIDES if shape[1] < _SMALL else [stride for *_, stride in _STAGES]
    stages = [[t, c, n, stride] for (t, c, n, _), stride in zip(_STAGES, strides, strict=True)]
    network: nn.Module = MobileNetV2(num_classes=classes, inverted_residual_setting=stages, dropout=0.0)
    if shape[0] != 3:
        network.set_submodule("features.0.0", nn.Conv2d(shape[0], 32, 3, stride=2, padding=1, bias=False))
    return network


def mobilenet_v2_blocks() -> tuple[str, ...]:
    """The ten inverted residuals whose output is as their input: the second of every stage, then the third, …"""
    stages, first = [], 1  # features.0 is the stem
    for _, _, blocks, _ in _STAGES:
        stages.append([f"features.{index}" for index in range(first + 1, first + blocks)])
        first += blocks
    return interleaved(stages)


def resnet18(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-18 for images of `shape` (channels, height, width)."""
    from torchvision.models import ResNet
    from torchvision.models.resnet import BasicBlock

    network: nn.Module = ResNet(BasicBlock, list(_RESNET18), num_classes=classes)
    if shape[1] < _SMALL:
        network.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    elif shape[0] != 3:
        network.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
    return network


def resnet18_blocks() -> tuple[str, ...]:
    """The four second blocks of ResNet-18's stages."""
    return interleaved([[f"layer{stage}.{block}" for block in range(1, n)] for stage, n in enumerate(_RESNET18, 1)])
