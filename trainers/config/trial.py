"""What a trial is: every setting that can change its result, resolved to explicit values.

`resolve` turns what a study says (a method's name, a preset, an override) into a `TrialConfig`. A trial is
identified by the resolved config, so two spellings of the same experiment are one experiment: LCS-p under BatchNorm
*is* US. Where a trial runs (folders, devices, threads) is not part of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from trainers.build import target_costs
from trainers.config.methods import METHODS, Affine, Distillation, Sharing
from trainers.config.precision import Precision, fastest
from trainers.config.settings import Settings, settings
from trainers.data.datasets import dataset
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.nested.layers.norms import NormPolicy
from trainers.networks.architectures import NETWORKS
from trainers.sampling.names import sampler
from trainers.sampling.sampler import Moment
from trainers.training.ledger import BudgetUnit


@dataclass(frozen=True)
class TrialConfig:
    """The resolved config of a trial, less its seed.

    Attributes:
        dataset: a data set's name.
        network: a network's name.
        widths: the target widths, shares in (0, 1].
        depths: the target depths, numbers of optional residual blocks; empty: all blocks always.
        norm: norm policy.
        recalibration_batches: training batches (250 images each) over which batch-recalibrated averages; else 0.
        affine: of the norm layers, `shared`, or a `line` between two endpoints along the width (LCS-l).
        line_penalty: weight of the cos² between the γ of all lines' endpoints in the loss; 0 without lines.
        sharing: `nested`; `separate` networks (the Independent baseline); or `extracted`, nested first and then
            separate.
        extract_at: share of the budget after which targets are extracted; 0 unless they are.
        sampler: e.g. `uniform`, `sandwich(4)`; of extracted networks until then, all of them from then on.
        objective: `stochastic-loss`, `stochastic-summation` or `sum`.
        distillation: `in-place`: every other sub-model learns the largest one's predictions instead of the labels.
        accumulation: micro-batches per optimizer step, each with its own images and its own draw; gradients average.
        precision: of activations; weights, gradients and loss stay fp32.
        deterministic: on CUDA, use only algorithms that give the same bits every time; CPU's always do.
        batch_size: images per micro-batch.
        learning_rate, momentum, weight_decay: of SGD without Nesterov; the decay acts on every parameter.
        warmup: share of the budget over which the learning rate rises linearly; from the full rate it falls to zero
            along half a cosine over what remains.
        schedule_stages: number of equal stages within which the learning rate stays constant (200: per epoch of 200);
            0 changes it at every step.
        crop_padding: pixels of padding of the random crop.
        flip: random mirroring.
        budget_unit, budget: training ends once this many updates, passes or multiply-accumulates are done.
        evaluations: how often the targets are evaluated, evenly over the budget; the last one at its end.
    """

    dataset: str
    network: str
    widths: tuple[float, ...]
    depths: tuple[int, ...]
    norm: NormPolicy
    recalibration_batches: int
    affine: Affine
    line_penalty: float
    sharing: Sharing
    extract_at: float
    sampler: str
    objective: str
    distillation: Distillation
    accumulation: int
    precision: Precision
    deterministic: bool
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    warmup: float
    schedule_stages: int
    crop_padding: int
    flip: bool
    budget_unit: BudgetUnit
    budget: int
    evaluations: int

    @property
    def lattice(self) -> Lattice:
        """The target sub-models."""
        return _lattice(self.widths, self.depths)

    @classmethod
    def from_dict(cls, resolved: Mapping[str, Any]) -> "TrialConfig":
        """The config that was written as JSON."""
        return cls(**{**resolved, "widths": tuple(resolved["widths"]), "depths": tuple(resolved["depths"])})


def _lattice(widths: tuple[float, ...], depths: tuple[int, ...]) -> Lattice:
    supports: dict[str, tuple[float, ...]] = {"width": tuple(map(float, widths))}
    if depths:
        supports["depth"] = depths
    return Lattice.product(**supports)


def resolve(given: Mapping[str, Any]) -> TrialConfig:
    """The explicit config of what a study says.

    Args:
        given: fields of `Settings`.

    Raises:
        ConfigError: a name, value or combination that cannot be used.
    """
    said = settings(given)
    method = METHODS[said.method]
    data = dataset(said.dataset)
    try:
        lattice = _lattice(said.widths, said.depths)
    except ValueError as error:
        raise ConfigError(f"widths={list(said.widths)}, depths={list(said.depths)}: {error}") from error
    if lattice.largest["width"] != 1:
        raise ConfigError(f"widths={list(said.widths)}: the full width, 1, must be among them")
    _check_depths(said)
    affine = said.affine or method.affine
    sharing = said.sharing or method.sharing
    config = TrialConfig(
        dataset=said.dataset,
        network=said.network,
        widths=tuple(sorted(map(float, said.widths))),
        depths=tuple(sorted(said.depths)),
        norm=cast(NormPolicy, said.norm),
        recalibration_batches=said.recalibration_batches if said.norm == "batch-recalibrated" else 0,
        affine=cast(Affine, affine),
        line_penalty=said.line_penalty if affine == "line" else 0.0,
        sharing=cast(Sharing, sharing),
        extract_at=said.extract_at if sharing == "extracted" else 0.0,
        sampler=said.sampler or method.sampler,
        objective=said.objective or method.objective,
        distillation=cast(Distillation, said.distillation or method.distillation),
        accumulation=said.accumulation or method.accumulation,
        precision=fastest() if said.precision == "auto" else cast(Precision, said.precision),
        deterministic=said.deterministic,
        batch_size=said.batch_size,
        learning_rate=said.learning_rate,
        momentum=said.momentum,
        weight_decay=said.weight_decay,
        warmup=said.warmup,
        schedule_stages=said.schedule_stages,
        crop_padding=data.crop_padding if said.crop_padding is None else said.crop_padding,
        flip=data.flip if said.flip is None else said.flip,
        budget_unit=cast(BudgetUnit, said.equalize),
        budget=_budget(said, lattice),
        evaluations=said.evaluations,
    )
    _check_combination(config, lattice)
    return config


def _budget(said: Settings, lattice: Lattice) -> int:
    updates = max(1, round(said.updates * said.budget_scale))
    if said.equalize == "updates":
        return updates
    if said.equalize == "passes":
        return updates * len(lattice)
    macs = sum(cost.macs for cost in target_costs(said.network, said.dataset, lattice).values())
    return updates * said.batch_size * macs


def _check_depths(said: Settings) -> None:
    blocks = len(NETWORKS[said.network].optional)
    if not said.depths:
        return
    if not blocks:
        raise ConfigError(f"depths={list(said.depths)}: {said.network} has no optional blocks, give depths=[]")
    if min(said.depths) < 1 or max(said.depths) != blocks:
        raise ConfigError(
            f"depths={list(said.depths)}: numbers from 1 to the {blocks} optional blocks of {said.network}, all of "
            "which must be one of them"
        )


def _check_combination(config: TrialConfig, lattice: Lattice) -> None:
    chosen = sampler(config.sampler)
    try:
        chosen.expectation(Moment(lattice, lambda _: 1))  # raises if it does not fit the targets
    except ConfigError as error:
        raise ConfigError(f"sampler {config.sampler!r}: {error}") from error
    if config.objective != "sum" and chosen.draws != 1:
        raise ConfigError(
            f"objective={config.objective} is defined for one sub-model; sampler={config.sampler} draws more"
        )
    if chosen.continuous and config.norm == "batch-switchable":
        raise ConfigError(
            f"sampler={config.sampler} draws widths between the targets, for which norm=batch-switchable has no "
            "statistics: choose another norm or a sampler of targets"
        )
    if chosen.continuous and config.sharing == "separate":
        raise ConfigError(f"sampler={config.sampler} draws widths between the targets; sharing=separate has none")
    if config.affine == "line" and config.norm == "batch-switchable":
        raise ConfigError("affine=line needs affine parameters that widths share: choose another norm")
    if config.affine == "line" and config.sharing != "nested":
        raise ConfigError(f"affine=line is a line along the width of one network; sharing={config.sharing} has many")
    if config.distillation == "in-place" and config.sharing != "nested":
        raise ConfigError("distillation=in-place has the largest sub-model of one network teach: use sharing=nested")
