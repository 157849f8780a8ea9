"""What the engine relies on, held against any trainer: subclass `TrainerContract` in a test file of your own.

::

    class TestMyTrainer(TrainerContract):
        @pytest.fixture
        def trainer(self) -> Trainer:
            return MyTrainer()

        @pytest.fixture
        def settings(self) -> dict[str, Any]:
            return {"steps": 8}  # a trial of seconds, with several evaluations

        @pytest.fixture
        def bad_settings(self) -> list[dict[str, Any]]:
            return [{"steps": -1}]
"""

import json
import math
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.declaration import LEDGER
from orchestrator.errors import UserError
from orchestrator.study.identity import canonical, fingerprint
from orchestrator.trainer import Place, Snapshot, Trainer

Config = dict[str, Any]
Metrics = dict[str, float]


class TrainerContract:
    """One test per promise of `orchestrator.trainer.Trainer`."""

    @pytest.fixture
    def trainer(self) -> Trainer:
        """The trainer to be held to the contract."""
        raise NotImplementedError("override the fixture `trainer`")

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        """What a study says of a trial that takes seconds and is evaluated several times."""
        raise NotImplementedError("override the fixture `settings`")

    @pytest.fixture
    def bad_settings(self) -> list[dict[str, Any]]:
        """Settings that cannot be used, one mistake each; each replaces or adds to `settings`."""
        raise NotImplementedError("override the fixture `bad_settings`")

    @pytest.fixture
    def place(self) -> Place:
        """Where trials run."""
        return Place(threads=1, gpu=False, data=None)

    @pytest.fixture
    def config(self, trainer: Trainer, settings: Mapping[str, Any], place: Place) -> Config:
        """The resolved settings, their data ready."""
        resolved = trainer.resolve(settings)
        trainer.prepare(resolved, place)
        return resolved

    def test_resolving_gives_the_same_json_every_time_and_json_gives_it_back(
        self, trainer: Trainer, settings: dict[str, Any]
    ) -> None:
        before = json.dumps(settings, sort_keys=True)
        resolved = trainer.resolve(settings)
        assert json.dumps(settings, sort_keys=True) == before, "the settings were changed"
        again = trainer.resolve(json.loads(before))
        assert canonical(resolved) == canonical(again) == canonical(json.loads(json.dumps(resolved)))

    def test_a_config_read_back_from_json_says_the_same_of_a_trial(
        self, trainer: Trainer, config: Config, place: Place
    ) -> None:
        stored = json.loads(json.dumps(config))
        for ask in (trainer.costs, trainer.outlook, trainer.budget):
            assert ask(stored) == ask(config)
        assert trainer.data_checksum(stored, place.data) == trainer.data_checksum(config, place.data)
        assert trainer.describe([stored]) == trainer.describe([config])

    def test_every_setting_goes_by_the_names_that_are_said_of_it(self, trainer: Trainer) -> None:
        for setting in trainer.settings():
            assert setting.takes
            assert setting.about
            for name in (setting.name, setting.short):
                assert trainer.full_names({name: None}) == {setting.name: None}

    def test_a_trial_is_identified_by_the_same_key_every_time(
        self, trainer: Trainer, settings: dict[str, Any], place: Place
    ) -> None:
        def key(trainer: Trainer) -> str:
            config = trainer.resolve(settings)
            return fingerprint(
                trainer=trainer.name, config=config, data=trainer.data_checksum(config, place.data), seed=0
            )

        assert trainer.name
        assert key(trainer) == key(trainer) == key(pickle.loads(pickle.dumps(trainer)))  # as workers get it

    def test_sub_models_come_smallest_first_each_with_a_label_of_its_own(
        self, trainer: Trainer, config: Config
    ) -> None:
        costs = trainer.costs(config)
        labels = [cost.label for cost in costs]
        assert labels
        assert len(set(labels)) == len(labels)
        assert not [label for label in labels if not label or "/" in label]
        assert len({tuple(sorted(cost.dimensions)) for cost in costs}) == 1, "sub-models differ in their dimensions"
        for cost in costs:
            assert costs[0].macs <= cost.macs <= costs[-1].macs
            assert costs[0].parameters <= cost.parameters <= costs[-1].parameters
            for name, kept in cost.dimensions.items():
                assert costs[0].dimensions[name] <= kept <= costs[-1].dimensions[name]

    def test_budget_and_expected_totals_are_there_before_training(self, trainer: Trainer, config: Config) -> None:
        budget, outlook = trainer.budget(config), trainer.outlook(config)
        assert budget.amount > 0
        assert budget.unit
        assert budget.words
        assert outlook.weight > 0
        assert outlook.totals.keys() <= {total.name for total in trainer.declaration.totals}
        assert all(amount > 0 for amount in outlook.totals.values())
        assert all(isinstance(text, str) for text in trainer.describe([config, config]))

    def test_metrics_are_those_declared_and_every_one_is_a_number(
        self, trainer: Trainer, config: Config, place: Place
    ) -> None:
        labels = [cost.label for cost in trainer.costs(config)]
        declaration, interim = trainer.declaration, list(trainer.declaration.interim(config))
        assert interim == [label for label in labels if label in interim]
        assert not interim or (interim[-1] == labels[-1] and declaration.primary.interim)
        evaluated = [(each.metrics, each.final) for each in trainer.fit(config, 0, place, None) if each.metrics]
        assert evaluated
        for metrics, last in evaluated:
            expected = declaration.expected(labels, interim, last)
            assert expected <= metrics.keys(), f"declared and not reported: {sorted(expected - metrics.keys())}"
            undeclared = metrics.keys() - expected - declaration.possible(interim, last)
            assert not undeclared, f"reported and not declared: {sorted(undeclared)}"
            assert all(isinstance(value, int | float) and math.isfinite(value) for value in metrics.values())
            json.dumps(metrics)

    def test_training_goes_forward_and_its_last_snapshot_alone_is_final_and_evaluated(
        self, trainer: Trainer, config: Config, place: Place
    ) -> None:
        walked = [(s.step, s.progress, s.final, bool(s.metrics)) for s in trainer.fit(config, 0, place, None)]
        steps, progress, final, evaluated = zip(*walked, strict=True)
        assert list(steps) == sorted(set(steps))
        assert list(progress) == sorted(progress)
        assert progress[-1] == 1
        assert progress[0] >= 0
        assert [*final] == [False] * (len(final) - 1) + [True]
        assert evaluated[-1]

    def test_a_trial_spends_its_budget_and_less_than_a_step_more(
        self, trainer: Trainer, config: Config, place: Place
    ) -> None:
        budget = trainer.budget(config)
        assert budget.unit in {total.name for total in trainer.declaration.totals}, "the budget's unit is no total"
        *_, last = trainer.fit(config, 0, place, None)
        spent = last.metrics[f"{LEDGER}/{budget.unit}"]
        assert budget.amount <= spent < budget.amount + spent / last.step + 1

    def test_a_trial_run_twice_ends_alike_and_another_seed_ends_otherwise(
        self, trainer: Trainer, config: Config, place: Place
    ) -> None:
        first = evaluations(trainer.fit(config, 0, place, None))
        assert evaluations(trainer.fit(config, 0, place, None)) == first
        assert evaluations(trainer.fit(config, 1, place, None)) != first

    def test_resumed_from_any_snapshot_a_trial_ends_with_the_same_metrics(
        self, trainer: Trainer, config: Config, place: Place, tmp_path: Path
    ) -> None:
        whole: dict[int, Metrics] = {}
        saved: list[tuple[int, Path]] = []
        for snapshot in trainer.fit(config, 0, place, None):
            folder = tmp_path / str(snapshot.step)
            folder.mkdir()
            snapshot.save(folder)
            saved.append((snapshot.step, folder))
            whole |= {snapshot.step: snapshot.metrics} if snapshot.metrics else {}
        for step, folder in saved:
            left = evaluations(trainer.fit(config, 0, place, folder))
            assert left == {at: metrics for at, metrics in whole.items() if at > step}, f"resumed from step {step}"

    def test_the_artifacts_declared_are_written(
        self, trainer: Trainer, config: Config, place: Place, tmp_path: Path
    ) -> None:
        *_, last = trainer.fit(config, 0, place, None)
        last.save(tmp_path)
        missing = set(trainer.declaration.artifacts) - {path.name for path in tmp_path.iterdir()}
        assert not missing, f"declared and not written: {sorted(missing)}"

    def test_every_sub_model_can_be_taken_out_of_the_weights(
        self, trainer: Trainer, config: Config, place: Place, tmp_path: Path
    ) -> None:
        weights = trainer.declaration.weights
        if not weights:
            pytest.skip("it declares no weights")
        *_, last = trainer.fit(config, 0, place, None)
        (tmp_path / "end").mkdir()
        last.save(tmp_path / "end")
        for cost in trainer.costs(config):
            trainer.export(config, tmp_path / "end" / weights, cost.label, tmp_path / cost.label)
            assert list((tmp_path / cost.label).iterdir())

    def test_settings_that_cannot_be_used_are_one_line_for_the_user(
        self, trainer: Trainer, settings: dict[str, Any], bad_settings: list[dict[str, Any]]
    ) -> None:
        assert bad_settings
        for bad in [*bad_settings, {"no such setting": 1}]:
            with pytest.raises(UserError) as refused:
                trainer.resolve({**settings, **bad})
            assert str(refused.value)
            assert "\n" not in str(refused.value)

    def test_it_says_what_it_runs_on_and_by_which_versions(self, trainer: Trainer, place: Place) -> None:
        assert trainer.device_name(place)
        assert all(isinstance(name, str) and isinstance(text, str) for name, text in trainer.versions().items())


def evaluations(snapshots: Iterator[Snapshot]) -> dict[int, Metrics]:
    """The metrics of a trial by the step at which they were measured."""
    return {snapshot.step: dict(snapshot.metrics) for snapshot in snapshots if snapshot.metrics}
