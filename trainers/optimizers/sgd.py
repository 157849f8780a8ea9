"""The optimizer of all recipes: SGD with momentum, without Nesterov."""

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from trainers.acceleration import MakeSgdKernel


class Sgd:
    """SGD over gradients that stay where they are, so that every parameter decays at every step.

    Torch's fused one, or a kernel that is handed in. `torch.optim.SGD` around the former imports torch's compiler (a
    second in every worker) and gathers its lists anew at every step.

    Args:
        network: its parameters' gradients become zero, and are added to in place from then on.
        momentum: without dampening.
        weight_decay: of every parameter, whether its sub-model was drawn or not.
        make_kernel: makes what moves the parameters in torch's place.

    Attributes:
        rate: the learning rate, a scalar on the parameters' device, to be filled before a step.
        momenta: of the parameters in their order, zero at first.
    """

    def __init__(
        self, network: nn.Module, momentum: float, weight_decay: float, make_kernel: MakeSgdKernel | None = None
    ) -> None:
        self._parameters: list[Tensor] = list(network.parameters())
        self._gradients = [torch.zeros_like(parameter) for parameter in self._parameters]
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        self.momenta = [torch.zeros_like(parameter, requires_grad=False) for parameter in self._parameters]
        self.rate = torch.zeros((), device=self._parameters[0].device)
        self._momentum, self._weight_decay = momentum, weight_decay
        tensors = self._parameters, self._gradients, self.momenta
        self._kernel = None if make_kernel is None else make_kernel(*tensors, momentum, weight_decay)

    @torch.no_grad()
    def step(self) -> None:
        """Moves the parameters; the gradients are zero afterwards."""
        if self._kernel is not None:
            self._kernel.step(self.rate)
            return
        sgd(
            self._parameters,
            self._gradients,
            list[Tensor | None](self.momenta),
            fused=True,
            lr=self.rate,  # a tensor, so that a captured step reads it where it lies
            momentum=self._momentum,
            weight_decay=self._weight_decay,
            dampening=0,
            nesterov=False,
            maximize=False,
        )
        torch._foreach_zero_(self._gradients)
