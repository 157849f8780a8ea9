"""Fewer examples of a data set: the same ones for every seed and arm."""

import torch
from torch import Tensor

from trainers.errors import DataError


def evenly_spread(count: int, of: int) -> Tensor:
    """`(count,)` int64: which of so many examples are kept, the first among them, in their order.

    Of a data set that lies in the order of its classes or sources as many of each are kept as their shares are.

    Raises:
        DataError: there are fewer than are to be kept.
    """
    if count > of:
        raise DataError(f"train_examples={count}: the data set has {of:,}")
    return torch.arange(count) * of // count
