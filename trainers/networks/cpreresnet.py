"""cPreResNet20, the network of Table 1: a pre-activation bottleneck ResNet for small images.

Source: the CIFAR network of Learning Compressible Subspaces (Nunez et al. 2023), which the paper compares on.
219,472 parameters with norm affine, 33.754 M multiply-accumulates on a 32×32 image.
"""

from torch import Tensor, nn

_PLANES, _BLOCKS, _EXPANSION = (16, 32, 64), 2, 4


def _norm_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class Bottleneck(nn.Module):
    """norm-ReLU-conv1×1, norm-ReLU-conv3×3 (the stride), norm-ReLU-conv1×1, plus the shortcut of the raw input."""

    def __init__(self, channels: int, planes: int, stride: int, project: bool) -> None:
        super().__init__()
        self.norm1 = _norm_relu(channels)
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.norm2 = _norm_relu(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.norm3 = _norm_relu(planes)
        self.conv3 = nn.Conv2d(planes, planes * _EXPANSION, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, planes * _EXPANSION, 1, stride, bias=False) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.norm1(x))
        y = self.conv2(self.norm2(y))
        y = self.conv3(self.norm3(y))
        out: Tensor = y + self.shortcut(x)
        return out


class CPreResNet20(nn.Module):
    """`x: (N, channels, size, size)` float, normalised → logits `(N, classes)`.

    Args:
        channels: input channels, 3 for CIFAR.
        size: side of the image in pixels, a multiple of 4; 32 for CIFAR.
        classes: number of classes.
    """

    def __init__(self, channels: int = 3, size: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, _PLANES[0], 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        incoming = _PLANES[0]
        for stage, planes in enumerate(_PLANES):
            for block in range(_BLOCKS):
                first = block == 0
                blocks.append(Bottleneck(incoming, planes, 2 if first and stage > 0 else 1, project=first))
                incoming = planes * _EXPANSION
        self.blocks = nn.Sequential(*blocks)
        self.norm = _norm_relu(incoming)
        self.pool = nn.AvgPool2d(size // 4)
        self.classifier = nn.Conv2d(incoming, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.stem(x))
        logits: Tensor = self.classifier(self.pool(self.norm(y)))
        return logits.flatten(1)
