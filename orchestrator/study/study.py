"""A study: what is compared. Base settings × factors × seeds, laid out in a design."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator.errors import UserError, unknown
from orchestrator.study.levels import SEPARATOR, level_name, names_of, refuse_unreadable

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_FACTOR_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")  # a setting's full name is one
Design = Literal["factorial", "one-factor-at-a-time", "leave-one-out"]
DESIGNS: tuple[Design, ...] = get_args(Design)
Names = Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Factor:
    """One thing that is varied: level names, each with the settings it stands for.

    Attributes:
        usual: the levels that a study has unless others are asked for by `--only`; None: all.
        without: the level that leaves the thing out, for leave-one-out.
        headings: what a level is called at the head of a column, `QQP (F1)`; by its name where nothing is said.
        repeated: names that several levels were given, of which `levels` holds one; refused once the study is used.

    Raises:
        ValueError: a heading of no level.
    """

    name: str
    levels: Mapping[str, Mapping[str, Any]]
    usual: tuple[str, ...] | None = None
    without: str | None = None
    headings: Mapping[str, str] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses headings that would never be seen."""
        if strange := sorted(self.headings.keys() - self.levels.keys()):
            raise ValueError(f"{self.name} has a heading for {strange[0]!r}, which is none of its levels")

    @classmethod
    def of(cls, setting: str, levels: Sequence[Any], usual: Sequence[Any] | None = None) -> "Factor":
        """A factor whose levels are values of one setting of the same name, any that JSON has."""
        counts = Counter(map(level_name, levels))
        return cls(
            setting,
            {level_name(level): {setting: level} for level in levels},
            None if usual is None else tuple(map(level_name, usual)),
            repeated=tuple(name for name, count in counts.items() if count > 1),
        )

    def heading(self, level: str) -> str:
        """`QQP (F1)`."""
        return self.headings.get(level, level)


@dataclass(frozen=True)
class Preset:
    """A scale at which to run a study: base settings, and the number of seeds unless the user says otherwise.

    Attributes:
        only: levels, (factor, level) each, that it has of their factors unless the user names others; a level that is
            no text stands for its name.
    """

    settings: Mapping[str, Any]
    seeds: int
    about: str
    only: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Names the levels."""
        object.__setattr__(self, "only", tuple((factor, level_name(level)) for factor, level in self.only))


@dataclass(frozen=True)
class Arm:
    """One combination of levels, in the order of the study's factors, with its settings."""

    levels: tuple[tuple[str, str], ...]
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        """`SortedNet · instance`."""
        return SEPARATOR.join(level for _, level in self.levels)


