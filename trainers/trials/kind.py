"""A kind of trials: what it knows that the loop, the estimates and the binding to an engine do not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from trainers.config.trial import TrialConfig
from trainers.measuring.cost import Cost, Macs
from trainers.tasks.task import Shape, Task
from trainers.training.recipe import Recipe
from trainers.training.state import Network

ConfigT = TypeVar("ConfigT", bound=TrialConfig)


@dataclass(frozen=True)
class Parts:
    """What `fit` is handed: how, for what, which network, what it costs.

    Attributes:
        beside: what else of them is kept with every snapshot, texts by the names of files.
    """

    recipe: Recipe
    task: Task
    network: Network
    macs: Macs
    beside: Mapping[str, str] = field(default_factory=dict)


class TrialKind(Protocol[ConfigT]):
    """Trials of one kind of config: images, texts.

    Attributes:
        config: the class of their configs.
        packages: that results may depend on, besides torch.
    """

    config: type[ConfigT]
    packages: tuple[str, ...]

    @property
    def task(self) -> type[Any]:
        """The class of their tasks, a `Task`, from which a study's own is derived.

        Its metrics are measured of every target, whichever data they are trained on.
        """

    def resolve(self, given: Mapping[str, Any]) -> ConfigT:
        """The explicit config of what a study says.

        Shorthands (a method's name, optimizer steps for a budget) are spelled out, what comes from the data set or the
        machine is made explicit, and what has no effect goes back to its default. A resolved config resolves to itself.

        Raises:
            ConfigError: a name, value or combination that cannot be used.
        """

    def checksum(self, config: ConfigT, folder: Path | None) -> str:
        """Identifies all that is read from outside, data and pretrained weights.

        Raises:
            DataError: it is the content of files in `folder`, which are not there.
        """

    def fetch(self, config: ConfigT, folder: Path | None) -> None:
        """Makes sure that all of it is there and as it should be.

        Raises:
            DataError: it could not be had.
        """

    def updates_per_epoch(self, config: ConfigT) -> float | None:
        """Optimizer steps that see the training data once; None if nobody knows."""

    def test_examples(self, config: ConfigT) -> int:
        """How many examples are tested on, about."""

    def shape(self, config: ConfigT) -> Shape:
        """Of the example whose multiply-accumulates stand for a sub-model's cost."""

    def macs(self, config: ConfigT) -> Macs:
        """Counts the sub-models of a config's network."""

    def costs(self, config: ConfigT) -> dict[str, Cost]:
        """Multiply-accumulates of an example of `shape` and parameters of every target, by its label."""

    def assemble(self, config: ConfigT, seed: int, folder: Path | None, device: torch.device) -> Parts:
        """The parts of a trial at its start, on the device.

        Args:
            config: resolved.
            seed: decides init, data order, augmentation and sampled sub-models; arms with the same seed are paired.
            folder: where data lie, if not in the user's cache.
            device: where to train.

        Raises:
            DataError: data or weights could not be had.
        """

    def rehearse(self, config: ConfigT, device: torch.device) -> Parts:
        """Parts that take as long, of data and weights that only look like the config's: nothing is fetched."""

    def export(self, config: ConfigT, weights: Path, label: str, folder: Path) -> None:
        """Writes the target `label` of a trial's weights into `folder`, to be used on its own.

        Raises:
            ConfigError: no target of that label.
            DataError: other weights.
        """
