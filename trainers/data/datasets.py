"""Data sets as whole arrays of uint8 images, verified before use; `register` adds another."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trainers.data.images import cifar10, digits
from trainers.data.images.arrays import ImageArrays
from trainers.errors import ConfigError, DataError, place_and_reason, unknown
from trainers.own.parts import enter, loaded


@dataclass(frozen=True)
class Dataset:
    """A data set by name: what can be said without loading it, and how to load it.

    Attributes:
        shape: of one image, (channels, height, width).
        classes: number of classes.
        test_images: number of images that are tested on.
        crop_padding: pixels of zero padding of the random crop that is usual for it.
        flip: whether a mirrored image is still of its class.
        checksum: identifies the content; known before anything is fetched.
        statistics: mean and SD per channel by which images, scaled to 0..1, are normalised.
        fetch: makes sure that the data are there, in a folder if given, and as they should be.
        load: brings the arrays, from a folder if given; fetches what is missing.
        train_images: number of images that are trained on; None: a budget in epochs cannot be reckoned.
    """

    shape: tuple[int, int, int]
    classes: int
    test_images: int
    crop_padding: int
    flip: bool
    checksum: Callable[[], str]
    statistics: Callable[[], tuple[tuple[float, ...], tuple[float, ...]]]
    fetch: Callable[[Path | None], object]
    load: Callable[[Path | None], ImageArrays]
    train_images: int | None = None


DATASETS: dict[str, Dataset] = {
    "cifar10": Dataset(
        shape=(3, 32, 32),
        classes=10,
        test_images=10_000,
        crop_padding=4,
        flip=True,
        checksum=cifar10.checksum,
        statistics=lambda: (cifar10.MEAN, cifar10.STD),
        fetch=cifar10.fetch,
        load=cifar10.load,
        train_images=50_000,
    ),
    "digits": Dataset(
        shape=(1, 16, 16),
        classes=10,
        test_images=digits.TEST_IMAGES,
        crop_padding=2,
        flip=False,
        checksum=digits.checksum,
        statistics=digits.statistics,
        fetch=lambda folder: None,
        load=digits.load,
        train_images=digits.TRAIN_IMAGES,
    ),
}


def register(name: str, source: Dataset) -> None:
    """Makes a data set known by a name, under which a study may ask for it, in this process.

    A study's file does so when it is imported, as workers do, too.

    Raises:
        ConfigError: the name is another's.
    """
    if name in LOADERS:
        raise ConfigError(f"a dataset named {name!r} is there already: choose another name")
    enter("dataset", name, source, DATASETS)


@dataclass(frozen=True)
class Loader:
    """A data set of which nothing is known before it is loaded, as `Dataset` has it."""

    load: Callable[[], ImageArrays]
    crop_padding: int
    flip: bool


LOADERS: dict[str, Loader] = {}
"""Those that a study's own file has registered by what loads them."""


def known_datasets() -> tuple[str, ...]:
    """The names of all."""
    return (*DATASETS, *LOADERS)


def dataset(name: str) -> Dataset:
    """The data set of that name.

    Raises:
        ConfigError: there is none.
        DataError: it loads other data than before.
    """
    if name in LOADERS:
        return _as_loaded(name)
    if name not in DATASETS:
        raise unknown("dataset", name, known_datasets())
    return DATASETS[name]


@lru_cache
def _as_loaded(name: str) -> Dataset:
    """Loads it once."""
    source = LOADERS[name]
    try:
        arrays = source.load()
    except (ConfigError, DataError) as error:
        raise type(error)(f"dataset {name}: {error}") from error
    except Exception as error:  # whatever somebody's own code raises
        raise DataError(f"dataset {name} cannot be loaded: {place_and_reason(error)}") from error
    if not isinstance(arrays, ImageArrays):
        raise ConfigError(f"dataset {name} gives {type(arrays).__name__}: it is to give ImageArrays")
    loaded(name, arrays.checksum)
    channels, height, width = arrays.train_images.shape[1:]
    return Dataset(
        shape=(channels, height, width),
        classes=int(max(arrays.train_labels.max(), arrays.test_labels.max())) + 1,
        test_images=len(arrays.test_images),
        crop_padding=source.crop_padding,
        flip=source.flip,
        checksum=lambda: arrays.checksum,
        statistics=lambda: (arrays.mean, arrays.std),
        fetch=lambda folder: None,
        load=lambda folder: arrays,
        train_images=len(arrays.train_images),
    )
