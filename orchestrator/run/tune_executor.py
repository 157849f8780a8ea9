"""Runs trials on the connected Ray cluster, side by side. Tune schedules; it decides nothing else."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

from orchestrator.run.attempts import Attempts
from orchestrator.run.cluster import nodes
from orchestrator.run.gpu_spreading import gpu_request, spread_over_gpus
from orchestrator.run.living_cluster import living_cluster
from orchestrator.run.losses import is_out_of_memory, last_loss, losses_end_trials
from orchestrator.run.resources import Resources, allot, doubled
from orchestrator.run.tune_worker import run_trial
from orchestrator.run.worker import WorkerContext
from orchestrator.study.plan import Trial

_LOST_RETRIES = 3  # of a trial whose worker or node is lost


class TuneExecutor:
    """An `execution.Executor`.

    Args:
        study: its name, by which Tune names its own files.
        folder: where Tune puts them; nobody reads them.
    """

    def __init__(self, study: str, folder: Path) -> None:
        self._study, self._folder = study, folder

    def allot(self, requested: Resources) -> tuple[Resources, int]:
        return allot(requested, nodes())

    def doubled(self, share: Resources) -> Resources | None:
        return doubled(share, nodes())

    def run(self, trials: Sequence[Trial], share: Resources, context: WorkerContext, attempts: Attempts) -> None:
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        bridge = Bridge(trials, attempts)
        gpus = gpu_request(share.gpus or 0.0)
        parameters = [
            {"key": trial.key, "config": dict(trial.config), "seed": trial.seed, "labels": trial.labels}
            for trial in trials
        ]
        trainable = partial(run_trial, context=context)
        trainable.__name__ = "trial"  # type: ignore[attr-defined]  # Tune names its files by it
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": share.cpus, "gpu": gpus}),
            param_space={"trial": tune.grid_search(parameters)},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=share.max_concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.config["trial"]["key"][:16],
            ),
            run_config=tune.RunConfig(
                name=self._study,
                storage_path=str(self._folder),
                callbacks=[bridge],
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=_LOST_RETRIES),
            ),
        )
        with living_cluster(attempts.leave), losses_end_trials(), spread_over_gpus(gpus) as bridge.started:
            tuner.fit()


class Bridge(Callback):
    """Hands Tune's events over.

    Attributes:
        started: told how many trials have begun.
    """

    def __init__(self, trials: Sequence[Trial], attempts: Attempts) -> None:
        self._trials = {trial.key: trial for trial in trials}
        self._attempts = attempts
        self.started: Callable[[int], None] = lambda trials: None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that is never made (design: run = plan − finished)."""
        return {}

    def _trial(self, tune_trial: TuneTrial) -> Trial:
        return self._trials[tune_trial.config["trial"]["key"]]

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        self._attempts.reported(self._trial(trial), result)
        self.started(self._attempts.begun)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._attempts.ended(self._trial(trial))

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        why = last_loss(trial)
        if is_out_of_memory(why):
            self._attempts.out_of_memory(self._trial(trial), why)
            trial.config["given_up"] = True  # Tune starts it again with the same share: it ends at once
        else:
            self._attempts.goes_on(self._trial(trial))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        why = last_loss(trial)
        if is_out_of_memory(why):
            self._attempts.out_of_memory(self._trial(trial), why)
        else:
            self._attempts.lost(self._trial(trial), why)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._attempts.check()
