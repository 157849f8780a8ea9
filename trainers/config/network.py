"""The network and the sub-models that it shall hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from trainers.config.package_files import package_file
from trainers.config.part import Numbers, Part, Text, Whole, is_number, shown
from trainers.errors import ConfigError, unknown
from trainers.lattice import Lattice


def plural(name: str) -> str:
    """What a dimension's support is called for short: `widths`, of a stage's `widths_2`."""
    base, line, stage = name.partition("_")
    return base + "s" * (not base.endswith("s")) + line + stage


def spelled(name: str, values: object) -> str:
    """A dimension's support as it is usually written, `widths=[0.5, 1.0]`."""
    return f"{plural(name)}={shown(list(values) if isinstance(values, tuple) else values)}"


def _supports(given: Any, dimensions: Mapping[str, type[float]]) -> dict[str, tuple[float, ...]]:
    """The dimensions, each with its values in rising order. One without any is none."""
    if not isinstance(given, Mapping):
        raise ConfigError(f'network.dimensions={shown(given)}: give lists by name, e.g. {{"depth": [1, 2, 3]}}')
    supports: dict[str, tuple[float, ...]] = {}
    for name, values in given.items():
        if name not in dimensions:
            raise unknown("dimension", name, dimensions)
        counts = dimensions[name] is int
        example = f"{plural(name)}={'[1,2,3]' if counts else '[0.25,0.5,1]'}"
        numbers = "whole numbers" if counts else "numbers"
        if not isinstance(values, list | tuple):
            raise ConfigError(f"{spelled(name, values)}: give a list of numbers, e.g. {example}")
        if not all(is_number(value) and (not counts or float(value).is_integer()) for value in values):
            raise ConfigError(f"{spelled(name, values)}: give a list of {numbers}, e.g. {example}")
        if values:
            supports[name] = tuple(sorted(dimensions[name](value) for value in values))
    return supports


class SubModelsConfig(Part):
    """A network by its name, and what its sub-models are: the base of every kind of network's config.

    Each kind says which `DIMENSIONS` its sub-models may differ in, and whether as a share of the whole or as a count.
    """

    DIMENSIONS: ClassVar[Mapping[str, type[float]]]

    name: Text
    # Counts stay whole numbers: as a share, 1.0, a depth of 1 would be another.
    dimensions: Mapping[str, tuple[int | float, ...]]

    @field_validator("dimensions", mode="before", check_fields=False)
    @classmethod
    def _checked(cls, given: Any) -> dict[str, tuple[float, ...]]:
        return _supports(given, cls.DIMENSIONS)

    @property
    def lattice(self) -> Lattice:
        """The target sub-models.

        Raises:
            ValueError: they make up no lattice.
        """
        return Lattice.product(**self.dimensions)


def _known(name: str) -> str:
    from trainers.networks.architectures import architecture  # torch, which no other setting needs

    architecture(name)
    return name


STAGES = 9  # that may have dimensions of their own


class NetworkConfig(SubModelsConfig):
    """The plain network that is made nested, and its dimensions."""

    DIMENSIONS: ClassVar[Mapping[str, type[float]]] = {
        f"{name}{stage}": kind
        for stage in ("", *(f"_{number}" for number in range(1, STAGES + 1)))
        for name, kind in (("width", float), ("depth", int))
    }

    name: Annotated[Text, AfterValidator(_known)] = Field(
        default="cpreresnet20",
        description="The network, by its name; any classifier of torchvision's, torchvision:NAME.",
        json_schema_extra={"alone": True},
    )
    dimensions: Mapping[str, tuple[int | float, ...]] = Field(
        default={"width": (0.25, 0.5, 0.75, 1.0)},
        description="The supports that the target sub-models are all combinations of.",
        json_schema_extra={
            "unit": "width: shares of the full one; depth: optional residual blocks; width_2, depth_2: of stage 2"
        },
    )
    multiple: Whole = Field(
        default=1,
        ge=1,
        le=1024,
        description="Of which every layer's number of channels is one at every width, where all of them are one.",
    )
    within: Numbers = Field(
        default=(),
        description="Budgets of a forward pass: the largest width within each becomes one of the widths.",
        json_schema_extra={"unit": "multiply-accumulates"},
    )
    weights: Text = Field(
        default="",
        description="A file of the trained network that it starts from, safetensors or a state dict, PACKAGE:PATH of "
        "one that a package brings along; empty: weights are drawn from the seed. A head of other classes is drawn. A "
        "trial is known by the file's content.",
        json_schema_extra={"located": True},
    )
    order: Literal["trained", "l1", "gamma"] = Field(
        default="trained",
        description="How the channels of a trained network are ordered before it is nested: as they are, or by "
        "importance, the most important first: the L1 norm of their filters, or their norms' γ.",
    )

    @property
    def weights_file(self) -> Path:
        """Where the weights are that it starts from, of a config that names some."""
        return package_file(self.weights) or Path(self.weights).expanduser().absolute()

    def resolved(self, within: tuple[float, ...]) -> "NetworkConfig":
        """With the absolute path of the file of weights, unless a package has it, and with the widths of budgets.

        Args:
            within: the widths that budgets stand for.
        """
        update: dict[str, Any] = {"within": ()}
        if self.weights and package_file(self.weights) is None:
            update["weights"] = str(self.weights_file)
        if within:
            widths = tuple(sorted({*self.dimensions["width"], *within}))
            update["dimensions"] = {**self.dimensions, "width": widths}
        return self.model_copy(update=update)

    def check(self) -> None:
        """Refuses dimensions that this network does not have, or that make up no lattice with the whole network in it.

        Raises:
            ConfigError: naming the dimension; an order of what was never trained.
        """
        if not self.dimensions:
            raise ConfigError("widths=[]: give a list of numbers, e.g. widths=[0.25,0.5,1]")
        if self.order != "trained" and not self.weights:
            raise ConfigError(f"network.order={self.order}: nothing is trained yet: give network.weights, too")
        try:
            lattice = self.lattice
        except ValueError as error:
            said = ", ".join(spelled(name, values) for name, values in self.dimensions.items())
            raise ConfigError(f"{said}: {error}") from error
        if self.within and "width" not in self.dimensions:
            raise ConfigError("network.within: there is no width to choose: give widths=[1], or more")
        for name in lattice.largest.dimensions:
            values = self.dimensions[name]
            if self.DIMENSIONS[name] is float and lattice.largest[name] != 1:
                raise ConfigError(f"{spelled(name, values)}: the full width, 1, must be among them")

    def check_depths(self, blocks: Mapping[str, int]) -> None:
        """Refuses depths that this network does not have.

        Args:
            blocks: by dimension, how many optional blocks it counts.

        Raises:
            ConfigError: naming the dimension.
        """
        for name, values in self.dimensions.items():
            if self.DIMENSIONS[name] is float:
                continue
            there = blocks.get(name, 0)
            where = self.name if name == "depth" else f"stage {name.partition('_')[2]} of {self.name}"
            if not there:
                raise ConfigError(f"{spelled(name, values)}: {where} has no optional blocks, give {plural(name)}=[]")
            if min(values) < 1 or max(values) != there:
                raise ConfigError(
                    f"{spelled(name, values)}: numbers from 1 to the {there} optional blocks of {where}, all of "
                    "which must be one of them"
                )
