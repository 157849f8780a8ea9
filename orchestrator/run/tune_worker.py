"""What Tune calls on a worker, by itself: a worker imports this module alone, not the driver's MLflow with it."""

from typing import Any

from ray import tune

from orchestrator.run.worker import WorkerContext, train


def run_trial(parameters: dict[str, Any], context: WorkerContext) -> None:
    """Runs on a worker. A trial that the driver has given up is not begun."""
    if parameters.get("given_up"):
        return
    for report in train(context, **parameters["trial"]):
        tune.report(report)
