"""How a network is trained, whatever it is and whatever it is trained for: parts, and the way to them from a config."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from torch import nn

from trainers.acceleration import Accelerator
from trainers.config.methods import Affine, Distillation
from trainers.config.norm import NormConfig
from trainers.config.optimizer import AdamWConfig, OptimizerConfig, SgdConfig
from trainers.config.precision import Precision
from trainers.config.trial import TrialConfig
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.objectives import OBJECTIVES, Objective, stochastic_loss
from trainers.optimizers.adamw import AdamW
from trainers.optimizers.groups import GroupRules
from trainers.optimizers.optimizer import Optimizer
from trainers.optimizers.sgd import Sgd
from trainers.sampling.discrete import All, uniform
from trainers.sampling.names import sampler
from trainers.sampling.sampler import Sampler
from trainers.submodel import SubModel
from trainers.training.ledger import Budget
from trainers.training.schedule import learning_rate


@dataclass(frozen=True)
class Interim:
    """What evaluations before the last are of, where they leave something out.

    Attributes:
        targets: in the order of the lattice.
        examples: of the test set, always the same ones; None: all.
    """

    targets: tuple[SubModel, ...]
    examples: int | None = None


@dataclass(frozen=True)
class Recipe:
    """What `fit` does with a network and a task.

    Attributes:
        lattice: the targets.
        budget: ends training.
        optimizer: makes the optimizer of a network.
        learning_rate: share of the budget, 0..1 → the rate.
        sampler, objective: what is drawn at a step, and whose losses are summed for it.
        accumulation: micro-batches per optimizer step, each with its own examples and draw; gradients average.
        clip_norm: gradients are scaled down to this norm, all parameters' of a network together, where theirs is
            larger; None: never.
        distillation: `in-place`: every other sub-model learns the largest one's predictions instead of the labels.
        extract_at: share of the budget after which every target goes on as a network of its own; None: never.
        precision: of activations; weights, gradients and loss stay fp32.
        deterministic: on CUDA, use only algorithms that give the same bits every time; CPU's always do.
        affine: of the norm layers.
        line_penalty: weight of the cos² between the γ of all lines' endpoints in the loss.
        recalibration_batches: over which norms average anew before an evaluation; 0: they do not.
        evaluations: how often the targets are evaluated, evenly over the budget; the last one at its end.
        evaluates_start: whether they are before the first update, too.
        interim: what evaluations before the last are of; None: of all targets on the whole test set, as the last one.

    Raises:
        ConfigError: a `clip_norm` that is no positive number.
    """

    lattice: Lattice
    budget: Budget
    optimizer: Callable[[nn.Module], Optimizer]
    learning_rate: Callable[[float], float]
    sampler: Sampler = field(default_factory=uniform)
    objective: Objective = stochastic_loss
    accumulation: int = 1
    clip_norm: float | None = None
    distillation: Distillation = "none"
    extract_at: float | None = None
    precision: Precision = "fp32"
    deterministic: bool = False
    affine: Affine = "shared"
    line_penalty: float = 0.0
    recalibration_batches: int = 0
    evaluations: int = 1
    evaluates_start: bool = False
    interim: Interim | None = None

    def __post_init__(self) -> None:
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"clip_norm={self.clip_norm}: must be more than 0, or left out for no clipping")

    @classmethod
    def from_config(
        cls, config: TrialConfig, norm: NormConfig | None = None, kernels: Accelerator | None = None
    ) -> "Recipe":
        """The parts that a config names; `kernels` move parameters in torch's place.

        Args:
            norm: of the network, where its norms are chosen.
        """
        method, norm = config.method, norm or NormConfig()
        targets = config.interim_targets
        assert config.budget.amount is not None  # of a resolved config
        return cls(
            lattice=config.lattice,
            budget=Budget(config.budget.unit, config.budget.amount),
            optimizer=_optimizer(config.optimizer, kernels or Accelerator()),
            learning_rate=partial(learning_rate, config),
            sampler=sampler(method.sampler),
            objective=OBJECTIVES[method.objective],
            accumulation=method.accumulation,
            clip_norm=config.optimizer.clip_norm,
            distillation=method.distillation,
            extract_at=method.extract_at if method.sharing == "extracted" else None,
            precision=config.precision.activations,
            deterministic=config.precision.deterministic,
            affine=norm.affine,
            line_penalty=norm.penalty,
            recalibration_batches=norm.recalibrated,
            evaluations=config.evaluations,
            evaluates_start=config.evaluates_start,
            interim=Interim(targets, config.task.interim_examples) if targets else None,
        )

    def phase(self, extracted: bool) -> tuple[Sampler, Objective]:
        """What is sampled and summed: as said, or every network once they are extracted."""
        return (All(), OBJECTIVES["sum"]) if extracted else (self.sampler, self.objective)


def _optimizer(config: OptimizerConfig, kernels: Accelerator) -> Callable[[nn.Module], Optimizer]:
    """Makes the optimizer of a network that a config names."""
    rules = GroupRules(config.decayed, config.rates)
    match config:
        case SgdConfig():
            return partial(
                Sgd, momentum=config.momentum, weight_decay=config.weight_decay, rules=rules, make_kernel=kernels.sgd
            )
        case AdamWConfig():
            return partial(
                AdamW,
                weight_decay=config.weight_decay,
                betas=(config.beta1, config.beta2),
                epsilon=config.epsilon,
                rules=rules,
                make_kernel=kernels.adamw,
            )
