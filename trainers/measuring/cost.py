"""What a sub-model costs: multiply-accumulates and parameters, counted from the network itself.

Hand-made tables go stale (Table 1's FLOPs column belongs to another network altogether); torch's counter does not.
"""

import copy
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry, sdpa_flop_count

from trainers.nested.encoder import NestedEncoder
from trainers.nested.layers.convolution import output_size
from trainers.nested.network import NestedNetwork
from trainers.submodel import SubModel

Macs: TypeAlias = Callable[[SubModel, Hashable], int]
"""Forward multiply-accumulates of one example of a shape in a sub-model."""


@dataclass(frozen=True)
class Cost:
    """What one example takes in a network.

    Attributes:
        macs: forward multiply-accumulates of convolutions, linear layers and average pooling.
        parameters: of the network.
        flops: floating-point operations forward, where the paper that is compared with has such a count.
    """

    macs: int
    parameters: int
    flops: int | None = None


def measure(network: nn.Module, input_shape: tuple[int, ...]) -> Cost:
    """The cost of a plain network at one example of `input_shape`; moves it to the meta device."""
    on_meta = network.to("meta").eval()
    parameters = sum(parameter.numel() for parameter in on_meta.parameters())
    return Cost(macs=_count(on_meta, _zeros(input_shape)), parameters=parameters)


class MacCounter:
    """Forward multiply-accumulates of one example in any sub-model, remembered per set of channel counts and shape.

    Continuous widths name endlessly many sub-models but only some hundred distinct networks. Each is counted in a
    forward of one example on CPU. Targets are asked for at every step, so each is looked up by itself. Trials of one
    process may ask at the same time.

    Args:
        network: a copy of it is counted.
        example: (shape) → what the network is called with for one example of it; zeros unless given, the shape being
            that of a tensor without the batch dimension.
    """

    def __init__(
        self, network: NestedNetwork | NestedEncoder, example: Callable[[Any], tuple[Tensor, ...]] | None = None
    ) -> None:
        self._network = copy.deepcopy(network).cpu().eval()
        self._example: Callable[[Any], tuple[Tensor, ...]] = example or _zeros
        self._targets = frozenset(network.lattice)
        self._of_target: dict[tuple[SubModel, Hashable], int] = {}
        self._known: dict[tuple[Hashable, Hashable], int] = {}
        self._counting = Lock()  # one network, switched for each

    def __call__(self, sub_model: SubModel, shape: Hashable = None) -> int:
        """Of an example of `shape`; of the network's own input shape unless given."""
        shape = getattr(self._network, "input_shape", None) if shape is None else shape
        if (sub_model, shape) in self._of_target:
            return self._of_target[sub_model, shape]
        with self._counting:
            self._network.activate(sub_model)
            known = self._network.signature(), shape
            if known not in self._known:
                self._known[known] = _count(self._network, self._example(shape))
            if sub_model in self._targets:
                self._of_target[sub_model, shape] = self._known[known]
            return self._known[known]


def costs_of(network: NestedNetwork, macs: MacCounter) -> dict[SubModel, Cost]:
    """What every target takes, smallest first.

    Args:
        macs: counts the network's sub-models.
    """
    return {
        target: Cost(macs(target), sum(parameter.numel() for parameter in network.extract(target).parameters()))
        for target in network.lattice
    }


def _zeros(shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    return (torch.zeros(1, *shape),)


def _count(network: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    counter = _Counter()  # type: ignore[no-untyped-call]  # torch's own
    device = next(network.parameters()).device
    with counter, torch.no_grad():
        network(*(tensor.to(device) for tensor in inputs))
    return counter.flops // 2


class _Counter(TorchDispatchMode):
    """Adds up torch's own formulas for every operation, which count a multiply-accumulate as two.

    `FlopCounterMode` does so per module, for which it imports torch's compiler: a second of every start. Convolutions
    give zeros here, since oneDNN would make kernels for every new width, and their formula is called as it is, since
    torch's way to it takes as long as a convolution (12 ms a width of cPreResNet20 with both, 4 ms so).
    """

    flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would wrap the method below in what imports the compiler

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        operation = func._overloadpacket
        if operation == torch.ops.aten.convolution and not args[6]:  # transposed
            x, weight, _, *how = args
            out = x.new_zeros(len(x), len(weight), *map(output_size, x.shape[2:], weight.shape[2:], *how[:3]))
            self.flops += conv_flop_count(x.shape, weight.shape, out.shape)
            return out
        out = func(*args, **(kwargs or {}))
        if operation == torch.ops.aten.avg_pool2d:
            self.flops += 2 * out.numel() * math.prod(args[1])
        elif operation == torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:  # which torch has no formula for
            self.flops += sdpa_flop_count(*(tensor.shape for tensor in args[:3]))
        elif operation in flop_registry:
            self.flops += flop_registry[operation](*args, **(kwargs or {}), out_val=out)
        return out
