"""Two arms seed by seed: the numbers are those that were planted, and what cannot be compared is said."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.commands.command_line import run
from orchestrator.report.statistics import paired
from tests.orchestrator.planted import METHODS, NORMS, STUDY, Planted, accuracy

SEEDS = range(4)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    assert run(STUDY, Planted, ["--debug", "--storage", str(folder)]) == 0
    return folder


def compared(storage: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(STUDY, Planted, ["compare", *arguments, "--json", "--storage", str(storage)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_two_arms_differ_by_what_their_seeds_differ_by(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(storage, capsys, "method=NS,norm=batch", "method=SortedNet,norm=batch")
    assert [row["sub_model"] for row in found["rows"]] == ["w100", "w050", "avg."]
    assert found["seeds"] == list(SEEDS)
    for row, label in zip(found["rows"], ("w100", "w050"), strict=False):
        differences = [accuracy("SortedNet", "batch", label, s) - accuracy("NS", "batch", label, s) for s in SEEDS]
        expected = paired(differences)
        assert row["difference"] == pytest.approx(expected.mean)
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
        assert row["effect"] == pytest.approx(expected.effect)
        assert row["p"] == pytest.approx(expected.p)
        assert row["adjusted_p"] >= row["p"]
        assert row["separated"]
    average = found["rows"][-1]
    assert average["difference"] == pytest.approx(np.mean([row["difference"] for row in found["rows"][:-1]]))


def test_a_level_over_all_else_has_a_row_for_every_pair_and_one_for_all(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compared(storage, capsys, "norm=instance", "norm=batch")
    assert list(dict.fromkeys(row["where"] for row in found["rows"])) == [*METHODS, "over all of these"]
    of_all = found["rows"][-1]
    averages = [row for row in found["rows"][:-1] if row["sub_model"] == "avg."]
    assert of_all["b"] == pytest.approx(list(np.mean([row["b"] for row in averages], axis=0)))
    assert of_all["difference"] == pytest.approx(NORMS["batch"], abs=0.6)
    turned = compared(storage, capsys, "norm=batch", "norm=instance")
    assert turned["rows"][-1]["difference"] == pytest.approx(-of_all["difference"])


def test_in_words_it_says_who_is_better_or_how_many_seeds_would_tell(
    storage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    near = ["compare", "method=NS,norm=batch", "method=LCS,norm=batch", "--storage", str(storage)]
    assert run(STUDY, Planted, near) == 0
    shown = capsys.readouterr().out
    assert "A is NS · batch, B is LCS · batch. Seeds: 0, 1, 2, 3." in shown
    assert "not separated; ≈ " in shown or "separated, adjusted p" in shown
    far = ["compare", "method=SortedNet,norm=batch", "method=NS,norm=batch", "--storage", str(storage)]
    assert run(STUDY, Planted, far) == 0
    shown = capsys.readouterr().out
    assert "On avg. NS · batch came out " in shown
    assert "percentage points worse than SortedNet · batch (n = 4): separated, adjusted p" in shown
    assert "Holm's correction over the 3 rows shown here and no other comparison" in shown
    table = [line for line in shown.splitlines() if line.lstrip().startswith(("w100", "A "))]
    assert max(map(len, table)) <= 80


WRONG = {
    "one side": (["method=NS", "norm=batch"], "only one side says which method"),
    "the same": (["method=NS", "method=NS"], "give two that differ"),
    "twice": (["method=NS,method=LCS", "method=NS"], "give one level of a factor"),
    "level": (["method=ns", "method=LCS"], "did you mean 'NS'?"),
    "B": (["method=NS"], "Missing argument 'B'"),
    "preset": (["method=NS", "method=LCS", "--preset", "large"], "nothing has finished yet"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_compared_is_one_line(case: str, storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, why = WRONG[case]
    assert run(STUDY, Planted, ["compare", *arguments, "--storage", str(storage)]) == 2
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1


def test_levels_that_the_study_keeps_apart_are_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    apart = replace(STUDY, facets=("norm",))
    assert run(apart, Planted, ["compare", "norm=instance", "norm=batch"]) == 2
    assert "levels of norm do not compare in this study" in capsys.readouterr().err


def test_an_arm_that_diverged_or_has_not_finished_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["--set", 'diverges=["LCS",1]', "--storage", str(tmp_path)]
    assert run(STUDY, Planted, ["--debug", "--only", "norm=batch,method=NS,method=LCS", *here]) == 0
    for other, why in (("LCS", "diverged with seed 1, so it has no mean"), ("SortedNet", "has not finished yet")):
        assert run(STUDY, Planted, ["compare", "method=NS,norm=batch", f"method={other},norm=batch", *here]) == 2
        assert why in capsys.readouterr().err


def test_one_seed_says_nothing_of_a_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["--preset", "large", "--storage", str(tmp_path)]
    assert run(STUDY, Planted, ["--debug", "--only", "norm=batch", *here]) == 0
    assert run(STUDY, Planted, ["compare", "method=NS,norm=batch", "method=SortedNet,norm=batch", *here]) == 0
    assert "one seed, so nothing is known of the spread" in capsys.readouterr().out


def test_tables_that_do_not_compare_with_each_other_are_not_averaged(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apart = replace(STUDY, facets=("norm",))
    assert run(apart, Planted, ["compare", "method=NS", "method=SortedNet", "--storage", str(storage)]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("On avg.")]
    assert [line.partition(")")[0] for line in said] == ["On avg. (instance", "On avg. (batch"]
