"""Adding seeds until arms are separated: the error over all looks, the seeds saved, and a study that does it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.noop import NoopTrainer, Nothing
from orchestrator.commands.command_line import run
from orchestrator.errors import UserError
from orchestrator.report.power import seeds_needed
from orchestrator.report.sequential import Looks, judge, sequential_p
from orchestrator.report.statistics import LEVEL, paired
from orchestrator.study.study import Factor, Preset, Study
from orchestrator.track.tracker import Tracker
from orchestrator.trainer import Place

MOST = 20
LOOKS = Looks.over(range(MOST))
STUDIES, ARMS = 2_000, 3


def differences(rng: np.random.Generator, effects: tuple[float, ...]) -> dict[tuple[str, str, str], list[float]]:
    """Of arms to one baseline, so that they depend on each other; the SD of each is 1."""
    noise = rng.normal(size=(len(effects) + 1, MOST)) / np.sqrt(2)
    return {
        ("", f"arm {place}", "baseline"): list(effect + noise[place] - noise[-1])
        for place, effect in enumerate(effects)
    }


def test_looks_are_fixed_beforehand_and_share_the_level_out() -> None:
    assert LOOKS.counts == (3, 4, 5, 6, 8, 10, 12, 15, 20)
    assert sum(map(LOOKS.share, LOOKS.counts)) == pytest.approx(1)
    assert Looks.over(range(3)).counts == (3,)
    assert Looks.read(LOOKS.as_dict()) == LOOKS
    with pytest.raises(UserError, match="needs room for 3 seeds at least, not 2"):
        Looks.over((0, 1))


def test_of_studies_in_which_nothing_differs_at_most_one_in_twenty_finds_anything_at_any_look() -> None:
    rng = np.random.default_rng(0)
    false = peeked = 0
    for _ in range(STUDIES):
        found = differences(rng, (0.0,) * ARMS)
        false += any(verdict.separated for verdict in judge(found, LOOKS))
        (first, *_) = found.values()
        peeked += any((paired(first[:count]).p or 1) < LEVEL for count in LOOKS.counts)
    print(f"{false} of {STUDIES} null studies separate something; {peeked} by looking at the usual p of one comparison")
    assert false / STUDIES <= LEVEL
    assert peeked / STUDIES > 2 * LEVEL  # so the bound is not one that anything would keep


@pytest.mark.parametrize("noise", ["of heavy tails", "in steps of the metric", "skewed in every arm alike"])
def test_the_bound_holds_for_differences_that_are_symmetric_but_not_normal(noise: str) -> None:
    """Of skewed ones it does not: `docs/statistics.md` says how far off it is then."""
    rng, studies, arms = np.random.default_rng(3), 500, 3
    draws = {
        "of heavy tails": lambda shape: rng.standard_t(3, shape),
        "in steps of the metric": lambda shape: np.round(rng.normal(0, 0.02, shape), 2),
        "skewed in every arm alike": lambda shape: rng.exponential(1, shape),
    }
    drawn = draws[noise]((studies, arms, MOST))
    found = [{("", str(arm), "0"): list(each[arm] - each[0]) for arm in range(1, arms)} for each in drawn]
    false = sum(any(verdict.separated for verdict in judge(differences, LOOKS)) for differences in found)
    assert false / studies <= LEVEL


@pytest.mark.parametrize(("effect", "saved"), [(1.5, 0.2), (3.0, 0.5)])
def test_plain_differences_take_fewer_seeds_than_a_number_fixed_beforehand(effect: float, saved: float) -> None:
    rng = np.random.default_rng(1)
    taken, found, studies = 0, 0, 200
    for _ in range(studies):
        drawn = differences(rng, (effect,) * ARMS)
        for count in LOOKS.counts:
            verdicts = judge({pair: values[:count] for pair, values in drawn.items()}, LOOKS)
            if all(verdict.separated for verdict in verdicts):
                break
        taken += count
        found += all(verdict.separated for verdict in verdicts)
    fixed = seeds_needed(effect, LEVEL / ARMS)
    print(
        f"d = {effect}: {taken / studies:.1f} seeds of {MOST} on average, {found} of {studies} decided; fixed {fixed}"
    )
    assert found / studies >= 0.95
    assert taken / studies <= (1 - saved) * MOST


def test_what_is_separated_stays_separated() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        (values,) = differences(rng, (rng.uniform(0, 3),)).values()
        p_values = [sequential_p(values[:count], LOOKS) for count in range(1, MOST + 1)]
        assert p_values == sorted(p_values, reverse=True)
        assert p_values[:2] == [1.0, 1.0]


def test_differences_without_a_spread_and_what_is_no_number_decide_nothing() -> None:
    assert sequential_p([1.0] * MOST, LOOKS) == 1.0
    assert sequential_p([float("nan"), *np.linspace(10, 11, MOST - 1)], LOOKS) == 1.0


def test_what_a_seed_that_diverged_had_shown_separates_nothing_and_takes_nothing_from_others() -> None:
    """The second is separated at the level that the first leaves it, and would not be at half of that."""
    steady = [9.0, 9.1, 9.2, 9.05, 9.15]
    other = [1.0, 2.8, 0.7, 1.2, 2.2]
    pairs = {("", "a", "base"): steady, ("", "b", "base"): other}
    looks = Looks.over(range(5))
    before = judge(pairs, looks)
    assert [verdict.separated for verdict in before] == [True, True]
    assert before[1].p * 2 > LEVEL
    first, second = judge({**pairs, ("", "a", "base"): [*steady[:4], float("nan")]}, looks)
    assert (first.separated, first.decided) == (False, True)
    assert second.separated
    assert "not compared, since a seed diverged" in first.line(Drawn.declaration.primary)


def test_a_verdict_is_of_the_last_look_whatever_was_trained_since() -> None:
    (verdict,) = judge({("", "a", "base"): [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 70.0]}, LOOKS)
    assert (verdict.seeds, verdict.difference) == (6, 3.5)
    (verdict,) = judge({("", "a", "base"): [1.0, 2.0]}, LOOKS)
    assert (verdict.seeds, verdict.difference, verdict.p) == (2, 1.5, 1.0)


FAILING: list[str] = []  # whatever is in it makes trials fail that can


class Drawn(NoopTrainer):
    """Says at once what it would have measured: the arm's mean, and noise by the seed."""

    def fit(self, config: Mapping[str, Any], seed: int, place: Place, resume_from: Path | None) -> Iterator[Nothing]:
        *_, last = super().fit(config, seed, place, resume_from)
        if seed == config.get("fails") and FAILING:
            raise RuntimeError("no such luck")
        noise = np.random.default_rng([seed, config["index"]]).normal()
        metrics = {**last.metrics, "test_acc/w100": 50.0 + config["ahead"] + float(noise)}
        yield replace(last, metrics=metrics, diverged=seed == config.get("diverges"))


