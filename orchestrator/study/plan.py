"""A plan: every trial of a study with its identity; and what of it is still missing.

Run = plan − finished. Restarting, extending by seeds or levels, and running failures again are then one mechanism.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.declaration import Declaration
from orchestrator.errors import UserError
from orchestrator.study.identity import fingerprint
from orchestrator.study.levels import SEPARATOR
from orchestrator.study.study import Arm, Layout, Study
from orchestrator.trainer import SubModelCost, Trainer, TrialBudget


@dataclass(frozen=True)
class Trial:
    """One arm with one seed.

    Attributes:
        config: resolved.
        key: identifies it by content.
        data_checksum: identifies the data that it is trained on.
        sub_models: its targets with their costs, smallest first.
        budget: what ends it.
        code: what the study's own file defines of it, by what it is: a digest of each.
        interim: labels of the sub-models that evaluations before the last are of, where these leave something out.
    """

    arm: Arm
    seed: int
    config: Mapping[str, Any]
    key: str
    data_checksum: str
    sub_models: tuple[SubModelCost, ...]
    budget: TrialBudget
    code: Mapping[str, str] = field(default_factory=dict)
    interim: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`SortedNet · instance · seed 0`."""
        return f"{self.arm.label} · seed {self.seed}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Of its sub-models."""
        return tuple(cost.label for cost in self.sub_models)


@dataclass(frozen=True)
class Plan:
    """The trials of a study at one base config. `base_key` identifies the base config by content.

    Attributes:
        declaration: of the trainer.
        described: by facet, what its trials have in common, as `Trainer.describe` says it.
        changed: settings of the base that are not the preset's, by their full names.
    """

    study: Study
    layout: Layout
    preset: str
    base: Mapping[str, Any]
    base_key: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]
    declaration: Declaration
    described: Mapping[str, tuple[str, ...]]
    changed: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def first_trials(self) -> dict[str, Trial]:
        """A trial of every arm by the arm's label; but for the seed all of an arm's trials are alike."""
        found: dict[str, Trial] = {}
        for trial in self.trials:
            found.setdefault(trial.arm.label, trial)
        return found

    @property
    def data_checksums(self) -> tuple[str, ...]:
        """Every distinct data set's, in the order of the arms."""
        return tuple(dict.fromkeys(trial.data_checksum for trial in self.first_trials.values()))

    @property
    def sub_models(self) -> list[tuple[tuple[SubModelCost, ...], list[str]]]:
        """Every distinct list of sub-models with the labels of the arms that have it, in the order of the arms."""
        found: list[tuple[tuple[SubModelCost, ...], list[str]]] = []
        for label, trial in self.first_trials.items():
            same = next((labels for known, labels in found if known == trial.sub_models), None)
            if same is None:
                found.append((trial.sub_models, [label]))
            else:
                same.append(label)
        return found

    def compared(self, levels: Mapping[str, str]) -> str:
        """An arm's name within its table, the same in every task: its levels of the factors that vary there."""
        return SEPARATOR.join(levels[name] for name in self.compared_factors)

    @cached_property
    def compared_factors(self) -> tuple[str, ...]:
        """The factors that vary within a table; the first one where none does."""
        seen: dict[str, set[str]] = {}
        for arm in self.arms:
            for name, level in arm.levels:
                seen.setdefault(name, set()).add(level)
        varied = [name for name, levels in seen.items() if len(levels) > 1 and name not in self.study.splits]
        first = next(factor.name for factor in self.study.factors if factor.name != self.study.across)
        return tuple(varied or [first])

    def of_seeds(self, count: int) -> "Plan":
        """The part of it that has its first seeds, so many."""
        seeds = self.seeds[:count]
        return replace(self, seeds=seeds, trials=tuple(trial for trial in self.trials if trial.seed in seeds))

    def missing(self, finished: Iterable[str]) -> list[Trial]:
        """The trials whose keys are not among the finished."""
        done = set(finished)
        return [trial for trial in self.trials if trial.key not in done]


