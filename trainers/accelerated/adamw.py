"""Steps of AdamW on CPU that leave alone the rows of a parameter which no gradient has ever reached.

They give the bits of torch's fused AdamW: both moments of such a row are zero, so that nothing moves it but weight
decay. Of a vocabulary of 30,522 words most are in no text of a data set, or none yet; of what lies beyond the sub-model
that is trained, nothing is.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainers.accelerated.library import library
from trainers.acceleration import AdamWRule

_FEWEST = 1 << 15  # numbers; below, a call costs what it saves
_LANES = 16


@dataclass
class _Rows:
    """Steps of one parameter. Its tensors lie where they do for good, dense and in one order.

    Attributes:
        met: which rows a gradient has reached, `(rows,)`; None where the moments may have been replaced since.
    """

    parameter: Tensor
    gradient: Tensor
    first: Tensor
    second: Tensor
    rule: AdamWRule
    met: Tensor | None = field(default=None, init=False)

    def forget(self) -> None:
        self.met = None

    def step(self, rate: float, count: int) -> None:
        rows = len(self.parameter)
        columns, threads = self.parameter.numel() // rows, torch.get_num_threads()
        beta1, beta2 = self.rule.betas
        loaded = library()
        assert loaded is not None  # it was there when this was made
        moments = self.first.data_ptr(), self.second.data_ptr()
        if self.met is None:
            self.met = torch.empty(rows, dtype=torch.uint8)
            loaded.adamw_met(*moments, self.met.data_ptr(), rows, columns, threads)
        loaded.adamw_step(
            self.parameter.data_ptr(),
            self.gradient.data_ptr(),
            *moments,
            self.met.data_ptr(),
            rows,
            columns,
            1 - beta1,
            beta2,
            1 - beta2,
            rate / (1 - beta1**count),
            math.sqrt(1 - beta2**count),
            self.rule.epsilon,
            1 - rate * self.rule.weight_decay,
            self.rule.weight_decay != 0,
            threads,
        )


def rows(parameter: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rule: AdamWRule) -> _Rows | None:
    """Steps of one parameter; None where torch's own serve as well or better, or compute something else.

    Args:
        parameter, gradient, first, second: of one shape.
    """
    tensors = parameter, gradient, first, second
    if any(tensor.device.type != "cpu" or tensor.dtype != torch.float32 for tensor in tensors):
        return None
    if parameter.ndim < 2 or parameter.numel() < _FEWEST or len({tensor.stride() for tensor in tensors}) > 1:
        return None
    if parameter.stride(0) * len(parameter) != parameter.numel():  # rows that do not lie one after the other
        return None
    if parameter.numel() % (_LANES * torch.get_num_threads()):  # torch's rounds what is left over otherwise
        return None
    if rule.epsilon == 0 or 1 in rule.betas:  # nothing divided by nothing moves every row
        return None
    return None if library() is None else _Rows(parameter, gradient, first, second, rule)
