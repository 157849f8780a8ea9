"""What the sub-models of a config cost, found once for all trials with the same ones."""

from bisect import bisect_right
from functools import lru_cache

from trainers.building.image_networks import build, plainest
from trainers.config.image_trial import ImageTrialConfig
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.measuring.cost import Cost, MacCounter, costs_of
from trainers.nested.table import WIDTH
from trainers.submodel import SubModel


def mac_counter(config: ImageTrialConfig) -> MacCounter:
    """Counts the sub-models of a network. Multiply-accumulates do not depend on the norm policy, nor on weights."""
    return network_counter(config.task.dataset, config.network.name, config.lattice, config.network.multiple)


def target_costs(config: ImageTrialConfig) -> dict[str, Cost]:
    """Multiply-accumulates and parameters of every target by its label. They do not depend on the norm policy."""
    return _target_costs(config.task.dataset, config.network.name, config.lattice, config.network.multiple)


def widths_within(config: ImageTrialConfig) -> tuple[float, ...]:
    """To each budget of `network.within` the largest width, in thousandths, whose forward pass takes no more.

    Raises:
        ConfigError: a budget that no width keeps to.
    """
    macs, full = mac_counter(config), dict(config.lattice.largest.dims)

    def at(step: int) -> int:
        return macs(SubModel(**{**full, WIDTH: step / _STEPS}))

    found = []
    for budget in config.network.within:
        steps = bisect_right(range(1, _STEPS + 1), budget, key=at)
        if not steps:
            name = config.network.name
            raise ConfigError(f"network.within={budget:g}: the narrowest {name} takes {at(1):,} multiply-accumulates")
        found.append(steps / _STEPS)
    return tuple(found)


_STEPS = 1000


@lru_cache(maxsize=8)
def network_counter(data: str, network: str, lattice: Lattice, multiple: int = 1) -> MacCounter:
    return MacCounter(build(plainest(data, network, lattice, multiple), seed=0))


@lru_cache(maxsize=64)
def _target_costs(data: str, network: str, lattice: Lattice, multiple: int) -> dict[str, Cost]:
    nested, macs = (
        build(plainest(data, network, lattice, multiple), seed=0),
        network_counter(data, network, lattice, multiple),
    )
    return {target.label: cost for target, cost in costs_of(nested, macs).items()}