STUDY = Study(
    name="adaptive",
    title="Arms that differ, and one that does not",
    presets={"all": Preset({"seconds": 0.0, "budget": {"unit": "updates", "amount": 1}}, 1, "")},
    factors=(
        Factor(
            "arm",
            {
                "baseline": {"index": 0, "ahead": 0.0},
                "better": {"index": 1, "ahead": 9.0},
                "alike": {"index": 2, "ahead": 0.0},
                "unstable": {"index": 3, "ahead": 0.0, "diverges": 1},
                "unlucky": {"index": 4, "ahead": 9.0, "fails": 1},
            },
            usual=("baseline", "better", "alike"),
        ),
    ),
    baseline={"arm": "baseline"},
)


def finished(storage: Path) -> set[tuple[str, int]]:
    tracker = Tracker(f"sqlite:///{storage / 'mlflow.db'}", None)
    experiment = tracker.experiment(STUDY.name, create=False)
    assert experiment is not None
    runs = tracker.client.search_runs([experiment], "tags.`study.role` = 'trial' and attribute.status = 'FINISHED'")
    return {(run.data.tags["arm"], int(run.data.tags["seed"])) for run in runs}


def study(storage: Path, *arguments: str) -> int:
    return run(STUDY, Drawn, ["run", "--debug", "--until-separated", "--storage", str(storage), *arguments])


