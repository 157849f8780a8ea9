"""What the loop of `trainers` measures and counts, whatever the task, as the engine has it declared."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from orchestrator.declaration import Declaration, Metric, ServedModel, Total
from trainers.config.trial import TrialConfig
from trainers.tasks.task import Metric as TaskMetric
from trainers.training.state import WEIGHTS


def declaration(
    metrics: tuple[TaskMetric, ...],
    config: type[TrialConfig],
    flops: str = "",
    served: ServedModel | None = None,
    beside: tuple[str, ...] = (),
) -> Declaration:
    """The declaration of a trainer whose trials are run by `trainers.training.loop.fit`.

    Args:
        metrics: of the task.
        config: the class of the trials' configs.
        flops: how they are counted, where they are.
        served: how finished networks are served, where they are.
        beside: files that are kept beside the weights.
    """
    measured = tuple(
        Metric(
            f"test_{metric.name}",
            metric.title,
            metric.unit,
            metric.higher_is_better,
            metric.primary,
            metric.decimals,
            short=metric.short,
            interim=f"interim_{metric.name}",
        )
        for metric in metrics
    )
    primary = next(metric for metric in measured if metric.primary)
    return Declaration(
        metrics=(
            *measured,
            Metric(
                f"{primary.name}_average",
                f"average {primary.title}",
                primary.unit,
                primary.higher_is_better,
                decimals=primary.decimals,
                per_sub_model=False,
                interim=f"{primary.interim}_average",
            ),
            Metric("train_loss", "training loss", higher_is_better=False, decimals=3, per_sub_model=False),
            Metric("replayed_passes", "share of passes replayed as graphs", per_sub_model=False),  # on CUDA
        ),
        totals=(
            Total("updates", "all updates", per_sub_model=True),
            Total("passes", "all passes"),
            Total("samples"),
            Total("macs", "training MACs (forward)", scientific=True),
            Total("forwards"),
        ),
        artifacts=(WEIGHTS, *beside),
        weights=WEIGHTS,
        flops=flops,
        dataset="task.dataset",
        served=served,
        interim=partial(_interim, config),
    )


def _interim(kind: type[TrialConfig], config: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(target.label for target in kind.from_dict(config).interim_targets)