def make_plan(
    study: Study,
    trainer: Trainer,
    preset: str,
    overrides: Mapping[str, Any],
    seeds: Sequence[int],
    layout: Layout | None = None,
    data: Path | None = None,
) -> Plan:
    """Resolves every arm and identifies every trial. Touches neither storage nor network.

    Args:
        data: the folder in which data lie that are known by their content alone.

    Seeds come outermost, so that a study cut short has whole sets of paired arms.

    Raises:
        UserError: a setting, factor or level that cannot be used; two arms that are the same experiment; arms of one
            table that have no sub-model in common.
    """
    of_preset = trainer.full_names(study.presets[preset].settings)
    base = {**of_preset, **trainer.full_names(overrides)}
    layout = layout or Layout(baseline=study.baseline)
    arms = study.arms(base, layout, trainer.full_names)
    configs = [trainer.resolve(arm.settings) for arm in arms]
    checksums = [trainer.data_checksum(config, data) for config in configs]
    codes = [trainer.code(config) for config in configs]
    sub_models = _shared([tuple(trainer.costs(config)) for config in configs])
    interims = [tuple(trainer.declaration.interim(config)) for config in configs]
    _refuse_nothing_in_common(study, arms, sub_models)
    seen: dict[str, Arm] = {}
    trials = []
    for seed in seeds:
        alike = zip(arms, configs, checksums, sub_models, codes, interims, strict=True)
        for arm, config, checksum, targets, code, interim in alike:
            own = {"code": code} if code else {}  # without any a trial is known as it was before there could be
            key = _fingerprint(
                arm.label, trainer=trainer.name, config=trainer.identity(config), data=checksum, seed=seed, **own
            )
            if key in seen:
                raise UserError(
                    f"{arm.label} and {seen[key].label} resolve to the same experiment: leave one out with --only"
                )
            seen[key] = arm
            budget = trainer.budget(config)
            trials.append(Trial(arm, seed, config, key, checksum, targets, budget, code, interim))
    base_key = _fingerprint(
        preset,
        trainer=trainer.name,
        study=study.name,
        base=base,
        **_of_the_base(study, trainer, arms[0], data),
    )
    of_facet: dict[str, list[Mapping[str, Any]]] = {}
    for arm, config in zip(arms, configs, strict=True):
        of_facet.setdefault(study.facet(dict(arm.levels)), []).append(config)
    return Plan(
        study,
        layout,
        preset,
        base,
        base_key,
        tuple(arms),
        tuple(seeds),
        tuple(trials),
        trainer.declaration,
        {facet: trainer.describe(inside) for facet, inside in of_facet.items()},
        {name: value for name, value in base.items() if name not in of_preset or of_preset[name] != value},
    )


def _fingerprint(of: str, **content: Any) -> str:
    """Of what a study says; `of` names it to whoever gave it a value that has no canonical form."""
    try:
        return fingerprint(**content)
    except TypeError as error:
        raise UserError(f"{of}: {error}") from error


def elapsed(seconds: Iterable[float], side_by_side: int) -> float:
    """How long trials of these seconds take, so many at once, each begun in its turn as soon as there is room."""
    each_takes = list(seconds)
    ends = [0.0] * max(1, min(side_by_side, len(each_takes)))
    for each in each_takes:
        heapq.heappush(ends, heapq.heappop(ends) + each)
    return max(ends)


def _of_the_base(study: Study, trainer: Trainer, arm: Arm, data: Path | None) -> dict[str, Any]:
    """What of the data and of the resolved precision is the base config's own: None where a factor's levels vary it.

    Precision is resolved here, so bf16 and fp32 never share a parent. Every level of a factor is looked at, whichever
    levels are asked for: with more or fewer of them the parent is the same one. Data of a level that nobody has asked
    for need not be there; they are other data than those that are.
    """

    def checksum(config: Mapping[str, Any]) -> str | None:
        with suppress(UserError):
            return trainer.data_checksum(config, data)
        return None

    found = [
        {"data": checksum(config), "precision": config.get("precision")} for config in _neighbours(study, trainer, arm)
    ]
    return {name: value if all(each[name] == value for each in found) else None for name, value in found[0].items()}


def _neighbours(study: Study, trainer: Trainer, arm: Arm) -> Iterator[dict[str, Any]]:
    """The resolved config of an arm, then those of all that differ from it in one factor, as far as they can be."""
    yield trainer.resolve(arm.settings)
    chosen = dict(arm.levels)
    named = {f.name: {level: trainer.full_names(patch) for level, patch in f.levels.items()} for f in study.factors}
    varied = {setting for name, level in chosen.items() for setting in named[name][level]}
    base = {name: value for name, value in arm.settings.items() if name not in varied}
    for factor in study.factors:
        for level in factor.levels.keys() - {chosen[factor.name]}:
            levels = chosen | {factor.name: level}
            patches = [named[name][level] for name, level in levels.items()]
            with suppress(UserError):  # a combination that cannot be, which nobody has asked for
                yield trainer.resolve({**base, **{name: patch[name] for patch in patches for name in patch}})


def _shared(found: Sequence[tuple[SubModelCost, ...]]) -> list[tuple[SubModelCost, ...]]:
    """The same lists, equal ones as one object: a study may have thousands of arms and one network."""
    distinct: list[tuple[SubModelCost, ...]] = []
    for costs in found:
        if costs not in distinct:
            distinct.append(costs)
    return [distinct[distinct.index(costs)] for costs in found]


def _refuse_nothing_in_common(
    study: Study, arms: Sequence[Arm], sub_models: Sequence[tuple[SubModelCost, ...]]
) -> None:
    common: dict[str, set[str]] = {}
    for arm, costs in zip(arms, sub_models, strict=True):
        facet, labels = study.facet(dict(arm.levels)), {cost.label for cost in costs}
        common[facet] = common.get(facet, labels) & labels
        if not common[facet]:
            raise UserError(
                f"{arm.label} has no sub-model in common with the arms before it, so they cannot stand in one table: "
                "leave some out with --only, or make what tells them apart one of the study's facets"
            )
