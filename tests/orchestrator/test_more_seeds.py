"""What would separate the arms: the report's numbers, priced by the plan."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from orchestrator.commands.command_line import run
from orchestrator.report.more_seeds import MoreSeeds, in_words, more_seeds
from orchestrator.report.reading import read_results
from orchestrator.report.results import Results
from orchestrator.report.tables import AVERAGE, make_table
from orchestrator.study.plan import Plan, make_plan
from orchestrator.study.study import Factor, Preset, Study
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import Tracker
from studies.image_trainer import ImageTrainer
from tests.orchestrator.test_recording_and_report import finish

RATES = {f"rate {number}": {"learning_rate": number / 100} for number in range(1, 13)}
SECONDS = dict.fromkeys(RATES, 10.0)


def study(arms: int, baseline: bool = True) -> Study:
    levels = dict(list(RATES.items())[:arms])
    return Study(
        name="rates",
        title="Rates",
        presets={"tiny": Preset({"dataset": "digits", "widths": [0.5, 1.0], "updates": 4}, 3, "")},
        factors=(Factor("rate", levels),),
        baseline={"rate": "rate 1"} if baseline else {},
    )


def extended(seeds: Sequence[int], arms: int = 2) -> Plan:
    return make_plan(study(arms), ImageTrainer(), "tiny", {}, seeds)


def results(accuracies: dict[str, Sequence[float]], seeds: Sequence[int], baseline: str | None = "rate 1") -> Results:
    """Of one sub-model, by arm and seed."""
    rows = [
        {
            "facet": "", "arm": arm, "seed": seed, "sub_model": "w100", "width": 1.0, "macs": 1.0, "parameters": 1.0,
            "test_acc": value, "updates": 1.0, "seconds": 1.0,
            **{f"total_{unit}": 1.0 for unit in ("updates", "passes", "macs")},
        }
        for arm, values in accuracies.items()
        for seed, value in zip(seeds, values, strict=True)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    against = {} if baseline is None else {arm: baseline for arm in accuracies if arm != baseline}
    return Results(
        frame,
        frame,
        ("",),
        tuple(accuracies),
        ("w100",),
        ("width",),
        against,
        (),
        (),
        0,
        None,
        {},
        ImageTrainer.declaration,
    )


NEAR = {"rate 1": (40.0, 41.0, 42.0), "rate 2": (41.0, 42.5, 42.8)}


def test_the_number_is_the_reports_and_the_price_that_of_the_plan_it_asks_for() -> None:
    found = results(NEAR, (0, 1, 2))
    (each,) = more_seeds(found, extended, set(), SECONDS, 2)
    assert each.seeds == make_table(found, {}, "").comparisons[AVERAGE, "rate 2"].seeds
    assert each.seeds is not None
    assert each.option == f"--seeds {each.seeds}"
    assert (each.trials, each.seconds) == (2 * each.seeds, 2 * each.seeds * 10.0 / 2)  # none counts as finished here
    done = {trial.key for trial in extended((0, 1, 2)).trials} | {extended((3,)).trials[0].key}
    (cheaper,) = more_seeds(found, extended, done, SECONDS, 1)
    assert cheaper.trials == 2 * (each.seeds - 3) - 1
    assert cheaper.line == (
        f"rate 2 from rate 1: ≈ {each.seeds} seeds ({each.seeds - 3} more per arm, {cheaper.trials} trials, about "
        f"{10 * cheaper.trials} s): --seeds {each.seeds}"
    )


def test_seeds_that_are_not_the_first_are_kept_and_listed() -> None:
    (each,) = more_seeds(results(NEAR, (1, 7, 9)), extended, set(), SECONDS, 1)
    assert each.seeds is not None
    asked = [int(seed) for seed in each.option.removeprefix("--seeds ").split(",")]
    fresh = [seed for seed in range(20) if seed not in (1, 7, 9)][: each.seeds - 3]
    assert asked == sorted([1, 7, 9, *fresh])


def test_without_a_baseline_the_highest_is_compared_with_the_others() -> None:
    found = results(NEAR, (0, 1, 2), baseline=None)
    (each,) = more_seeds(found, extended, set(), SECONDS, 1)
    assert (each.arm, each.against) == ("rate 2", "rate 1")


def test_separated_arms_equal_differences_and_tiny_ones_have_no_price() -> None:
    apart = results({"rate 1": (40.0, 41.0, 42.0), "rate 2": (50.0, 51.01, 52.0)}, (0, 1, 2))
    assert more_seeds(apart, extended, set(), SECONDS, 1) == []
    assert "separate every arm" in in_words([], apart)[0]
    equal = results({"rate 1": (40.0, 41.0, 42.0), "rate 2": (41.0, 42.0, 43.0)}, (0, 1, 2))
    (each,) = more_seeds(equal, extended, set(), SECONDS, 1)
    assert (each.seeds, each.option, each.trials) == (None, "", 0)
    assert in_words([each], equal)[1].endswith("rate 2 from rate 1: no spread is known or the means print alike")
    tiny = results({"rate 1": (40.0, 41.0, 42.0), "rate 2": (41.0, 40.0, 42.05)}, (0, 1, 2))
    assert in_words(more_seeds(tiny, extended, set(), SECONDS, 1), tiny)[1].endswith("more than 1,000 seeds")


def test_one_seed_and_one_arm_are_said_so_or_nothing() -> None:
    one = results({"rate 1": (40.0,), "rate 2": (41.0,)}, (0,))
    found = more_seeds(one, extended, set(), SECONDS, 1)
    assert in_words(found, one) == [
        "One finished seed shows no spread, so nothing says yet how many would separate the arms: --seeds 3."
    ]
    assert in_words([], results({"rate 1": (40.0, 41.0)}, (0, 1))) == []


def test_many_arms_are_a_few_lines_and_the_farthest_is_among_them() -> None:
    draws = np.random.default_rng(0)
    base = draws.normal(50, 1, 3)
    accuracies = {"rate 1": tuple(base)} | {
        f"rate {number}": tuple(base + number / 20 + draws.normal(0, 1, 3)) for number in range(2, 13)
    }
    many = results(accuracies, (0, 1, 2))
    found = more_seeds(many, lambda seeds: extended(seeds, 12), set(), SECONDS, 1)
    numbers = [each.seeds for each in found if each.seeds is not None]
    assert len(found) > 8
    assert numbers == sorted(numbers)
    assert all(each.trials == 12 * (each.seeds or 0) for each in found)  # each at the price of its own number
    lines = in_words(found, many)
    assert len(lines) <= 1 + 5 + 1 + 2
    assert any(f"≈ {numbers[-1]:,} seeds" in line for line in lines)


def planned(storage: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    line = ["plan", "--json", "--storage", str(storage), "--max-concurrent", "1", *arguments]
    assert run(study(2), ImageTrainer(), line) == 0
    shown = json.loads(capsys.readouterr().out)
    assert isinstance(shown, dict)
    return shown


def test_plan_prices_what_the_tracker_knows_and_its_option_asks_for_as_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    plan = extended((0, 1, 2))
    recorder = Recorder(tracker, plan, {})
    trials = {(trial.arm.label, trial.seed): trial for trial in plan.trials}
    finish(recorder, trials["rate 1", 0], 40.0, tmp_path / "end")
    finish(recorder, trials["rate 2", 1], 42.5, tmp_path / "end")
    unknown = planned(tmp_path, capsys)
    assert unknown["to_separate"] == []
    assert "no seed is common" in unknown["to_separate_unknown"]
    for (arm, seed), trial in trials.items():
        finish(recorder, trial, NEAR[arm][seed], tmp_path / "end")
    shown = planned(tmp_path, capsys)
    (each,) = shown["to_separate"]
    found = MoreSeeds(**each)
    table = make_table(read_results(tracker, recorder.experiment, plan), {}, "")
    assert found.seeds == table.comparisons[AVERAGE, "rate 2"].seeds
    assert found.seeds is not None
    assert found.trials == 2 * (found.seeds - 3)
    each_takes = {arm["arm"]: arm["seconds_per_trial"] for arm in shown["arms"]}
    assert found.seconds == pytest.approx((found.seeds - 3) * sum(each_takes.values()))
    asked = planned(tmp_path, capsys, *found.option.split())
    assert len(asked["trials"]) - asked["finished"] == found.trials
    assert run(study(2), ImageTrainer(), ["plan", "--storage", str(tmp_path)]) == 0
    assert f"rate 2 from rate 1: ≈ {found.seeds} seeds ({found.seeds - 3} more per arm" in capsys.readouterr().out
