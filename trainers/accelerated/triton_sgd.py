"""One step of SGD over all parameters as one kernel, for networks so small that torch's chunks fill no device.

torch's fused SGD gives 65,536 numbers to a block, which leaves most of a card without work where there are 220,000.
Tested in Triton's interpreter, which runs the same program on CPU.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

_NUMBERS = 1024  # of a program


@triton.jit  # type: ignore[untyped-decorator]
def _sgd(table, rate, momentum, decay, N: tl.constexpr):  # type: ignore[no-untyped-def]
    row, n = table + tl.program_id(0) * 4, tl.arange(0, N)
    parameters, gradients = (
        tl.load(row).to(tl.pointer_type(tl.float32)),
        tl.load(row + 1).to(tl.pointer_type(tl.float32)),
    )
    momenta, inside = tl.load(row + 2).to(tl.pointer_type(tl.float32)), n < tl.load(row + 3)
    before = tl.load(parameters + n, mask=inside, other=0.0)
    up = tl.load(gradients + n, mask=inside, other=0.0) + decay * before
    moved = momentum * tl.load(momenta + n, mask=inside, other=0.0) + up
    tl.store(momenta + n, moved, mask=inside)
    tl.store(parameters + n, before - tl.load(rate) * moved, mask=inside)
    tl.store(gradients + n, tl.zeros((N,), tl.float32), mask=inside)


class Steps:
    """Steps of the same parameters, whose tensors lie where they do for good.

    Args:
        parameters, gradients, momenta: fp32, of equal shapes and strides, dense, on one device.
        momentum, weight_decay: as in torch's SGD, without dampening or Nesterov.

    Raises:
        ValueError: strides that differ.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        momenta: Sequence[Tensor],
        momentum: float,
        weight_decay: float,
    ) -> None:
        rows = []
        for of_one in zip(parameters, gradients, momenta, strict=True):
            if len({tensor.stride() for tensor in of_one}) > 1:
                raise ValueError("a parameter, its gradient and its momentum lie differently")
            size, addresses = of_one[0].numel(), [tensor.data_ptr() for tensor in of_one]
            starts = range(0, size, _NUMBERS)
            rows += [[*(address + 4 * start for address in addresses), size - start] for start in starts]
        self._table = torch.tensor(rows, dtype=torch.int64, device=parameters[0].device)
        self._momentum, self._weight_decay = momentum, weight_decay

    def step(self, rate: Tensor) -> None:
        """Moves the parameters by `rate`, a scalar on their device; the gradients are zero afterwards."""
        _sgd[(len(self._table),)](self._table, rate, self._momentum, self._weight_decay, _NUMBERS)
