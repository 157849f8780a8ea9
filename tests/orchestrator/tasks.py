"""A study over three tasks that trains nothing, and a database that says what it would have measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.noop import NoopTrainer
from orchestrator.declaration import Declaration
from orchestrator.report.reading import read_results
from orchestrator.report.results import Results
from orchestrator.study.plan import Plan, make_plan
from orchestrator.study.study import Factor, Layout, Preset, Study
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import Tracker
from orchestrator.trainer import SubModelCost, TrialBudget

HEADINGS = {"qqp": "QQP (F1)", "rte": "RTE"}
PER_EPOCH = {"qqp": 100.0, "rte": 20.0, "cola": 40.5}
Score = Mapping[str, float]
"""By sub-model."""


class TaskTrainer(NoopTrainer):
    """Sub-models of 12 and 24 layers, unless a task has others; `length` makes its examples longer."""

    def __init__(self, higher_is_better: bool = True) -> None:
        primary = replace(NoopTrainer.declaration.primary, higher_is_better=higher_is_better)
        self.declaration: Declaration = replace(NoopTrainer.declaration, metrics=(primary,))

    def budget(self, config: Mapping[str, Any]) -> TrialBudget:
        return TrialBudget("updates", 60, "60 optimizer steps", PER_EPOCH.get(config["task"], 0.0))

    def data_checksum(self, config: Mapping[str, Any], data: Path | None) -> str:
        return f"of {config['task']}"

    def costs(self, config: Mapping[str, Any]) -> list[SubModelCost]:
        macs = 10**6 * config["length"]
        return [SubModelCost(f"d{depth}", {"depth": depth}, depth * macs, depth) for depth in config["depths"]]


@dataclass
class Tasks:
    """A study with tasks as columns, its database, and a way to say what a trial measured."""

    folder: Path
    trainer: TaskTrainer = field(default_factory=TaskTrainer)
    seeds: Sequence[int] = (0, 1, 2)
    methods: Sequence[str] = ("apart", "sorted")
    tasks: Sequence[str] = tuple(PER_EPOCH)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    layout: Layout | None = None
    study_has: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        usual = {"length": 1, "depths": [12, 24]}
        levels = {task: {"task": task, **usual, **self.settings.get(task, {})} for task in self.tasks}
        headings = {task: heading for task, heading in HEADINGS.items() if task in levels}
        factors = (Factor.of("method", self.methods), Factor("task", levels, headings=headings))
        has = {"factors": factors, "baseline": {"method": self.methods[0]}, "across": "task", **self.study_has}
        study = Study(name="toy", title="Tasks", presets={"tiny": Preset({"seconds": 0}, 3, "")}, **has)
        self.plan: Plan = make_plan(study, self.trainer, "tiny", {}, self.seeds, self.layout)
        self.tracker = Tracker(f"sqlite:///{self.folder / 'mlflow.db'}", self.folder / "artifacts")
        self.recorder = Recorder(self.tracker, self.plan, {})

    def finish(
        self, label: str, seed: int, scores: Score, updates: Score | None = None, diverged_after: int = 0
    ) -> None:
        """Ends the trial of the arm `label`; every sub-model has 60 updates unless `updates` says otherwise.

        Args:
            diverged_after: of its 60 updates; 0: it has not.
        """
        (trial,) = (trial for trial in self.plan.trials if (trial.arm.label, trial.seed) == (label, seed))
        metrics = {f"test_acc/{name}": float(score) for name, score in scores.items()}
        metrics |= {f"updates/{name}": count for name, count in (updates or dict.fromkeys(scores, 60.0)).items()}
        metrics |= {f"ledger/{total.name}": 1.0 for total in self.trainer.declaration.totals}
        step, outcome = diverged_after or 60, "diverged" if diverged_after else "finished"
        self.recorder.start(trial, "CPU")
        points = [
            {"step": at, "time": 1_700_000_000_000, "metrics": metrics | {"ledger/updates": float(at)}}
            for at in sorted({1, step})
        ]
        self.recorder.finish(trial, outcome, 1.0, points, self.folder)

    def diverge(self, label: str, seed: int, after: int = 20) -> None:
        """Ends the trial of the arm `label` with a loss that is no number, and accuracies that look like results."""
        self.finish(label, seed, {"d12": 99.0, "d24": 99.5}, diverged_after=after)

    def finish_all(self, scores: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        """Ends trials by the arm's label, with `d12` and `d24` of every seed."""
        for label, by_seed in scores.items():
            for seed, (small, large) in zip(self.seeds, by_seed, strict=False):
                self.finish(label, seed, {"d12": small, "d24": large})

    @property
    def results(self) -> Results:
        """As the report reads them back."""
        return read_results(self.tracker, self.recorder.experiment, self.plan)
