"""What a trial is: every setting that can change its result, part by part.

A trial is identified by its resolved config, so two spellings of the same experiment are one experiment: LCS-p under
BatchNorm *is* US. Where a trial runs (folders, devices, threads) is not part of it.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError

from trainers.config.budget import BudgetConfig
from trainers.config.method import MethodConfig
from trainers.config.network import SubModelsConfig
from trainers.config.optimizer import OptimizerConfig, SgdConfig
from trainers.config.part import Flag, Part, Whole, extra, in_a_line
from trainers.config.precision import PrecisionConfig
from trainers.config.schedule import ScheduleConfig
from trainers.config.task import TaskConfig
from trainers.lattice import Lattice
from trainers.submodel import SubModel


class TrialConfig(Part):
    """The config of a trial, less its seed: what all kinds of trials have. Each kind says its task and its network."""

    task: TaskConfig
    network: SubModelsConfig
    method: MethodConfig = MethodConfig()
    optimizer: OptimizerConfig = SgdConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    budget: BudgetConfig = BudgetConfig()
    precision: PrecisionConfig = PrecisionConfig()
    evaluations: Whole = Field(
        default=20,
        ge=1,
        le=100_000,
        description="How often the targets are evaluated, evenly over the budget; the last one at its end.",
    )
    evaluates_start: Flag = Field(
        default=False, description="Whether the targets are evaluated before the first update, too."
    )
    interim_sub_models: Whole | None = Field(
        default=None,
        ge=1,
        le=1 << 20,
        description="Evaluations before the last are of so many targets, evenly spread over their order, the smallest "
        "and the largest among them; null: of all.",
        json_schema_extra={"unit": "sub-models"},
    )

    @property
    def lattice(self) -> Lattice:
        """The target sub-models."""
        return self.network.lattice

    @property
    def interim_targets(self) -> tuple[SubModel, ...]:
        """What evaluations before the last are of, where these leave out examples or targets; else none."""
        if self.task.interim_examples is None and self.interim_sub_models is None:
            return ()
        return self.lattice.spread(self.interim_sub_models or len(self.lattice))

    @property
    def calibration_examples(self) -> int:
        """Over which, as far as there are so many, norms average anew before a target is evaluated; 0: they do not."""
        return 0

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """What a study's own file may have registered of what a resolved config names, each by its kind and name."""
        from trainers.sampling.names import name_of  # NumPy, which no check of a value needs

        method, task = self.method, self.task
        named = [
            ("sampler", name_of(method.sampler)),
            ("objective", method.objective),
            ("network", self.network.name),
            ("dataset", task.dataset),
            *([] if task.name is None else [("task", task.name)]),
            *(("metric", name) for name in task.metrics or ()),
        ]
        return tuple(named)

    def evaluated_on(self, examples: int) -> Self:
        """The config for a test set of so many examples: what is interim only where it makes a difference."""
        early = self.evaluations > 1 or self.evaluates_start
        part, some = self.task.interim_examples, self.interim_sub_models
        if part is not None and not (early and part < examples):
            part = None
        if some is not None and not (early and some < len(self.lattice)):
            some = None
        task = self.task.model_copy(update={"interim_examples": part})
        return self.model_copy(update={"task": task, "interim_sub_models": some})

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> Self:
        """The config that `as_dict` wrote.

        Raises:
            ConfigError: a value that cannot be, in one line.
        """
        try:
            return cls.model_validate(dict(written))
        except ValidationError as error:
            raise in_a_line(error, cls) from error

    def as_dict(self) -> dict[str, Any]:
        """Every value as JSON, part by part; shorthands only where they are not resolved yet."""
        return self.model_dump(mode="json", exclude_none=True)

    def identity(self) -> dict[str, Any]:
        """What a resolved trial is known by: as `as_dict`, without the defaults, paths and what is shown.

        So a field that is added, at a default under which everything stays as it was, leaves every trial the key that
        it has.
        """
        task = self.task
        # All metrics are measured, whichever is the primary one; what came of a part was once of that one alone.
        if task.interim_examples is None:
            task = task.model_copy(update={"primary": None})
        return _without_defaults(self.model_copy(update={"task": task}))


def _without_defaults(part: Part) -> dict[str, Any]:
    said: dict[str, Any] = {}
    written = part.model_dump(mode="json", exclude_none=True)
    for name, field in type(part).model_fields.items():
        value, usual = getattr(part, name), field.get_default(call_default_factory=True)
        if value == usual or extra(field, "located"):
            continue
        if not isinstance(value, Part):
            said[name] = written[name]
        elif type(value) is type(usual):
            said[name] = _without_defaults(value)
        else:  # of another kind, which is its own default
            said[name] = {"kind": written[name]["kind"], **_without_defaults(value)}
    return said
