"""The contract suite on the trainers here; one that is better lower is put through a whole study."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from orchestrator.commands.command_line import run
from orchestrator.declaration import Declaration, Metric
from orchestrator.errors import UserError
from orchestrator.report.comparisons import compare
from orchestrator.report.figures import crossings
from orchestrator.report.selection import pareto, select
from orchestrator.testing.trainer_contract import TrainerContract
from orchestrator.trainer import Trainer
from tests.faults.chain import ChainTrainer
from tests.orchestrator.perplexity import METRIC, STUDY, PerplexityTrainer


class TestPerplexityTrainer(TrainerContract):
    @pytest.fixture
    def trainer(self) -> Trainer:
        return PerplexityTrainer()

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"steps": 6, "evaluations": 3}

    @pytest.fixture
    def bad_settings(self) -> list[dict[str, Any]]:
        return [{"steps": 0}, {"steps": "many"}]


class Drifting(PerplexityTrainer):
    """Reports what it has not declared, and declares a file that it does not write."""

    declaration = Declaration(
        metrics=(METRIC,), totals=PerplexityTrainer.declaration.totals, artifacts=("coefficients.json", "more.bin")
    )


def test_the_suite_sees_what_is_reported_and_not_declared_and_declared_and_not_written(tmp_path: Path) -> None:
    from orchestrator.trainer import Place

    suite, trainer, here = TrainerContract(), Drifting(), Place(1, gpu=False, data=None)
    config = trainer.resolve({"steps": 4})
    with pytest.raises(AssertionError, match=r"reported and not declared: \['noise'\]"):
        suite.test_metrics_are_those_declared_and_every_one_is_a_number(trainer, config, here)
    with pytest.raises(AssertionError, match=r"more\.bin"):
        suite.test_the_artifacts_declared_are_written(trainer, config, here, tmp_path)
    suite.test_resumed_from_any_snapshot_a_trial_ends_with_the_same_metrics(PerplexityTrainer(), config, here, tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"metrics": ()},
        {"metrics": (METRIC, METRIC)},
        {"metrics": (Metric("a", "a", primary=True, per_sub_model=False),)},
        {"metrics": (METRIC,), "weights": "w.bin"},
    ],
)
def test_a_declaration_without_its_one_primary_metric_or_with_weights_nobody_keeps_is_refused(
    wrong: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=r"primary|artifacts"):
        Declaration(**wrong)


def test_a_study_in_which_lower_is_better_comes_out_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--storage", str(tmp_path), "--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"]
    assert run(STUDY, PerplexityTrainer(), ["--debug", *arguments]) == 0
    shown = capsys.readouterr().out
    folder = tmp_path / "reports" / "perplexity" / "short"
    frame = pd.read_csv(folder / "results.csv")
    means = frame.groupby(["arm", "sub_model"])["ppl"].mean()
    assert (means["fast"] < means["slow"]).all()  # the fast one is the better one
    text = (folder / "table.md").read_text()
    lines = text.splitlines()
    row = next(line for line in lines if line.startswith("| p4 |"))
    assert row.split("|")[3].strip().startswith(f"**{means['fast', 'p4']:.3f} ± ")
    assert "**" not in row.split("|")[2]
    assert "polynomials on points, preset short: every arm gets 20 rounds. Final perplexity in nats." in text
    assert "Bold: the lowest mean per sub-model" in text
    assert "(slow) in nats, paired by seed; lower is better, so below zero is better than the baseline" in text
    difference = f"{means['fast', 'p4'] - means['slow', 'p4']:+.3f}".replace("-", "−")
    assert any(line.startswith(f"| p4 | {difference} [") for line in lines)
    assert next(line for line in lines if "sorted pairs" in line).count("100 % (0.000)") == 2
    assert "| all rounds | 20 | 20 |" in text
    assert not [word for word in ("accuracy", "per cent", "highest") if word in text]
    page = (folder / "index.html").read_text()
    body = page[page.index("<body") :]
    assert "Perplexity (nats)" in body
    assert "Perplexity over cost" in body
    assert "accuracy" not in body
    assert "abacus" in body  # the trainer's provenance
    assert "perplexity.py --debug --storage" in body  # the command line
    assert f"p4 {frame[frame['seed'] == 2].set_index(['arm', 'sub_model'])['ppl']['fast', 'p4']:.3f} nats" in shown

    assert run(STUDY, PerplexityTrainer(), ["status", *arguments]) == 0
    shown = capsys.readouterr().out
    assert "avg. perplexity" in shown
    assert f"{frame[(frame['arm'] == 'fast') & (frame['seed'] == 0)]['ppl'].mean():.3f}" in shown

    extract = ["extract", *arguments, "--only", "rate=fast", "--to", str(tmp_path / "out")]
    bound = float(frame[(frame["arm"] == "fast") & (frame["seed"] == 0) & (frame["sub_model"] == "p2")]["ppl"].iloc[0])
    assert run(STUDY, PerplexityTrainer(), [*extract, "--at-most", str(bound + 1e-9)]) == 0
    smallest = next(
        label
        for label in ("p1", "p2")
        if frame.set_index(["arm", "seed", "sub_model"])["ppl"]["fast", 0, label] <= bound + 1e-9
    )
    assert len(json.loads((tmp_path / "out" / "polynomial.json").read_text())) == int(smallest[1:]) + 1
    capsys.readouterr()
    for option in ("--at-least", "--min-accuracy"):
        assert run(STUDY, PerplexityTrainer(), [*extract, option, "1"]) == 2
        assert "of the perplexity lowest is best: give --at-most" in capsys.readouterr().err


def test_the_command_line_is_kept_without_the_secrets_in_it(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    secret = "hunter2-and-more"
    one = ["--debug", "--seeds", "1", "--only", "rate=fast", "--storage", str(tmp_path), "--data", f"/x?token={secret}"]
    assert run(STUDY, PerplexityTrainer(), one) == 0
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("perplexity")
    assert experiment is not None
    for kept in client.search_runs([experiment.experiment_id]):
        assert kept.data.tags["command"].startswith("perplexity.py --debug --seeds 1 --only rate=fast")
        assert secret not in str(kept.data.tags)
        assert kept.data.tags["version.abacus"] == "1.0"


SIZES = pd.DataFrame({"sub_model": ["s", "m", "l"], "macs": [1.0, 2.0, 3.0], "parameters": [1.0, 2.0, 3.0]})


def test_choosing_by_a_bound_and_the_pareto_set_go_the_metrics_way() -> None:
    low = SIZES.assign(ppl=[9.0, 5.0, 6.0])
    assert select(low, METRIC, reached=6.0)["sub_model"] == "m"
    assert select(low, METRIC, max_macs=2.0)["sub_model"] == "m"
    with pytest.raises(UserError, match=r"the lowest perplexity is 5\.000 nats"):
        select(low, METRIC, reached=1.0)
    assert list(pareto(low, METRIC)["sub_model"]) == ["s", "m"]
    high = Metric("ppl", "score", primary=True)
    assert list(pareto(low, high)["sub_model"]) == ["s"]


@pytest.mark.parametrize("seeds", [1, 2, 12])
def test_turning_every_value_round_turns_the_metric_and_changes_no_verdict(seeds: int) -> None:
    draws = np.random.default_rng(seeds)
    values = {
        "row": {arm: dict(enumerate(draws.normal(mean, 1, seeds))) for arm, mean in (("a", 0), ("b", 2), ("c", 2))}
    }
    turned = {
        row: {arm: {seed: -v for seed, v in by.items()} for arm, by in arms.items()} for row, arms in values.items()
    }
    high, low = compare(values, 3), compare(turned, 3, higher_is_better=False)
    assert (high.best, high.highest, high.adjusted) == (low.best, low.highest, low.adjusted)


def test_who_overtakes_whom_is_who_gets_better() -> None:
    rows: list[dict[str, Any]] = []
    series: dict[str, Sequence[float]] = {"a": (4.0, 3.0), "b": (5.0, 2.0)}
    for arm, means in series.items():
        rows += [
            {"panel": "", "arm": arm, "level": level, "mean": m} for level, m in zip(("1×", "2×"), means, strict=True)
        ]
    expected = "b overtakes a between 1× and 2× (1.000 nats behind, then 1.000 ahead)"
    assert crossings(pd.DataFrame(rows), METRIC) == [expected]


def test_the_chain_of_the_fault_tests_declares_what_it_reports() -> None:
    declared = ChainTrainer.declaration
    assert declared.primary.name == "test_acc"
    assert declared.counted == "updates"
