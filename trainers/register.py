"""Parts of a study's own file, registered by a line above each and used by its name as those of this package are.

    from trainers import register


    @register.sampler("small-first")
    def small_first(moment: Moment, power: float = 1.0) -> list[float]:
        return [moment.macs(target) ** -power for target in moment.lattice]

`--set sampler="small-first(2)"`, or a level of a factor, then names it. Workers run the file once more, under another
name, to have what it registers; what is below `if __name__ == "__main__":` is not run there. A trial is known by the
source of what it uses (`trainers.own.source` says by how much of it), or by `version=` in its place; a data set by its
content. `docs/own-parts.md` has an example of each.

Each raises `ConfigError`, in a line, where a name is taken or cannot be one, or where what is registered cannot be
called as it would be.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from trainers.errors import ConfigError
from trainers.own.parts import enter, refuse_signature

if TYPE_CHECKING:
    from torch import nn

    from trainers.data.images.arrays import ImageArrays
    from trainers.nested.table import Exchange
    from trainers.objectives import Objective
    from trainers.sampling.own import Weigh
    from trainers.sampling.sampler import Sampler
    from trainers.tasks.images import ImageClassification
    from trainers.tasks.measures import Compute
    from trainers.tasks.texts import TextTask

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", re.ASCII)
SamplerT = TypeVar("SamplerT", bound="Weigh | type[Sampler]")
ObjectiveT = TypeVar("ObjectiveT", bound="Objective")
NetworkT = TypeVar("NetworkT", bound="Callable[[tuple[int, int, int], int], nn.Module]")
LoadT = TypeVar("LoadT", bound="Callable[[], ImageArrays]")
ComputeT = TypeVar("ComputeT", bound="Compute")
TaskT = TypeVar("TaskT", bound="type[ImageClassification] | type[TextTask]")


def sampler(name: str, *, needs_gaps: bool = False, version: str = "") -> Callable[[SamplerT], SamplerT]:
    """Registers which sub-models a step draws: a function that weighs the targets, or a class of samplers.

    A function takes the moment of training (`Moment`) and gives one weight for each target, smallest first; one target
    is drawn in proportion to them. A class is as `trainers.sampling.sampler.Sampler` says, for whoever draws several.
    Further parameters, annotated `float`, `int` or `str`, are said in brackets: `sampler="small-first(2)"`.

    Args:
        needs_gaps: whether the function reads `moment.gaps`, for which every step waits for its loss.
        version: identifies it in the place of its source.
    """
    _check_name("sampler", name)

    def register(part: SamplerT) -> SamplerT:
        from trainers.sampling.names import SAMPLERS
        from trainers.sampling.own import own_sampler

        made: Callable[[list[str]], Sampler] = own_sampler(name, part, needs_gaps)
        enter("sampler", name, made, SAMPLERS, version)
        return part

    return register


def objective(name: str, *, version: str = "") -> Callable[[ObjectiveT], ObjectiveT]:
    """Registers whose losses a step sums: a function of the sub-models drawn and the lattice, which gives sub-models.

    They are trained in the order in which they come.
    """
    _check_name("objective", name)

    def register(part: ObjectiveT) -> ObjectiveT:
        from trainers.objectives import OBJECTIVES

        refuse_signature(f"objective {name}", part, f"{name}(drawn, lattice)", None, None)
        chosen: Objective = part
        enter("objective", name, chosen, OBJECTIVES, version)
        return part

    return register


def network(
    name: str,
    *,
    heads: frozenset[str] | None = None,
    optional: tuple[str, ...] = (),
    exchanges: "Mapping[type[nn.Module], Exchange] | None" = None,
    version: str = "",
) -> Callable[[NetworkT], NetworkT]:
    """Registers a plain network, which is made nested: a function or class of (shape of an image, classes).

    Args:
        heads: paths of the layers that keep all their outputs; None: they and the optional blocks are found by running
            it.
        optional: paths of the residual blocks that depth can leave out, in the order in which depth adds them.
        exchanges: nested forms of layers of its own, by class.
    """
    _check_name("network", name)

    def register(part: NetworkT) -> NetworkT:
        from trainers.networks.architectures import NETWORKS, Architecture

        refuse_signature(f"network {name}", part, f"{name}((channels, height, width), classes)", None, None)
        enter("network", name, Architecture(part, heads, optional, dict(exchanges or {})), NETWORKS, version)
        return part

    return register


def dataset(name: str, *, crop_padding: int = 0, flip: bool = False) -> Callable[[LoadT], LoadT]:
    """Registers images by a function that loads them: `ImageArrays.of(…)`. Known by their content.

    It is called once where a study is planned and once by every worker, and is to give the same each time. For data
    that take long to load, `trainers.data.datasets.register` says beforehand what must be known of them.

    Args:
        crop_padding: pixels of zero padding of the random crop that is usual for it; 0: images are not cropped.
        flip: whether a mirrored image is still of its class.
    """
    _check_name("dataset", name)

    def register(part: LoadT) -> LoadT:
        from trainers.data.datasets import DATASETS, LOADERS, Loader

        refuse_signature(f"dataset {name}", part, f"{name}()")
        if name in DATASETS:
            raise ConfigError(f"a dataset named {name!r} is there already, of this package's: choose another name")
        enter("dataset", name, Loader(part, crop_padding, flip), LOADERS)
        return part

    return register


def metric(
    name: str,
    *,
    title: str,
    unit: str = "",
    higher_is_better: bool = True,
    decimals: int = 2,
    version: str = "",
) -> Callable[[ComputeT], ComputeT]:
    """Registers what is measured of every sub-model: a function of its outputs for the whole test set and the targets.

    Outputs are `(N, classes)` fp32 and targets `(N,)`, both on the device. It is measured where the trainer names it:
    `main(STUDY, lambda: image_trainer(metrics=["macro-f1"], primary="macro-f1"))`.

    Args:
        title: as it stands in a sentence, `test macro F1`.
        unit: `%`, or a word; empty for none.
        decimals: as printed.
    """
    _check_name("metric", name)

    def register(part: ComputeT) -> ComputeT:
        from trainers.tasks.images import ImageClassification
        from trainers.tasks.measures import MEASURES, Measure
        from trainers.tasks.task import Metric
        from trainers.tasks.texts import METRICS

        refuse_signature(f"metric {name}", part, f"{name}(outputs, targets)", None, None)
        if name in {metric.name for metric in (*ImageClassification.metrics, *METRICS)}:
            raise ConfigError(f"a metric named {name!r} is there already, of this package's: choose another name")
        shown = Metric(name, title, unit, higher_is_better, decimals=decimals)
        enter("metric", name, Measure(shown, part), MEASURES, version)
        return part

    return register


def task(name: str, *, version: str = "") -> Callable[[TaskT], TaskT]:
    """Registers what is learned: a class derived from `ImageClassification` or `TextTask`, which may have another loss.

    `--set task=smoothed`, or a level of a factor, names it. One with other `metrics` is named by the trainer, too:
    `main(STUDY, lambda: image_trainer(task="rotation"))`.
    """
    _check_name("task", name)

    def register(part: TaskT) -> TaskT:
        from trainers.config.images import ImagesConfig
        from trainers.config.texts import TextsConfig
        from trainers.tasks.images import ImageClassification
        from trainers.tasks.names import TASKS
        from trainers.tasks.texts import TextTask

        derived: Any = part
        if not (isinstance(derived, type) and issubclass(derived, ImageClassification | TextTask)):
            raise ConfigError(f"task {name}: derive a class from ImageClassification, or for texts from TextTask")
        if name in (ImagesConfig.USUAL, TextsConfig.USUAL):
            raise ConfigError(f"a task named {name!r} is there already, of this package's: choose another name")
        if sum(metric.primary for metric in derived.metrics) != 1:
            raise ConfigError(f"task {name}: one of its metrics is the primary one, not {len(derived.metrics)} or none")
        enter("task", name, derived, TASKS, version)
        return part

    return register


def _check_name(kind: str, name: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{kind} {str(name)[:80]!r}: a name is letters, digits, - and _, at most 60 of them")
