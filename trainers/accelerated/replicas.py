"""Networks alike whose passes share launches: each with weights of its own, all with the same sub-model.

Several seeds of one arm are such networks. Their images follow one another in every map, so a launch for one network
is, with more images, one for all of them, whose programs look up how far from the first network's parameters their own
lie. Whatever rounding depends on (tiles, parts, partial sums) follows from one replica's images alone, so each has the
bits that it has without the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

UNIT = 16  # numbers: distances are counted in so many, so that aligned loads stay aligned


@dataclass(frozen=True, eq=False)
class Replicas:
    """Where networks alike have what they have.

    Attributes:
        apart: (replicas,) int64 on their device: how far from those of the first network each one's parameters and
            running moments lie, in `UNIT`s.
        alike: what corresponds to a parameter or buffer of the first network, in each of them.
    """

    apart: Tensor
    alike: Mapping[Tensor, tuple[Tensor, ...]]

    @classmethod
    def of(cls, networks: Sequence[nn.Module]) -> "Replicas":
        """Of networks that `lay_in_one` has each laid in one storage.

        Raises:
            ValueError: they do not lie alike.
        """
        every = [list(_tensors(network)) for network in networks]
        alike = {of_all[0]: of_all for of_all in zip(*every, strict=True)}
        apart = [tensors[0].data_ptr() - every[0][0].data_ptr() for tensors in every]
        unit = UNIT * every[0][0].element_size()
        for first, of_all in alike.items():
            for tensor, distance in zip(of_all, apart, strict=True):
                same = tensor.shape == first.shape and tensor.stride() == first.stride()
                if not same or distance % unit or tensor.data_ptr() - first.data_ptr() != distance:
                    raise ValueError("networks whose passes share launches must each lie in one storage, all alike")
        units = torch.tensor([distance // unit for distance in apart], device=every[0][0].device)
        return cls(units, alike)

    def __len__(self) -> int:
        return len(self.apart)


def lay_in_one(network: nn.Module) -> None:
    """Moves all parameters and buffers of a network, fp32, into one storage; they stay laid out as they are.

    Before anything remembers their addresses: an optimizer's kernels, captured graphs.
    """
    tensors = list(_tensors(network))
    starts = [0]
    for tensor in tensors:
        starts.append(starts[-1] + -(-tensor.numel() // UNIT) * UNIT)
    storage = torch.zeros(starts[-1], device=tensors[0].device)
    for tensor, start in zip(tensors, starts, strict=False):
        place = storage[start : start + tensor.numel()].as_strided(tensor.shape, tensor.stride())
        tensor.data = place.copy_(tensor.detach())


def _tensors(network: nn.Module) -> chain[Tensor]:
    return chain(network.parameters(), network.buffers())
