"""A plain GroupNorm whose groups need not divide the channels: what a sub-model under `norm=group` is made of."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PrefixGroupNorm(nn.Module):
    """GroupNorm with groups of a fixed size; channels left over form one smaller group. `x: (N, c, ...)`."""

    def __init__(self, channels: int, group_size: int, eps: float) -> None:
        super().__init__()
        self.group_size, self.eps = group_size, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x, self.weight, self.bias, self.group_size, self.eps)


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, group_size: int, eps: float) -> Tensor:
    """`x: (N, c, ...)` normalised over groups of `group_size` channels, the last one smaller if need be."""
    channels = x.shape[1]
    whole = channels - channels % group_size
    if whole == channels:
        return F.group_norm(x, channels // group_size, weight, bias, eps)
    rest = F.group_norm(x[:, whole:], 1, weight[whole:], bias[whole:], eps)
    if whole == 0:
        return rest
    return torch.cat([F.group_norm(x[:, :whole], whole // group_size, weight[:whole], bias[:whole], eps), rest], 1)
