"""Real 8×8 handwritten digits that come with scikit-learn: no network needed, seconds to train on.

Every pixel is doubled to 16×16: on 8×8 the last stage of a CIFAR network sees 2×2, where InstanceNorm has no say.
"""

import hashlib
import math
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.data.images.arrays import ImageArrays

TRAIN_IMAGES, TEST_IMAGES = 1_437, 360  # the last ones, written by other people than the first


@lru_cache(maxsize=1)
def _arrays() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    # Read where it lies: scikit-learn takes as long to import as torch, in the driver and in every worker.
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the digits come with scikit-learn: pip install scikit-learn")
    rows = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    small = np.asarray(rows[:, :-1] * (255 / 16), dtype=np.uint8).reshape(-1, 1, 8, 8)
    images = small.repeat(2, axis=2).repeat(2, axis=3)
    return images, rows[:, -1].astype(np.int64)


def checksum() -> str:
    """SHA-256 over pixels and labels."""
    images, labels = _arrays()
    return hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()


def load(folder: Path | None) -> ImageArrays:
    """1,437 training and 360 test images `(1, 16, 16)`; the folder is not used."""
    images, labels = (torch.from_numpy(array) for array in _arrays())
    parts = images[:-TEST_IMAGES], labels[:-TEST_IMAGES], images[-TEST_IMAGES:], labels[-TEST_IMAGES:]
    return ImageArrays(*parts, *statistics(), checksum())


def statistics() -> tuple[tuple[float], tuple[float]]:
    """Mean and SD of the training pixels, scaled to 0..1; of whole numbers, so they depend on no number of threads."""
    pixels = _arrays()[0][:-TEST_IMAGES].astype(np.int64)
    mean = int(pixels.sum()) / pixels.size
    variance = int((pixels**2).sum()) / pixels.size - mean**2
    return (mean / 255,), (math.sqrt(variance) / 255,)
