"""The affine parameters of norm layers: γ and β that sub-models share, or that lie on a line between two endpoints."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainers.lattice import Lattice
from trainers.nested.prefix import LeafViews, Read
from trainers.submodel import SubModel

_LINE_END = 0.5  # γ of a line's second endpoint before training, as LCS's `cpreresnet.py` fills `weight1`


class _Affine(nn.Module):
    """γ and β of a norm."""

    def reads(self, channels: int, places: Tensor | None = None) -> Sequence[Read]:
        """What is read for the first channels, or for those at `places`."""
        raise NotImplementedError

    def active(self, read: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """γ and β of the active sub-model, made of what was read."""
        raise NotImplementedError

    def prefix(self, channels: int, places: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """γ and β of the first channels, or of those at `places`, differentiable."""
        return self.active([read.learnt() for read in self.reads(channels, places)])


class SharedAffine(_Affine):
    """γ and β of which every sub-model reads its prefix."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self._weights, self._biases = LeafViews(), LeafViews()

    @property
    def channels(self) -> int:
        """Of the largest sub-model."""
        return len(self.weight)

    def start_from(self, norm: nn.BatchNorm2d) -> None:
        """Begins, as it has begun so far from a fresh norm (γ=1, β=0), from `norm`: its γ's and β's prefix."""
        channels = len(self.weight)
        weight, bias = norm.weight.detach()[:channels], norm.bias.detach()[:channels]
        self.weight = nn.Parameter(self.weight.detach().to(weight) * weight, norm.weight.requires_grad)
        self.bias = nn.Parameter(self.bias.detach().to(bias) + bias, norm.bias.requires_grad)

    def activate(self, sub_model: SubModel) -> None:
        """Nothing to do: the incoming tensor tells the width."""

    def reads(self, channels: int, places: Tensor | None = None) -> tuple[Read, Read]:
        size = (channels,)
        return self._weights.of(self.weight, size, places), self._biases.of(self.bias, size, places)

    def active(self, read: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        weight, bias = read
        return weight, bias


class LineAffine(_Affine):
    """γ and β on a line between two learnt endpoints: the smallest width has the start, the full width the end.

    The subspace of structured LCS-l (Nunez et al. 2023): θ(α) = (1 − α) θ₀ + α θ₁ with w = w₀ + (1 − w₀) α. As in
    their code, θ₀ starts at γ = 1 and θ₁ at γ = ½, both at β = 0, so the full width starts at half the usual scale.

    Args:
        channels: of the largest sub-model.
        lattice: the targets.
        dimension: the lattice's along which the line runs.
    """

    def __init__(self, channels: int, lattice: Lattice, dimension: str) -> None:
        super().__init__()
        self.start, self.end = SharedAffine(channels), SharedAffine(channels)
        nn.init.constant_(self.end.weight, _LINE_END)
        self._dimension = dimension
        self._smallest, self._largest = lattice.smallest[dimension], lattice.largest[dimension]
        self._place = 1.0

    @property
    def channels(self) -> int:
        """Of the largest sub-model."""
        return self.start.channels

    def start_from(self, norm: nn.BatchNorm2d) -> None:
        """Begins with both endpoints, as they have begun so far from a fresh norm (γ=1, β=0), from `norm`."""
        self.start.start_from(norm)
        self.end.start_from(norm)

    def activate(self, sub_model: SubModel) -> None:
        spread = self._largest - self._smallest
        self._place = (sub_model[self._dimension] - self._smallest) / spread if spread else 1.0

    def reads(self, channels: int, places: Tensor | None = None) -> Sequence[Read]:
        return *self.start.reads(channels, places), *self.end.reads(channels, places)

    def active(self, read: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        weight, bias, weight_end, bias_end = read
        return torch.lerp(weight, weight_end, self._place), torch.lerp(bias, bias_end, self._place)


Affines = SharedAffine | LineAffine


def line_cosine_squared(network: nn.Module) -> Tensor:
    """cos² of the angle between the two endpoints, each the γ of all lines of a network as one vector; a scalar.

    The regulariser of LCS (`train_curve.py`, where `curve_utils.get_weight` reads γ and leaves β out).
    """
    lines = [module for module in network.modules() if isinstance(module, LineAffine)]
    start = torch.cat([line.start.weight for line in lines])
    end = torch.cat([line.end.weight for line in lines])
    return (start @ end).square() / (start.square().sum() * end.square().sum())


def copy_affine(norm: nn.Module, affine: Affines, channels: int, places: Tensor | None = None) -> None:
    """Gives a plain norm γ and β of the active sub-model's first channels, or of those at `places`."""
    with torch.enable_grad():  # tells which of them is learnt
        weight, bias = affine.prefix(channels, places)
    norm.to(weight)
    norm.weight = nn.Parameter(weight.detach().clone(), weight.requires_grad)
    norm.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
