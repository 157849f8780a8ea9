"""The network and the sub-models that it shall hold."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from trainers.config.part import Part, Text, is_number, one_of, shown
from trainers.errors import ConfigError, unknown
from trainers.lattice import Lattice
from trainers.networks.architectures import NETWORKS

DIMENSIONS: dict[str, type[float]] = {"width": float, "depth": int}
"""What sub-models may differ in, and whether as a share of the whole or as a count."""


def spelled(name: str, values: object) -> str:
    """A dimension's support as it is usually written, `widths=[0.5, 1.0]`."""
    return f"{name}s={shown(list(values) if isinstance(values, tuple) else values)}"


def _supports(given: Any) -> dict[str, tuple[float, ...]]:
    """The dimensions, each with its values in rising order. One without any is none."""
    if not isinstance(given, Mapping):
        raise ConfigError(f'network.dimensions={shown(given)}: give lists by name, e.g. {{"width": [0.25, 0.5, 1]}}')
    supports: dict[str, tuple[float, ...]] = {}
    for name, values in given.items():
        if name not in DIMENSIONS:
            raise unknown("dimension", name, DIMENSIONS)
        if not isinstance(values, list | tuple) or (not values and name == "width"):
            raise ConfigError(f"{spelled(name, values)}: give a list of numbers, e.g. {name}s=[0.25,0.5,1]")
        if DIMENSIONS[name] is int and not all(is_number(value) and float(value).is_integer() for value in values):
            raise ConfigError(f"{spelled(name, values)}: give a list of whole numbers, e.g. {name}s=[1,2,3]")
        if not all(is_number(value) for value in values):
            raise ConfigError(f"{spelled(name, values)}: give a list of numbers, e.g. {name}s=[0.25,0.5,1]")
        if values:
            supports[name] = tuple(sorted(DIMENSIONS[name](value) for value in values))
    return supports


class NetworkConfig(Part):
    """The plain network that is made nested, and its dimensions."""

    name: Annotated[Text, one_of("network", lambda: NETWORKS)] = Field(
        default="cpreresnet20", description="The network, by its name.", json_schema_extra={"alone": True}
    )
    # Counts stay whole numbers: as a share, 1.0, a depth of 1 would be another.
    dimensions: Annotated[Mapping[str, tuple[int | float, ...]], BeforeValidator(_supports)] = Field(
        default={"width": (0.25, 0.5, 0.75, 1.0)},
        description="The supports that the target sub-models are all combinations of.",
        json_schema_extra={"unit": "width: shares of the full one; depth: optional residual blocks"},
    )

    @property
    def lattice(self) -> Lattice:
        """The target sub-models.

        Raises:
            ValueError: they make up no lattice.
        """
        return Lattice.product(**self.dimensions)

    def check(self) -> None:
        """Refuses dimensions that this network does not have, or that make up no lattice with the whole network in it.

        Raises:
            ConfigError: naming the dimension.
        """
        try:
            lattice = self.lattice
        except ValueError as error:
            said = ", ".join(spelled(name, values) for name, values in self.dimensions.items())
            raise ConfigError(f"{said}: {error}") from error
        if "width" in lattice.largest and lattice.largest["width"] != 1:
            raise ConfigError(f"{spelled('width', self.dimensions['width'])}: the full width, 1, must be among them")
        blocks, depths = len(NETWORKS[self.name].optional), self.dimensions.get("depth", ())
        if depths and not blocks:
            raise ConfigError(f"{spelled('depth', depths)}: {self.name} has no optional blocks, give depths=[]")
        if depths and (min(depths) < 1 or max(depths) != blocks):
            raise ConfigError(
                f"{spelled('depth', depths)}: numbers from 1 to the {blocks} optional blocks of {self.name}, all of "
                "which must be one of them"
            )
