"""A study: what is compared. Base settings × factors × seeds, laid out in a design."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError, unknown


@dataclass(frozen=True)
class Factor:
    """One thing that is varied: level names, each with the settings it stands for."""

    name: str
    levels: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, setting: str, levels: Sequence[str]) -> "Factor":
        """A factor whose levels are values of one setting of the same name."""
        return cls(setting, {level: {setting: level} for level in levels})


@dataclass(frozen=True)
class Preset:
    """A scale at which to run a study: base settings, and the number of seeds unless the user says otherwise."""

    settings: Mapping[str, Any]
    seeds: int
    about: str


@dataclass(frozen=True)
class Arm:
    """One combination of levels, in the order of the study's factors, with its settings."""

    levels: tuple[tuple[str, str], ...]
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        """`SortedNet · instance`."""
        return " · ".join(level for _, level in self.levels)


@dataclass(frozen=True)
class Study:
    """What is compared, at which scales, and which published numbers stand beside ours.

    Attributes:
        name: of the MLflow experiment and the report's folder.
        title: of the report.
        presets: by name; the first is the default.
        factors: laid out in a full factorial design.
        published: a CSV with a column per factor, `sub_model` (`avg.` for the printed average), `accuracy` in per
            cent, and `source` (`printed` or `derived`); or None.
        published_for: settings, resolved, that a result must have to stand beside the published ones.
        published_caption: where the numbers are from and what is known to be wrong with them.
    """

    name: str
    title: str
    presets: Mapping[str, Preset]
    factors: tuple[Factor, ...]
    published: Path | None = None
    published_caption: str = ""
    published_for: Mapping[str, Any] = field(default_factory=dict)

    def arms(self, base: Mapping[str, Any], only: Iterable[tuple[str, str]] = ()) -> list[Arm]:
        """Every arm, or those that `only` keeps: levels of one factor add up, factors narrow each other down.

        Raises:
            UserError: a factor or level that does not exist, or a base setting that a factor varies anyway.
        """
        kept: dict[str, set[str]] = {}
        by_name = {factor.name: factor for factor in self.factors}
        for name, level in only:
            if name not in by_name:
                raise unknown("factor", name, by_name)
            if level not in by_name[name].levels:
                raise unknown(f"level of {name}", level, by_name[name].levels)
            kept.setdefault(name, set()).add(level)
        choices = [
            [(factor.name, level) for level in factor.levels if level in kept.get(factor.name, factor.levels)]
            for factor in self.factors
        ]
        arms = []
        for combination in product(*choices):
            patch: dict[str, Any] = {}
            for name, level in combination:
                patch |= by_name[name].levels[level]
            if overlap := sorted(patch.keys() & base.keys()):
                raise UserError(f"{overlap[0]} is varied by this study and cannot be set: use --only to choose levels")
            arms.append(Arm(combination, {**base, **patch}))
        return arms