@dataclass(frozen=True)
class Layout:
    """How a study's factors are combined, which levels of them, and what arms are compared with.

    Attributes:
        design: `factorial`, every combination; `one-factor-at-a-time`, the baseline and every arm that differs from it
            in one factor; `leave-one-out`, the baseline and every arm that lacks one thing of it.
        baseline: levels by factor. An arm is compared with the arm that has these levels and otherwise its own; the
            two other designs need a level for every factor.
        only: levels to keep, (factor, level) each: those of one factor add up, factors narrow each other down.
    """

    design: Design = "factorial"
    baseline: Mapping[str, str] = field(default_factory=dict)
    only: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Study:
    """What is compared, at which scales, and which published numbers stand beside ours.

    Attributes:
        name: of the MLflow experiment and the report's folder.
        title: of the report.
        presets: by name; the first is the default.
        factors: what is varied.
        baseline: see `Layout`; a level that is no text stands for its name.
        subject: levels by factor that the study is about: figures draw that of the first factor strongest.
        facets: factors that split the report into tables of their own, since their levels do not compare: budgets.
        curve: the facet that is an axis, over which the average accuracy is drawn.
        across: the factor whose levels are tasks: the report begins with one table that has them as columns and their
            average. They do not compare either, so it splits the tables below that one as a facet does.
        published: a CSV with a column per factor, `sub_model` (`avg.` for the printed average), `accuracy` in per
            cent, and `source` (`printed` or `derived`); or None. In the column of `across`, `avg.` is the printed
            average over tasks.
        published_for: resolved settings by their full names that a result must have to stand beside the published ones.
        published_caption: where the numbers are from and what is known to be wrong with them.
    """

    name: str
    title: str
    presets: Mapping[str, Preset]
    factors: tuple[Factor, ...]
    baseline: Mapping[str, Any] = field(default_factory=dict)
    subject: Mapping[str, Any] = field(default_factory=dict)
    facets: tuple[str, ...] = ()
    curve: str | None = None
    across: str | None = None
    published: Path | None = None
    published_caption: str = ""
    published_for: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses names that are not safe as folders and as MLflow's keys, and tasks that cannot be columns."""
        factors = [factor.name for factor in self.factors]
        for name, pattern in (
            *((name, _NAME) for name in (self.name, *self.presets)),
            *((name, _FACTOR_NAME) for name in factors),
        ):
            if not pattern.fullmatch(name):
                raise ValueError(f"a name is letters, digits, _ and -, not {name!r}")
        object.__setattr__(self, "baseline", names_of(self.baseline))
        object.__setattr__(self, "subject", names_of(self.subject))
        if self.across is not None and self.across not in factors:
            raise ValueError(f"across={self.across!r} is no factor of {self.name}: choose from {', '.join(factors)}")
        if factors == [self.across]:
            raise ValueError(f"{self.name} has no factor but {self.across!r}, so nothing names the rows: add another")

    def check(self, layout: Layout) -> None:
        """Refuses a layout that this study cannot have.

        Raises:
            UserError: an unknown design, factor or level; a design without the baseline that it needs; levels that
                could not be shown or told apart.
        """
        self._check_levels()
        if layout.design not in DESIGNS:
            raise unknown("design", layout.design, DESIGNS)
        of_presets = (each for preset in self.presets.values() for each in preset.only)
        for name, level in (*layout.only, *layout.baseline.items(), *self.subject.items(), *of_presets):
            self._factor(name, level)
        if layout.design == "factorial":
            return
        if missing := [factor.name for factor in self.factors if factor.name not in layout.baseline]:
            raise UserError(
                f"--design {layout.design} needs a baseline level of every factor: add --baseline {missing[0]}=LEVEL"
            )
        if layout.design == "leave-one-out":
            if kept := [factor.name for factor in self.factors if factor.without is None]:
                raise UserError(f"--design leave-one-out: {', '.join(kept)} of this study cannot be left out")
            for factor in self.factors:
                if layout.baseline[factor.name] == factor.without:
                    raise UserError(
                        f"--design leave-one-out: the baseline lacks {factor.name}={factor.without} already; choose "
                        "the level that has it"
                    )

    def _check_levels(self) -> None:
        if not self.factors:
            raise UserError(f"{self.name} varies nothing: give it a factor")
        for name, count in Counter(factor.name for factor in self.factors).items():
            if count > 1:
                raise UserError(f"{self.name} has two factors named {name}: name them apart")
        for factor in self.factors:
            if not factor.levels:
                raise UserError(f"{factor.name} has no levels: give it some")
            refuse_unreadable(factor.name, factor.levels, factor.repeated)
            refuse_unreadable(f"{factor.name}, by their headings", map(factor.heading, factor.levels))
            for level in (*(factor.usual or ()), *([] if factor.without is None else [factor.without])):
                self._factor(factor.name, level)

    def _factor(self, name: str, level: str) -> Factor:
        by_name = {factor.name: factor for factor in self.factors}
        if name not in by_name:
            raise unknown("factor", name, by_name)
        if level not in by_name[name].levels:
            raise unknown(f"level of {name}", level, by_name[name].levels)
        return by_name[name]

    def arms(self, base: Mapping[str, Any], layout: Layout, full_names: Names = dict) -> list[Arm]:
        """The arms of a layout, in the order of the factors' levels.

        Args:
            base: settings, by their full names.
            full_names: gives settings those; unless given, they have them.

        Raises:
            UserError: as `check`; a base setting that a factor varies anyway.
        """
        self.check(layout)
        kept: dict[str, set[str]] = {}
        for name, level in layout.only:
            kept.setdefault(name, set()).add(level)
        choices = [
            [level for level in factor.levels if level in kept.get(factor.name, factor.usual or factor.levels)]
            for factor in self.factors
        ]
        if layout.design != "factorial":
            start = tuple(layout.baseline[factor.name] for factor in self.factors)
            choices = [list(dict.fromkeys([level, *levels])) for level, levels in zip(start, choices, strict=True)]
        arms = []
        for combination in product(*choices):
            if layout.design != "factorial" and not self._one_step(combination, start, layout.design):
                continue
            patch: dict[str, Any] = {}
            for factor, level in zip(self.factors, combination, strict=True):
                patch |= full_names(factor.levels[level])
            if overlap := sorted(patch.keys() & base.keys()):
                raise UserError(f"{overlap[0]} is varied by this study and cannot be set: use --only to choose levels")
            names = (factor.name for factor in self.factors)
            arms.append(Arm(tuple(zip(names, combination, strict=True)), {**base, **patch}))
        return arms

    def _one_step(self, levels: tuple[str, ...], start: tuple[str, ...], design: Design) -> bool:
        changed = [(f, level) for f, level, usual in zip(self.factors, levels, start, strict=True) if level != usual]
        if design == "leave-one-out" and any(level != factor.without for factor, level in changed):
            return False
        return len(changed) <= 1

    @property
    def splits(self) -> tuple[str, ...]:
        """The factors whose levels stand in tables of their own: the facets, and the tasks."""
        return tuple(dict.fromkeys([*self.facets, *([] if self.across is None else [self.across])]))

    def facet(self, levels: Mapping[str, str]) -> str:
        """The name of the table that an arm belongs to; empty without facets and tasks."""
        return SEPARATOR.join(f"{name} {levels[name]}" for name in self.splits)

    def task_table(self, levels: Mapping[str, str]) -> str:
        """The name of the table across tasks that an arm belongs to; empty without further facets."""
        return SEPARATOR.join(f"{name} {levels[name]}" for name in self.splits if name != self.across)
