"""SGD with momentum, without Nesterov: the optimizer of the published recipes for images."""

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from trainers.acceleration import MakeSgdKernel
from trainers.optimizers.groups import GroupRules, gradients, parameter_groups, zeros_like


class Sgd:
    """SGD over gradients that stay where they are, so that every parameter decays at every step.

    Torch's fused one, or a kernel that is handed in. `torch.optim.SGD` around the former imports torch's compiler (a
    second in every worker) and gathers its lists anew at every step.

    Args:
        network: its trained parameters' gradients become zero, and are added to in place from then on.
        momentum: without dampening.
        weight_decay: of every trained parameter, whether its sub-model was drawn or not.
        rules: parts the parameters into groups.
        make_kernel: makes what moves the parameters of a group in torch's place.

    Attributes:
        rate: the learning rate, a scalar on the parameters' device, to be filled before a step.
        momenta: of the trained parameters, group by group, zero at first.

    Raises:
        ConfigError: nothing to train, or a rule that matches nothing.
    """

    def __init__(
        self,
        network: nn.Module,
        momentum: float,
        weight_decay: float,
        rules: GroupRules | None = None,
        make_kernel: MakeSgdKernel | None = None,
    ) -> None:
        self._groups = parameter_groups(network, weight_decay, rules or GroupRules())
        self._parameters: list[Tensor] = [parameter for group in self._groups for parameter in group.parameters]
        self._gradients = [gradients(group) for group in self._groups]
        self._momenta = [zeros_like(group) for group in self._groups]
        self.momenta = [tensor for of_group in self._momenta for tensor in of_group]
        self.rate = torch.zeros((), device=self._parameters[0].device)
        self._momentum = momentum
        lists = zip(self._groups, self._gradients, self._momenta, strict=True)
        self._kernels = make_kernel and [
            make_kernel(list(group.parameters), of_group, momenta, momentum, group.weight_decay)
            for group, of_group, momenta in lists
        ]

    def state(self) -> dict[str, Tensor]:
        """The momentum of every trained parameter, by its name."""
        names = [name for group in self._groups for name in group.names]
        return dict(zip(names, self.momenta, strict=True))

    @torch.no_grad()
    def step(self) -> None:
        """Moves the parameters; the gradients are zero afterwards."""
        if self._kernels is not None:
            for group, kernel in zip(self._groups, self._kernels, strict=True):
                kernel.step(group.rate(self.rate))
            return
        for group, of_group, momenta in zip(self._groups, self._gradients, self._momenta, strict=True):
            sgd(
                list(group.parameters),
                of_group,
                list[Tensor | None](momenta),
                fused=True,
                lr=group.rate(self.rate),  # a tensor, so that a captured step reads it where it lies
                momentum=self._momentum,
                weight_decay=group.weight_decay,
                dampening=0,
                nesterov=False,
                maximize=False,
            )
            torch._foreach_zero_(of_group)
