"""AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019), the usual optimizer of transformers."""

from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from trainers.acceleration import AdamWKernel, AdamWRule, MakeAdamWKernel
from trainers.optimizers.groups import GroupRules, gradients, parameter_groups, zeros_like


class _Trained(NamedTuple):
    """A parameter and all that a step of it takes."""

    parameter: Tensor
    gradient: Tensor
    first: Tensor
    second: Tensor
    steps: Tensor


class AdamW:
    """AdamW over gradients that stay where they are: torch's fused one, or kernels that are handed in.

    As with SGD, a step is one of every trained parameter. Where none of a parameter's sub-models was drawn its gradient
    is zero: both moments fade by β₁ and β₂, the step count rises, the first moment that is left still moves it, and
    weight decay takes rate · weight_decay of it.

    Args:
        network: its trained parameters' gradients become zero, and are added to in place from then on.
        weight_decay: of the parameters that decay by `rules`, decoupled from the moments.
        betas: β₁ and β₂, how much of the first and second moment stays at a step.
        epsilon: added to the root of the second moment.
        rules: parts the parameters into groups.
        make_kernel: makes what moves a parameter in torch's place, where it does.

    Attributes:
        rate: the learning rate, a scalar on the parameters' device, to be filled before a step.

    Raises:
        ConfigError: nothing to train, or a rule that matches nothing.
    """

    def __init__(
        self,
        network: nn.Module,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        rules: GroupRules | None = None,
        make_kernel: MakeAdamWKernel | None = None,
    ) -> None:
        self._groups = parameter_groups(network, weight_decay, rules or GroupRules())
        self._firsts = [zeros_like(group) for group in self._groups]
        self._seconds = [zeros_like(group) for group in self._groups]
        device = self._groups[0].parameters[0].device
        # A count for every parameter, since torch's kernel raises each, and of fp32, since it reads no other.
        sizes = [len(group.names) for group in self._groups]
        self._counts = torch.zeros(sum(sizes), dtype=torch.float32, device=device)
        self.rate = torch.zeros((), device=device)
        self._torchs: list[list[_Trained]] = []
        self._kernels: list[list[tuple[AdamWKernel, Tensor]]] = []
        self._rules = [AdamWRule(betas, epsilon, group.weight_decay) for group in self._groups]
        counts = iter(self._counts.unbind())
        for group, firsts, seconds, rule in zip(self._groups, self._firsts, self._seconds, self._rules, strict=True):
            torchs, kernels = list[_Trained](), list[tuple[AdamWKernel, Tensor]]()
            for tensors in zip(group.parameters, gradients(group), firsts, seconds, strict=True):
                count, kernel = next(counts), make_kernel and make_kernel(*tensors, rule)
                if kernel is None:
                    torchs.append(_Trained(*tensors, count))
                else:
                    kernels.append((kernel, count))
            self._torchs.append(torchs)
            self._kernels.append(kernels)

    def state(self) -> dict[str, Tensor]:
        """Both moments of every trained parameter, `first/<name>` and `second/<name>`, and `steps` of each."""
        for kernel, _ in chain.from_iterable(self._kernels):
            kernel.forget()  # whoever asks may copy into them
        state = {"steps": self._counts}
        for group, firsts, seconds in zip(self._groups, self._firsts, self._seconds, strict=True):
            for name, first, second in zip(group.names, firsts, seconds, strict=True):
                state[f"first/{name}"], state[f"second/{name}"] = first, second
        return state

    @torch.no_grad()
    def step(self) -> None:
        """Moves the parameters; the gradients are zero afterwards."""
        for group, rule, torchs, kernels in zip(self._groups, self._rules, self._torchs, self._kernels, strict=True):
            rate = group.rate(self.rate)
            number = rate.item() if kernels else 0.0  # kernels are for CPU, where nothing waits for it
            for kernel, count in kernels:
                kernel.step(number, int(count.add_(1)))
            if torchs:
                _step_of_torch([list(tensors) for tensors in zip(*torchs, strict=True)], rate, rule)


def _step_of_torch(tensors: list[list[Tensor]], rate: Tensor, rule: AdamWRule) -> None:
    """A step of parameters, gradients, first moments, second moments, counts."""
    parameters, gradients_of, firsts, seconds, counts = tensors
    adamw(
        parameters,
        gradients_of,
        firsts,
        seconds,
        [],
        counts,
        fused=True,
        amsgrad=False,
        beta1=rule.betas[0],
        beta2=rule.betas[1],
        lr=rate,
        weight_decay=rule.weight_decay,
        eps=rule.epsilon,
        maximize=False,
    )
    torch._foreach_zero_(gradients_of)
