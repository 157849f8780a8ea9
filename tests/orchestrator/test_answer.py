"""The answer in words: what tables say, in a sentence or two, and never more than their bold shows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from orchestrator.commands.command_line import run
from orchestrator.declaration import Declaration, Metric
from orchestrator.numerals import interval
from orchestrator.report.answer import Answer, make_answer
from orchestrator.report.comparisons import p_text
from orchestrator.report.divergence import Divergence
from orchestrator.report.escaping import paragraph_for_markdown
from orchestrator.report.ranking import Ranking
from orchestrator.report.results import Failure, Results
from orchestrator.report.sequential import Verdict
from orchestrator.report.tables import AVERAGE, Table, make_table
from orchestrator.report.writer import make_task_tables, write_report
from studies.image_trainer import ImageTrainer
from tests.orchestrator.tasks import Tasks

Values = Mapping[str, Sequence[float]]
"""By arm, a value per seed."""


def results(
    *facets: tuple[str, Values], baseline: str | None = None, widths: Sequence[float] = (0.5, 1.0), **has: Any
) -> Results:
    """Of two sub-models, 5 below and above the values given."""
    rows = [
        {
            "facet": facet, "arm": arm, "seed": seed, "sub_model": f"w{100 * width:03.0f}", "width": width,
            "macs": width, "parameters": width, "test_acc": value + (0 if len(widths) == 1 else 20 * width - 15),
            "updates": 1.0, "seconds": 1.0, **{f"total_{unit}": 1.0 for unit in ("updates", "passes", "macs")},
        }
        for facet, values in facets
        for arm, by_seed in values.items()
        for seed, value in enumerate(by_seed)
        for width in widths
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    arms = tuple(dict.fromkeys(arm for _, values in facets for arm in values))
    against = {} if baseline is None else {arm: baseline for arm in arms if arm != baseline}
    labels = tuple(f"w{100 * width:03.0f}" for width in widths)
    titles, declared = tuple(facet for facet, _ in facets), ImageTrainer.declaration
    made = Results(frame, frame, titles, arms, labels, ("width",), against, (), (), 0, None, {}, declared)
    return replace(made, **has)


def tables(found: Results) -> list[Table]:
    return [make_table(found.of(facet), {}, "") for facet in found.facets]


def answer(found: Results, axis: str | None = None, verdicts: Sequence[Verdict] = ()) -> Answer:
    return make_answer(found, tables(found), (), axis, verdicts)


APART = {"NS": (40.0, 41.0, 42.0), "SortedNet": (50.0, 51.1, 52.3)}


def test_who_leads_whom_by_how_much_over_what_and_how_surely() -> None:
    found = results(("", APART))
    (table,) = tables(found)
    against = table.family.between(AVERAGE, "SortedNet", "NS")
    low, high = against.statistics.low, against.statistics.high
    assert against.separated
    assert low is not None
    assert high is not None
    assert answer(found).headline == (
        f"SortedNet leads: 51.13 % average test accuracy over 2 sub-models, 10.13 points ahead of NS "
        f"(unadjusted 95 % interval {interval(low, high, 2)}, adjusted p {p_text(against.adjusted_p)}, 3 seeds)."
    )


def test_where_lower_is_better_the_lowest_leads_and_its_interval_is_above_zero() -> None:
    metric = Metric("test_acc", "perplexity", "", higher_is_better=False, primary=True)
    found = results(("", APART), declaration=Declaration((metric,)))
    said = answer(found).headline
    assert said.startswith(
        "NS leads: 41.00 average perplexity over 2 sub-models, 10.13 ahead of SortedNet (unadjusted 95 %"
    )
    assert "interval +" in said
    near = results(("", {"a": (1.0, 2.0), "b": (2.0, 1.5), "c": (1.5, 4.0)}), declaration=Declaration((metric,)))
    assert "a has the lowest average perplexity over 2 sub-models, 1.50, c the highest, 2.75." in answer(near).headline


NEAR = {"NS": (40.0, 41.0, 42.0), "SortedNet": (41.0, 42.5, 42.8)}


def test_what_is_not_separated_is_said_not_to_be_with_the_tables_number_of_seeds_and_what_trains_them() -> None:
    found = results(("", NEAR))
    (table,) = tables(found)
    seeds = table.family.between(AVERAGE, "SortedNet", "NS").seeds
    said = answer(found)
    assert "leads" not in said.headline
    assert said.headline.startswith(
        "SortedNet and NS are not separated at 3 seeds: SortedNet has the highest average test accuracy over 2 "
        "sub-models, 42.10 %; NS is 1.10 points behind (unadjusted 95 % interval "
    )
    assert said.headline.endswith(
        f"By a rough estimate {seeds} seeds would separate NS from SortedNet with 80 % power."
    )
    assert any(f"The same command with --seeds {seeds} trains" in line for line in said.details)


def test_of_several_that_nothing_separates_the_first_that_more_seeds_would_separate_is_named() -> None:
    found = results(("", {**NEAR, "LCS-p": (38.0, 41.0, 43.5)}))
    (table,) = tables(found)
    needed = {arm: table.family.between(AVERAGE, "SortedNet", arm).seeds or 0 for arm in ("NS", "LCS-p")}
    first = min(needed, key=needed.__getitem__)
    assert answer(found).headline.endswith(
        f"Nothing separates the 3 arms at 3 seeds: SortedNet has the highest average test accuracy over 2 sub-models, "
        f"42.10 %, LCS-p the lowest, 40.83 %. By a rough estimate {needed[first]:.0f} seeds would separate the "
        f"first of them, {first}, from SortedNet with 80 % power."
    )


def test_one_seed_is_an_order_of_means_and_the_option_that_adds_seeds() -> None:
    found = results(("", {"NS": (40.0,), "LCS-p": (45.0,), "SortedNet": (44.0,), "US": (12.0,)}), baseline="NS")
    said = answer(found)
    assert said.headline == (
        "One seed, so no spread is known and nothing is separated. Highest average test accuracy over 2 sub-models: "
        "LCS-p, 45.00 %; then SortedNet, 44.00 %; lowest US, 12.00 %."
    )
    assert said.details[0] == "In order of their means (%): LCS-p 45.00, SortedNet 44.00, NS 40.00, US 12.00."
    assert said.details[1].startswith("Beside NS: LCS-p is 5.00 points better; SortedNet is 4.00 points better; US is")
    assert "p ." not in "".join(said.details)
    assert "The same command with --seeds 3 trains" in said.details[-1]
    alone = replace(found, frame=found.frame.assign(seed=7))
    assert "--seeds 0,1,7 trains" in answer(alone).details[-1]


def thirteen() -> Results:
    """The first leads; three are level with it, or nine are clearly behind."""
    draws = np.random.default_rng(3)
    base = draws.normal(0, 1, 6)
    means = {f"sampler({place})": 60.0 - (place > 3) * (5 + place) - place / 100 for place in range(13)}
    noise = {arm: draws.normal(0, 0.3, 6) for arm in means}
    return results(("", {arm: tuple(mean + base + noise[arm]) for arm, mean in means.items()}), baseline="sampler(1)")


def test_of_thirteen_the_first_and_those_level_with_it_are_named_and_the_rest_counted() -> None:
    found = thirteen()
    (table,) = tables(found)
    best, leader = table.family.best[AVERAGE], table.family.highest[AVERAGE]
    assert len(best) == 4
    said = answer(found)
    assert said.headline.startswith(f"{leader} has the highest average test accuracy over 2 sub-models, ")
    assert said.headline.endswith("The other 9 are separated from it.")
    assert all(arm in said.headline for arm in best)
    assert len(said.headline) < 400
    (behind,) = (line for line in said.details if line.startswith(f"Separated from {leader}: "))
    assert behind.count("sampler") == 1 + 9
    assert any(line.startswith("Separated from sampler(1), worse: ") for line in said.details)


def test_means_that_print_alike_are_level_however_sure_the_test_is() -> None:
    found = results(("", {"a": (40.001, 41.001, 42.001), "b": (40.0, 41.0, 42.0)}))
    assert answer(found).headline == (
        "a and b are not separated at 3 seeds: the average test accuracy over 2 sub-models of a and b prints alike, "
        "41.00 %."
    )


def test_of_means_that_print_alike_none_is_put_before_another() -> None:
    """Bold has all of them."""
    two = answer(results(("", {"a": (40.0,), "b": (40.0,), "c": (30.0,), "d": (20.0,), "e": (20.0,)}), baseline="a"))
    assert two.headline.endswith(": a and b, 40.00 % each; then c, 30.00 %; lowest d and e, 20.00 % each.")
    assert two.details[1].startswith("Beside a: b prints alike; c is 10.00 points worse;")
    assert two.details[2] == "Highest mean by sub-model: a and b alike at every one."
    every = answer(results(("", dict.fromkeys("abcd", (40.0,)))))
    assert every.headline.endswith("The average test accuracy over 2 sub-models of all 4 arms prints alike, 40.00 %.")
    near = {"a": (40.0, 41.0, 42.0), "b": (42.0, 41.0, 40.0), "c": (30.0, 31.5, 32.0)}
    some = answer(results(("", near), baseline="a"))
    assert "but is not separated from b at 3 seeds: the mean of b prints alike. c is separated" in some.headline
    assert some.details[1].startswith("Beside a: b prints alike; c is 9.83 points worse (unadjusted 95 % interval −")
    tables = answer(results(*((f"f {place}", {"a": (40.0,), "b": (40.0,)}) for place in range(3))))
    assert tables.headline.startswith("a and b alike have the highest average test accuracy over 2 sub-models in all 3")
    assert tables.details[0] == "f 0: a and b, 40.00 % each"


def test_a_table_in_which_one_arm_has_a_mean_says_nothing_of_who_is_ahead() -> None:
    lost = (Divergence("f 2", "NS", 1, ""),)
    said = answer(results(*((f"f {place}", APART) for place in (1, 2, 3)), diverged=lost))
    assert said.headline == (
        "SortedNet has the highest average test accuracy over 2 sub-models in both tables with several means (f 1 and "
        "f 3). Wherever several arms have a mean the first is separated from all others (3 seeds)."
    )
    alone = answer(results(("", APART), diverged=(Divergence("", "NS", 1, ""),)))
    assert not any("mean by sub-model" in line for line in alone.details)


def test_what_is_nearly_all_or_nearly_nothing_is_not_said_to_be() -> None:
    widths = tuple(step / 50 for step in range(1, 51))
    found = results(("", {"S": (60.0,)}), widths=widths)
    frame = found.frame.copy()
    frame.loc[frame["sub_model"] == "w100", "test_acc"] -= 0.5  # it is 20 · 0.02 = 0.4 above the one before
    found = replace(found, frame=frame)
    assert answer(found).details[1] == (
        "Of every two of which one is nested in the other the larger is at least as good in > 99 %; where it is not, "
        "it is 0.10 points short."
    )
    assert tables(found)[0].sorted["S"] == "> 99 % (0.10)"
    close = results(("", {"NS": (40.0046, 41.0048, 42.005), "S": (40.0056, 41.005, 42.0053)}))  # 41.00 and 41.01
    assert "NS is less than 0.01 points behind" in answer(close).headline


def test_zero_has_no_sign() -> None:
    near = results(("", {"a": (0.0, 1.0, 2.0), "b": (1.0, -0.002, 2.0), "c": (0.0, 1.1, 1.899)}), widths=(1.0,))
    table = tables(near)[0]
    said = [answer(near).headline, *answer(near).details, *(each.text for each in table.behind.values())]
    assert not re.search(r"[-−]0\.00\b", " ".join(said))
    assert table.metric.text(-0.001) == "0.00"


def test_a_diverged_arm_is_counted_and_compared_with_none() -> None:
    lost = (Divergence("", "NS", 1, "40 of 120 updates"),)
    found = results(("", {**APART, "US": (39.0, 40.5, 41.0)}), diverged=lost)
    said = answer(found)
    assert said.headline.startswith("SortedNet leads")
    assert "NS" not in said.headline
    assert "1 trial diverged, so NS has no mean." in said.details
    alone = answer(results(("", APART), diverged=lost))
    assert alone.headline == (
        "SortedNet: 51.13 % average test accuracy over 2 sub-models, 3 seeds, and nothing to compare it with. The "
        "other arms have no mean: NS (1/3 div.)."
    )
    none = answer(results(("", {"NS": (1.0,)}), diverged=(Divergence("", "NS", 0, ""),)))
    assert none.headline == "No arm has a mean, so nothing can be compared: NS (diverged)."


def test_what_is_missing_is_said_and_the_headline_is_so_far() -> None:
    found = results(("", APART), unfinished=2, failures=(Failure("NS · seed 3", "", ""),), unpaired=("NS · seed 4",))
    said = answer(found)
    assert said.headline.startswith("So far: SortedNet leads")
    assert said.details[-1] == (
        "Incomplete: 2 trials are not finished; 1 trial failed; left out, since another arm lacks the seed: NS · "
        "seed 4."
    )


def test_one_arm_is_told_by_its_largest_and_smallest_sub_model_and_how_they_are_sorted() -> None:
    widths = tuple(step / 8 for step in range(1, 9))
    found = results(("", {"SortedNet": (60.0,)}), widths=widths)
    frame = found.frame.copy()
    frame.loc[frame["sub_model"] == "w088", "test_acc"] = 70.0
    said = answer(replace(found, frame=frame))
    assert said.headline == (
        "SortedNet: 8 sub-models, 65.00 % test accuracy at the largest (w100), 47.50 % at the smallest (w012), 1 seed. "
        "The highest is w088, 70.00 %."
    )
    assert said.details[1] == (
        "Of every two of which one is nested in the other the larger is at least as good in 96 %; where it is not, it "
        "is 5.00 points short."
    )
    assert answer(results(("", {"a": (60.0,)}), widths=(1.0,))).headline == (
        "a: 60.00 % test accuracy, 1 seed, and nothing to compare it with."
    )


LEVELS = ("½×", "1×", "2×")


def over_budgets(*courses: Sequence[str]) -> Results:
    """One facet per budget and kind; `courses` names the arm that is ahead at every budget."""
    facets = [
        (f"budget {level} · equalize {kind}", {arm: (50.0 + (arm == ahead) * (place + 1),) for arm in ("NS", "US")})
        for kind, course in zip(("updates", "passes", "macs"), courses, strict=False)
        for place, (level, ahead) in enumerate(zip(LEVELS, course, strict=True))
    ]
    return results(*facets)


def test_over_budgets_it_is_told_who_overtakes_whom_and_each_budget_is_a_short_line() -> None:
    found = over_budgets(("NS", "US", "US"), ("US",) * 3, ("US",) * 3)
    said = answer(found, axis="budget")
    assert said.headline == (
        "Highest average test accuracy over 2 sub-models by budget. Equalize updates: NS, overtaken by US between ½× "
        "and 1×; equalize passes and equalize macs: US. One seed, so no spread is known and nothing is separated."
    )
    assert said.details[0] == "budget ½× · equalize updates: NS 51.00 %, 1.00 points ahead of US"
    assert len(said.details) == 9 + 1
    assert max(map(len, said.details)) < 130
    same = answer(over_budgets(("US",) * 3), axis="budget").headline
    assert same.startswith(
        "US has the highest average test accuracy over 2 sub-models at every budget (equalize updates). "
    )
    means = zip(LEVELS, (40.0, 50.0, 60.0), strict=True)
    level = answer(
        results(*((f"budget {each}", {"NS": (50.0,), "US": (mean,)}) for each, mean in means)), axis="budget"
    )
    assert "by budget: NS, then NS and US alike at 1×, then US at 2×." in level.headline
    twice = answer(over_budgets(("NS", "US", "NS"), ("NS", "US", "NS")), axis="budget").headline
    assert "alike: NS, overtaken by US between ½× and 1×, overtaken by NS between 1× and 2×." in twice


def test_facets_without_an_order_are_counted_by_who_is_first() -> None:
    seeds = {"a": (50.0, 50.4, 50.9), "b": (40.0, 40.5, 40.7)}
    turned = {"a": seeds["b"], "b": seeds["a"]}
    found = results(
        ("f 1", seeds), ("f 2", seeds), ("f 3", seeds), ("f 4", turned), ("f 5", {**seeds, "b": (50.0, 50.6, 50.3)})
    )
    said = answer(found)
    assert said.headline == (
        "a has the highest average test accuracy over 2 sub-models in 4 of 5 tables (f 1, f 2, f 3 and f 5), b in 1 "
        "(f 4). Separated from all others in 4 of 5 (f 1, f 2, f 3 and f 4), 3 seeds."
    )
    assert said.details[4].startswith(
        "f 5: a 50.43 %, 0.13 points ahead of b (not separated, unadjusted 95 % interval −"
    )


arms = st.sampled_from(["NS", "LCS-p", "SortedNet", "US"])
a_study = st.integers(1, 5).flatmap(
    lambda seeds: st.dictionaries(
        arms, st.lists(st.floats(0, 100, width=16), min_size=seeds, max_size=seeds), min_size=2
    )
)


@settings(max_examples=40, deadline=None)
@given(a_study, st.booleans())
def test_nothing_is_said_to_be_separated_that_the_table_has_in_bold(values: Values, higher: bool) -> None:
    declared = ImageTrainer.declaration
    metric = replace(declared.primary, higher_is_better=higher)
    found = results(("", values), declaration=Declaration((metric,), declared.totals))
    (table,) = tables(found)
    bold = {arm for arm in table.arms if table.cells[AVERAGE, arm].best}
    headline = answer(found).headline
    seeds = len(next(iter(values.values())))
    assert ("leads" in headline) == (seeds > 1 and len(bold) == 1)
    assert table.family.highest[AVERAGE] in headline or "arms prints alike" in headline
    ranking = Ranking.of_average(table, found.shared)
    if seeds == 1:
        assert "nothing is separated" in headline
        assert (ranking.decided, ranking.behind) == (False, ())
        return
    assert {ranking.leader, *ranking.level} == bold
    assert all(table.family.between(AVERAGE, str(ranking.leader), arm).separated for arm in ranking.behind)
    if "is separated" in headline or "are separated" in headline:
        assert set(ranking.behind) == set(values) - bold != set()
    assert ("Nothing separates" in headline) <= (bold == set(values))


def test_seeds_that_were_added_by_looking_are_judged_by_the_test_that_may_look() -> None:
    verdicts = [Verdict("", "SortedNet", "NS", 8, 10.1, 0.012), Verdict("", "US", "NS", 8, -0.3, 0.4)]
    said = answer(results(("", {**APART, "US": (39.0, 40.5, 41.0)})), verdicts=verdicts)
    assert (
        said.headline == "After 8 seeds 1 of 2 comparisons is separated: SortedNet is 10.10 points ahead of NS, p .012."
    )
    assert said.details == ()
    neither = answer(results(("", APART)), verdicts=[replace(verdicts[0], p=0.2)])
    assert neither.headline == "After 8 seeds SortedNet and NS are not separated."


def test_over_tasks_it_is_of_the_averages_of_every_sub_model(tmp_path: Path) -> None:
    made = Tasks(tmp_path, seeds=(0,))
    made.finish_all({f"{method} · {task}": [(50 + place, 60 - place)]
                     for place, method in enumerate(("apart", "sorted")) for task in made.tasks})  # fmt: skip
    found = make_answer(made.results, [], make_task_tables(made.plan, made.results))
    assert found.headline == (
        "Highest average test accuracy over 3 tasks: apart at d24, 60.00 %; sorted at d12, 51.00 %. One seed, so no "
        "spread is known and nothing is separated."
    )
    assert found.details[:2] == (
        "d24: apart 60.00 %, 1.00 points ahead of sorted",
        "d12: sorted 51.00 %, 1.00 points ahead of apart",
    )


@pytest.mark.parametrize("start", ["# a", "- a", "+ a", "> a", "1. a", "23) a", "---", "===", "* a", "a"])
def test_no_paragraph_is_a_heading_a_list_or_a_quotation(start: str) -> None:
    tokens = MarkdownIt("commonmark").parse(paragraph_for_markdown(f"{start} leads"))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert "".join(part.content for part in tokens[1].children or ()) == f"{start} leads"


NAMES = ("- <b>x</b> *y*", "1. [t](u) & `q`")


class _Answer(HTMLParser):
    """The texts of the page's paragraphs and of its lists' items, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.texts, self._in = list[str](), False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in ("p", "li"):
            self._in = True
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self._in:
            self.texts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._in = self._in and tag not in ("p", "li")


