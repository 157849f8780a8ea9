"""Runs trials one after the other in the driver's own process (`--debug`), so that a breakpoint in one of them works.

Without Ray. The terminal is the trial's: nothing of it is captured, and a traceback is printed whole as it happens.
"""

from bdb import BdbQuit
from collections.abc import Sequence

from orchestrator.errors import UserError
from orchestrator.run.attempts import Attempts
from orchestrator.run.machine import gpus_here
from orchestrator.run.resources import Resources
from orchestrator.run.worker import WorkerContext, train
from orchestrator.study.plan import Trial


class InProcessExecutor:
    """An `execution.Executor`."""

    def allot(self, requested: Resources) -> tuple[Resources, int]:
        """As many threads as are asked for, whatever the machine has: results depend on their number."""
        there = gpus_here()
        gpus = float(min(1, there)) if requested.gpus is None else requested.gpus
        if gpus > there:
            raise UserError(f"a trial asks for {gpus:g} GPUs; this machine has {there}")
        return Resources(requested.cpus, gpus, 1), 1

    def doubled(self, share: Resources) -> Resources | None:
        """None: a trial has all of this process's memory already."""
        return None

    def run(self, trials: Sequence[Trial], share: Resources, context: WorkerContext, attempts: Attempts) -> None:
        for trial in trials:
            try:
                for report in train(context, trial.key, trial.config, trial.seed, trial.labels):
                    attempts.reported(trial, report)
                    if "failure" in report:
                        print(report["failure"]["traceback"], end="", flush=True)
                    attempts.check()
            except BdbQuit as quitting:  # who leaves the debugger wants no other trial to start
                raise KeyboardInterrupt from quitting
            attempts.ended(trial)
