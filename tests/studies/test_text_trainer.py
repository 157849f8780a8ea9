"""The binding of trials of texts to the orchestrator."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UserError
from orchestrator.testing.trainer_contract import TrainerContract
from orchestrator.trainer import Place, Trainer
from studies.text_trainer import TextTrainer
from tests.trainers.test_text_trials import TINY

HERE = Place(1, gpu=False, data=None)


class TestTextTrainer(TrainerContract):
    @pytest.fixture
    def trainer(self) -> Trainer:
        return TextTrainer()

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {**TINY, "updates": 3, "evaluations": 2, "batch_size": 4}

    @pytest.fixture
    def bad_settings(self) -> list[dict[str, Any]]:
        return [{"updates": 0}, {"depth": [1, 3]}, {"dataset": "sst"}, {"network": "no such folder"}]


@pytest.mark.parametrize("left_out", [{"interim_examples": 20}, {"interim_sub_models": 1}])
def test_where_evaluations_leave_something_out_it_reports_and_resumes_as_it_declares(
    left_out: dict[str, int], tmp_path: Path
) -> None:
    suite, trainer = TrainerContract(), TextTrainer()
    config = trainer.resolve(
        {**TINY, "updates": 3, "evaluations": 2, "batch_size": 4, "evaluates_start": True, **left_out}
    )
    assert trainer.declaration.interim(config)
    suite.test_metrics_are_those_declared_and_every_one_is_a_number(trainer, config, HERE)
    suite.test_resumed_from_any_snapshot_a_trial_ends_with_the_same_metrics(trainer, config, HERE, tmp_path)


def test_before_anything_is_fetched_a_trial_can_be_reckoned() -> None:
    trainer = TextTrainer()
    config = trainer.resolve({"dimensions": {"depth": [3, 6]}, "epochs": 3})
    assert [cost.label for cost in trainer.costs(config)] == ["d03", "d06"]
    assert trainer.outlook(config).totals["updates"] == pytest.approx(3 * (7_495 // 32))
    assert trainer.describe([config])[0] == "minilm on rotten-tomatoes"
    assert len(trainer.data_checksum(config, None).split()) == 2


def test_what_it_cannot_find_is_a_line_for_the_user(tmp_path: Path) -> None:
    trainer = TextTrainer()
    config = trainer.resolve({**TINY, "dataset": "cola"})
    for ask in (
        lambda: trainer.data_checksum(config, tmp_path),
        lambda: trainer.prepare(config, Place(1, False, tmp_path)),
    ):
        with pytest.raises(UserError, match="--data") as refused:
            ask()
        assert "\n" not in str(refused.value)


def test_it_names_the_versions_of_all_it_computes_with() -> None:
    assert {"torch", "transformers", "tokenizers", "triton", "cuda"} <= TextTrainer().versions().keys()
