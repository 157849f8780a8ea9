"""AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019), the usual optimizer of transformers."""

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from trainers.optimizers.groups import GroupRules, gradients, parameter_groups, zeros_like


class AdamW:
    """Torch's fused AdamW over gradients that stay where they are.

    As with SGD, a step is one of every trained parameter. Where none of a parameter's sub-models was drawn its gradient
    is zero: both moments fade by β₁ and β₂, the step count rises, the first moment that is left still moves it, and
    weight decay takes rate · weight_decay of it.

    Args:
        network: its trained parameters' gradients become zero, and are added to in place from then on.
        weight_decay: of the parameters that decay by `rules`, decoupled from the moments.
        betas: β₁ and β₂, how much of the first and second moment stays at a step.
        epsilon: added to the root of the second moment.
        rules: parts the parameters into groups.

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
    ) -> None:
        self._groups = parameter_groups(network, weight_decay, rules or GroupRules())
        self._gradients = [gradients(group) for group in self._groups]
        self._firsts = [zeros_like(group) for group in self._groups]
        self._seconds = [zeros_like(group) for group in self._groups]
        device = self._groups[0].parameters[0].device
        # A count for every parameter, since torch's kernel raises each, and of fp32, since it reads no other.
        sizes = [len(group.names) for group in self._groups]
        self._counts = torch.zeros(sum(sizes), dtype=torch.float32, device=device)
        self._steps = [list(counts.unbind()) for counts in self._counts.split(sizes)]
        self.rate = torch.zeros((), device=device)
        self._betas, self._epsilon = betas, epsilon

    def state(self) -> dict[str, Tensor]:
        """Both moments of every trained parameter, `first/<name>` and `second/<name>`, and `steps` of each."""
        state = {"steps": self._counts}
        for group, firsts, seconds in zip(self._groups, self._firsts, self._seconds, strict=True):
            for name, first, second in zip(group.names, firsts, seconds, strict=True):
                state[f"first/{name}"], state[f"second/{name}"] = first, second
        return state

    @torch.no_grad()
    def step(self) -> None:
        """Moves the parameters; the gradients are zero afterwards."""
        moments = zip(self._groups, self._gradients, self._firsts, self._seconds, self._steps, strict=True)
        for group, of_group, firsts, seconds, steps in moments:
            adamw(
                list(group.parameters),
                of_group,
                firsts,
                seconds,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=self._betas[0],
                beta2=self._betas[1],
                lr=group.rate(self.rate),
                weight_decay=group.weight_decay,
                eps=self._epsilon,
                maximize=False,
            )
            torch._foreach_zero_(of_group)