def test_a_study_trains_seeds_until_its_arms_are_separated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(tmp_path, "--only", "arm=baseline,arm=better") == 0
    said = capsys.readouterr().out
    seeds = {seed for _, seed in finished(tmp_path)}
    assert seeds == set(range(max(seeds) + 1))
    assert 3 <= len(seeds) < MOST / 2
    assert "1 of 1 comparison is separated:" in said
    assert "better − baseline: +" in said
    assert said.splitlines()[-1].startswith(f"After {len(seeds)} seeds better and baseline are separated: better is ")
    (report,) = tmp_path.glob("reports/adaptive/all,arm=baseline,arm=better/table.md")
    assert "Seeds were added until every comparison was decided, 20 at most" in report.read_text()
    assert "Decided by adding seeds" in report.with_name("index.html").read_text()

    assert study(tmp_path, "--only", "arm=baseline,arm=better") == 0  # again: nothing is left to do
    assert {seed for _, seed in finished(tmp_path)} == seeds
    assert "finished already" in capsys.readouterr().out

    assert study(tmp_path, "--only", "arm=baseline,arm=better", "--seeds", "12") == 2
    assert "was begun with looks after 3, 4, 5, 6, 8, 10, 12, 15 and 20 seeds" in capsys.readouterr().err


def test_what_does_not_differ_takes_all_seeds_and_stays_undecided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(tmp_path, "--seeds", "5") == 0
    assert finished(tmp_path) == {(arm, seed) for arm in ("baseline", "better", "alike") for seed in range(5)}
    said = capsys.readouterr().out
    assert "After 5 seeds 1 of 2 comparisons is separated:" in said
    assert "alike − baseline: " in said
    assert "not separated" in said
    assert study(tmp_path, "--seeds", "2") == 2
    assert "needs room for 3 seeds at least" in capsys.readouterr().err


def test_an_arm_of_which_a_seed_diverged_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(tmp_path, "--only", "arm=baseline,arm=better,arm=unstable") == 0
    assert len({seed for _, seed in finished(tmp_path)}) < MOST / 2
    said = capsys.readouterr().out
    assert "unstable − baseline: not compared, since a seed diverged" in said
    assert "better − baseline: +" in said


def test_a_trial_that_failed_ends_the_look_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds beside the one that failed are no look: once that is trained, there would be one look more."""
    only = ("--only", "arm=baseline,arm=unlucky")
    monkeypatch.setattr(f"{__name__}.FAILING", ["it"])
    assert study(tmp_path, *only) == 1
    said = capsys.readouterr().out
    assert "The look after 3 seeds lacks 1 trial that failed: run the same command again" in said
    assert said.splitlines()[-1] == "So far: After 1 seed unlucky and baseline are not separated."
    assert finished(tmp_path) == {("baseline", 0), ("baseline", 1), ("baseline", 2), ("unlucky", 0), ("unlucky", 2)}
    monkeypatch.setattr(f"{__name__}.FAILING", [])
    assert study(tmp_path, *only) == 0
    assert "1 of 1 comparison is separated:" in capsys.readouterr().out


def test_seeds_that_were_there_before_are_looked_at_in_their_order_and_it_is_said_that_they_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = ("--only", "arm=baseline,arm=better")
    by_hand = ["run", "--debug", "--storage", str(tmp_path), *only, "--seeds", "2"]
    assert run(STUDY, Drawn, by_hand) == 0
    assert study(tmp_path, *only) == 0
    (report,) = tmp_path.glob("reports/adaptive/all,arm=baseline,arm=better")
    assert "Of these seeds 2 had results when the looks were fixed" in (report / "table.md").read_text()
    assert study(tmp_path, *only) == 0  # again: what was there before has not grown
    assert "Of these seeds 2 had results when the looks were fixed" in (report / "table.md").read_text()
    capsys.readouterr()
    for command in (["compare", "arm=baseline", "arm=better"], ["plan", *only]):
        assert run(STUDY, Drawn, [*command, "--storage", str(tmp_path)]) == 0
        assert "was not fixed beforehand but found by a sequential test" in " ".join(capsys.readouterr().out.split())
    assert "was not fixed beforehand" in (report / "table.tex").read_text()
