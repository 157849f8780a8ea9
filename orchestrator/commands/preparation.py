"""What a run of a study begins with: what is missing is found and claimed, and what takes long goes on aside.

A new database, the data and importing MLflow and Tune take as long as Ray to start.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from rich.console import Console

from orchestrator.commands.options import Options
from orchestrator.commands.tracking import experiment_id, find_tracker, finished_keys, open_tracker
from orchestrator.run.patience import Patience
from orchestrator.study.plan import Plan, Trial
from orchestrator.trainer import Place, Trainer

if TYPE_CHECKING:
    from orchestrator.report.sequential import Looks
    from orchestrator.run.lease import Lease
    from orchestrator.track.recorder import Recorder
    from orchestrator.track.tracker import Tracker


@dataclass(frozen=True)
class StudyRun:
    """One run of a study, as its steps share it.

    Attributes:
        script: the study's file.
        place: where the driver makes the data ready and measures.
        patience: with the tracking store.
        looks: when arms are compared under `--until-separated`; else None.
    """

    plan: Plan
    trainer: Trainer
    options: Options
    lease: "Lease"
    console: Console
    patience: Patience
    script: Path
    place: Place
    looks: "Looks | None"


@dataclass(frozen=True)
class Preparation:
    """What is to do, and what is being made ready for it in threads.

    Attributes:
        missing: the trials to train.
        mlflow: imported. By one thread alone: of modules that import one another, two threads each find half of them.
        recorder: opened.
        data: ready where the driver is; nothing to wait for if no trial is missing.
    """

    missing: list[Trial]
    threads: ThreadPoolExecutor
    mlflow: "Future[ModuleType]"
    recorder: "Future[Recorder]"
    data: "Future[None] | None"


@contextmanager
def prepare(run: StudyRun) -> Iterator[Preparation]:
    """Finds what is missing, claims it, and begins in threads what takes as long as Ray to start."""
    from orchestrator.track.provenance import diff, provenance

    tracker = run.patience.keep_trying(lambda: find_tracker(run.options))
    finished = run.patience.keep_trying(lambda: finished_keys(run.plan, tracker))
    missing = run.patience.keep_trying(lambda: _wanted(run, tracker, finished)).missing(finished)
    if tracker is not None and (experiment := experiment_id(run.plan, tracker)) is not None:
        from orchestrator.run.tidying import tidy
        from orchestrator.track.namesakes import refuse_namesake

        run.patience.keep_trying(lambda: refuse_namesake(tracker, experiment, run.plan, run.script))
        tidy(run.options.storage, run.plan, sorted(finished), tracker, experiment)
    if missing:
        run.lease.cover([trial.key for trial in missing])
    origin = provenance(run.script.parent, run.trainer.versions(), run.options.command)

    def open_recorder() -> "Recorder":
        mlflow.result()
        from orchestrator.track.namesakes import sign
        from orchestrator.track.recorder import Recorder

        patch = diff(run.script.parent)
        recorder = run.patience.keep_trying(
            lambda: Recorder(tracker or open_tracker(run.options), run.plan, origin, patch)
        )
        run.patience.keep_trying(lambda: sign(recorder.tracker, recorder.parent_id, run.plan, run.script))
        return recorder

    with ThreadPoolExecutor(4) as threads:
        mlflow = threads.submit(import_module, "orchestrator.track.recorder")
        recorder = threads.submit(open_recorder)
        data = threads.submit(_prepare_data, run.trainer, missing, run.place) if missing else None
        yield Preparation(missing, threads, mlflow, recorder, data)


def _wanted(run: StudyRun, tracker: "Tracker | None", finished: set[str]) -> Plan:
    """What is to be trained of the plan: all, or at most what one who looks whether arms are separated may need."""
    experiment = experiment_id(run.plan, tracker)
    if run.looks is None or tracker is None or experiment is None:
        return run.plan
    from orchestrator.commands.adaptive import check_looks, next_look
    from orchestrator.report.reading import read_results

    check_looks(tracker, experiment, run.plan, run.looks)
    part, _ = next_look(run.plan, run.looks, finished, lambda part: read_results(tracker, experiment, part))
    return run.plan if part.missing(finished) else part


def _prepare_data(trainer: Trainer, trials: Sequence[Trial], place: Place) -> None:
    """Makes every data set ready that the trials are trained on, each once."""
    for trial in {trial.data_checksum: trial for trial in trials}.values():
        trainer.prepare(trial.config, place)
