"""Training seeds until arms are separated: look by look, each with the trials that it lacks."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from orchestrator.errors import UserError
from orchestrator.report.reading import read_results
from orchestrator.report.results import Results
from orchestrator.report.sequential import Looks, Verdict, asked_for, judge, recorded_looks
from orchestrator.report.words import counted
from orchestrator.study.plan import Plan, Trial
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import Tracker

Train = Callable[[Plan, Sequence[Trial]], list[Trial]]
"""Trains the missing trials of a part of a plan; gives those that failed for good."""


def next_look(
    plan: Plan, looks: Looks, done: AbstractSet[str], read: Callable[[Plan], Results]
) -> tuple[Plan, list[Verdict]]:
    """The part of a plan up to the first look that lacks trials, or the one at which all is decided; and the verdicts
    of the last look that had all of its trials.

    Args:
        done: keys of finished trials.
        read: the results of a part.
    """
    parts = [plan.of_seeds(count) for count in looks.counts]
    whole = [part for part in parts if not part.missing(done)]
    if not whole:
        return parts[0], []
    verdicts = judge(asked_for(read(whole[-1]), whole[-1].seeds), looks)  # those of earlier looks are not taken back
    if all(verdict.decided for verdict in verdicts) or len(whole) == len(parts):
        return whole[-1], verdicts
    return parts[len(whole)], verdicts


def check_looks(tracker: Tracker, experiment: str, plan: Plan, looks: Looks) -> None:
    """Refuses other looks than the study was begun with.

    Raises:
        UserError: it was begun with others.
    """
    before = recorded_looks(tracker, experiment, plan.base_key)
    if before is not None and before != looks:
        raise UserError(
            f"--until-separated: this study was begun with looks {before.words}, over which its level is shared out: "
            f"go on with --seeds {','.join(map(str, before.order))}, or without --until-separated"
        )


def train_until_separated(
    plan: Plan, looks: Looks, recorder: Recorder, train: Train, say: Callable[[str], None]
) -> tuple[list[Trial], Plan]:
    """Trains look by look; gives what failed for good, and the part of the plan that was trained.

    A look is at all of its trials, so one that failed ends it: the same command tries that again and goes on.
    """
    metric = plan.declaration.primary

    def read(part: Plan) -> Results:
        return read_results(recorder.tracker, recorder.experiment, part)

    if recorded_looks(recorder.tracker, recorder.experiment, plan.base_key) is None:
        before = {trial.seed for trial in plan.trials if trial.key in recorder.finished}
        recorder.note_looks(replace(looks, before=len(before)).as_dict())
    while True:
        part, verdicts = next_look(plan, looks, recorder.finished, read)
        if verdicts:
            separated = sum(verdict.separated for verdict in verdicts)
            seeds = counted(max(verdict.seeds for verdict in verdicts), "seed")
            verb = "is" if separated == 1 else "are"
            say(f"After {seeds} {separated} of {counted(len(verdicts), 'comparison')} {verb} separated:")
            for verdict in verdicts:
                say(f"  {verdict.line(metric)}")
        missing = part.missing(recorder.finished)
        if not missing:
            return [], part
        if failed := train(part, missing):
            say(
                f"The look after {len(part.seeds)} seeds lacks {counted(len(failed), 'trial')} that failed: run the "
                "same command again, or leave the arm out with --only."
            )
            return failed, part