def test_it_stands_first_in_every_output_with_names_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Tasks(tmp_path, seeds=(0, 1), methods=NAMES, tasks=("rte",), study_has={"across": None})
    for place, name in enumerate(NAMES):
        for seed in (0, 1):
            made.finish(f"{name} · rte", seed, {"d12": 50.0 + place, "d24": 60.0 + place * seed})
    report = write_report(made.plan, made.results, tmp_path / "report")
    headline, details = report.answer.headline, report.answer.details
    assert headline.startswith(f"{NAMES[1]} and {NAMES[0]} are not separated at 2 seeds: ")

    page = _Answer()
    page.feed((tmp_path / "report" / "index.html").read_text())
    assert page.texts[0] == headline
    assert set(details) <= set(page.texts)

    tokens = MarkdownIt("commonmark").parse((tmp_path / "report" / "table.md").read_text())
    shown = ["".join(part.content for part in token.children or ()) for token in tokens if token.type == "inline"]
    assert shown[1 : 2 + len(details)] == [headline, *details]
    assert {token.type for token in tokens[:6]} == {
        "heading_open", "inline", "heading_close", "paragraph_open", "paragraph_close",
    }  # fmt: skip

    assert run(made.plan.study, made.trainer, ["report", "--storage", str(tmp_path), "--seeds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == headline
    assert lines[-2].lstrip().startswith("then http://127.0.0.1:5000/")
