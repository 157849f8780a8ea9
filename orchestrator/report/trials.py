"""Which of the runs that a store holds are trials of a plan: by content first, since people edit and copy tags."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from orchestrator.errors import UserError
from orchestrator.study.plan import Plan
from orchestrator.track.limits import as_value
from orchestrator.track.recorder import settings_of
from orchestrator.track.tracker import ARM, ARM_SETTINGS, SEED, TrackedTrial


def trials_of(plan: Plan, tracked: Sequence[TrackedTrial]) -> list[TrackedTrial]:
    """The trials of a plan's arms with any seed, their tags `arm` and `seed` as the plan has them.

    A trial that is planned is known by its key. One with another seed is known by its arm's name, and by what its arm
    sets: in another study of this name the same arm may be another thing.

    Raises:
        UserError: one with another seed has a tag that is no seed; names the run.
    """
    planned = {trial.key: trial for trial in plan.trials}
    pairs = {(trial.arm.label, trial.seed) for trial in plan.trials}
    labels = {as_value(arm.label): arm.label for arm in plan.arms}
    found = []
    for trial in tracked:
        if trial.key in planned:
            known = planned[trial.key]
            label, seed = known.arm.label, known.seed
        elif trial.tags.get(ARM) not in labels:
            continue
        else:
            label = labels[trial.tags[ARM]]
            with legible_tag(trial, SEED):
                seed = int(trial.tags[SEED])
            means = settings_of(plan.first_trials[label])
            if (label, seed) in pairs or trial.tags.get(ARM_SETTINGS, means) != means:
                continue
        found.append(replace(trial, tags={**trial.tags, ARM: label, SEED: str(seed)}))
    return found


@contextmanager
def legible_tag(trial: TrackedTrial, name: str) -> Iterator[None]:
    """Names the run whose tag is not what it should be."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        value = trial.tags.get(name)
        is_now = "missing" if value is None else f"{value[:80]!r}, which is not what is recorded there"
        raise UserError(
            f"the tag {name!r} of the run {trial.run_id} ({trial.tags.get('mlflow.runName', 'nameless')}) is {is_now}: "
            "set it back in MLflow"
        ) from error
