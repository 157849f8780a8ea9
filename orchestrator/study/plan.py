"""A plan: every trial of a study with its identity; and what of it is still missing.

Run = plan − finished. Restarting, extending by seeds or levels, and running failures again are then one mechanism.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.errors import UserError
from orchestrator.study.identity import fingerprint
from orchestrator.study.study import Arm, Layout, Study
from orchestrator.trainer import SubModelCost, Trainer


@dataclass(frozen=True)
class Trial:
    """One arm with one seed. `key` identifies it by content."""

    arm: Arm
    seed: int
    config: Mapping[str, Any]
    key: str

    @property
    def label(self) -> str:
        """`SortedNet · instance · seed 0`."""
        return f"{self.arm.label} · seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """The trials of a study at one base config. `base_key` identifies the base config by content."""

    study: Study
    layout: Layout
    preset: str
    base: Mapping[str, Any]
    base_key: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]
    data_checksum: str
    costs: tuple[SubModelCost, ...]

    def compared(self, levels: Mapping[str, str]) -> str:
        """An arm's name within its table: its levels of the factors that vary there."""
        return " · ".join(levels[name] for name in self._varied or [self.study.factors[0].name])

    @cached_property
    def _varied(self) -> list[str]:
        seen: dict[str, set[str]] = {}
        for arm in self.arms:
            for name, level in arm.levels:
                seen.setdefault(name, set()).add(level)
        return [name for name, levels in seen.items() if len(levels) > 1 and name not in self.study.facets]

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
) -> Plan:
    """Resolves every arm and identifies every trial. Touches neither storage nor network.

    Seeds come outermost, so that a study cut short has whole sets of paired arms.

    Raises:
        UserError: a setting, factor or level that cannot be used; two arms that are the same experiment.
    """
    base = {**trainer.full_names(study.presets[preset].settings), **trainer.full_names(overrides)}
    layout = layout or Layout(baseline=study.baseline)
    arms = study.arms(base, layout, trainer.full_names)
    configs = [trainer.resolve(arm.settings) for arm in arms]
    checksum = trainer.data_checksum(configs[0])
    seen: dict[str, Arm] = {}
    trials = []
    for seed in seeds:
        for arm, config in zip(arms, configs, strict=True):
            key = fingerprint(trainer=trainer.name, config=trainer.identity(config), data=checksum, seed=seed)
            if key in seen:
                raise UserError(
                    f"{arm.label} and {seen[key].label} resolve to the same experiment: leave one out with --only"
                )
            seen[key] = arm
            trials.append(Trial(arm, seed, config, key))
    # Equal for every arm by construction; precision is resolved here, so bf16 and fp32 never share a parent.
    base_key = fingerprint(
        trainer=trainer.name, study=study.name, base=base, data=checksum, precision=configs[0].get("precision")
    )
    return Plan(
        study,
        layout,
        preset,
        base,
        base_key,
        tuple(arms),
        tuple(seeds),
        tuple(trials),
        checksum,
        tuple(trainer.costs(configs[0])),
    )
