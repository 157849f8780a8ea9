"""The ReLU that follows a norm and is part of its nested layer."""

import torch.nn.functional as F
from torch import Tensor, nn


def rectified(x: Tensor, relu: bool) -> Tensor:
    """`x`, changed in place if there is a ReLU."""
    return F.relu_(x) if relu else x


def with_relu(norm: nn.Module, relu: bool) -> nn.Module:
    """A plain norm, and the ReLU behind it if there is one."""
    return nn.Sequential(norm, nn.ReLU(inplace=True)) if relu else norm
