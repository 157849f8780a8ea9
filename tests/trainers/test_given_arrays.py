"""Arrays of somebody's own: those that can be trained on are, whatever holds them; others are a line that says why."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainers import ImageArrays
from trainers.errors import ConfigError

RNG = np.random.default_rng(0)
IMAGES: NDArray[np.uint8] = RNG.integers(0, 256, size=(12, 3, 8, 10), dtype=np.uint8)
LABELS = np.arange(12) % 3


def given(images: Any = IMAGES, labels: Any = LABELS, test_images: Any = IMAGES, test_labels: Any = LABELS) -> Any:
    return ImageArrays.of(images, labels, test_images, test_labels)


def mapped(folder: Path) -> NDArray[Any]:
    np.save(folder / "images.npy", IMAGES)
    return np.load(folder / "images.npy", mmap_mode="r")  # type: ignore[no-any-return]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


IMAGES_THAT_ARE_TAKEN: dict[str, Callable[[Path], Any]] = {
    "read-only": lambda folder: read_only(IMAGES),
    "memory-mapped": mapped,
    "of bytes": lambda folder: np.frombuffer(IMAGES.tobytes(), np.uint8).reshape(IMAGES.shape),
    "a view that runs backwards": lambda folder: IMAGES[::-1].copy()[::-1],
    "transposed": lambda folder: np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "in Fortran's order": lambda folder: np.asfortranarray(IMAGES),
    "every other of more": lambda folder: np.repeat(IMAGES, 2, axis=0)[::2],
    "a list of images": lambda folder: list(IMAGES),
    "int64 from 0 to 255": lambda folder: IMAGES.astype(np.int64),
    "of another byte order": lambda folder: IMAGES.astype(">u2"),
    "a tensor": lambda folder: torch.from_numpy(IMAGES.copy()),
    "a tensor, channels last": lambda folder: torch.tensor(IMAGES).contiguous(memory_format=torch.channels_last),
    "a tensor, transposed": lambda folder: torch.from_numpy(IMAGES.transpose(0, 2, 3, 1).copy()).permute(0, 3, 1, 2),
    "a sparse tensor": lambda folder: torch.from_numpy(IMAGES.copy()).to_sparse(),
}  # fmt: skip
LABELS_THAT_ARE_TAKEN: dict[str, Any] = {
    "int32": LABELS.astype(np.int32),
    "uint8": LABELS.astype(np.uint8),
    "uint64": LABELS.astype(np.uint64),
    "of another byte order": LABELS.astype(">i4"),
    "read-only": read_only(LABELS),
    "broadcast and backwards": LABELS[::-1].copy()[::-1],
    "whole, as floats": LABELS.astype(np.float32),
    "a list": LABELS.tolist(),
    "a tensor": torch.tensor(LABELS.tolist(), dtype=torch.int32),
    "a tensor that learns": torch.tensor(LABELS.tolist(), dtype=torch.bfloat16, requires_grad=True),
}


@pytest.mark.parametrize("case", IMAGES_THAT_ARE_TAKEN)
def test_the_same_images_are_the_same_data_whatever_holds_them(case: str, tmp_path: Path) -> None:
    usual, other = given(), given(IMAGES_THAT_ARE_TAKEN[case](tmp_path))
    assert torch.equal(usual.train_images, other.train_images)
    assert other.train_images.is_contiguous()
    assert (usual.checksum, usual.mean, usual.std) == (other.checksum, other.mean, other.std)


@pytest.mark.parametrize("case", LABELS_THAT_ARE_TAKEN)
def test_so_are_the_same_labels(case: str) -> None:
    usual, other = given(), given(labels=LABELS_THAT_ARE_TAKEN[case])
    assert torch.equal(usual.train_labels, other.train_labels)
    assert usual.checksum == other.checksum


def test_one_image_broadcast_is_as_many(tmp_path: Path) -> None:
    found = given(np.broadcast_to(IMAGES[:1], IMAGES.shape))
    assert torch.equal(found.train_images, torch.from_numpy(np.repeat(IMAGES[:1], 12, axis=0)))


def test_what_is_given_may_be_changed_afterwards_by_nobody_who_trains() -> None:
    arrays = given(frozen := read_only(IMAGES))
    arrays.train_images.zero_()
    assert np.array_equal(frozen, IMAGES)


with_nan = IMAGES.astype(np.float32)
with_nan[3, 0, 0, 0] = np.nan
one_too_far = LABELS.copy()
one_too_far[4] = 5000
negative = LABELS.copy()
negative[5] = -1
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "floats from 0 to 1": ({"images": (IMAGES / 255).astype(np.float32)}, r"the training images are float32 from 0 to "
        r"1: give uint8 from 0 to 255, \(255 \* images\)\.round\(\)\.astype\(np\.uint8\)"),
    "floats from 0 to 255": ({"images": IMAGES.astype(float)}, r"float64 from 0 to 255: .*, images\.round\(\)\.astype"),
    "normalised": ({"images": IMAGES / 127.5 - 1}, "float64 from -1 to 1: give uint8 from 0 to 255$"),
    "half precision of torch's": ({"images": torch.rand(2, 3, 8, 8).half()}, "are float32 from .*: give uint8"),
    "NaN": ({"images": with_nan}, "the training images are not finite everywhere"),
    "too large": ({"images": IMAGES.astype(np.int16) + 1}, "int16 from 1 to 256: give uint8 from 0 to 255"),
    "yes or no": ({"images": IMAGES > 9}, "the training images are bool: give uint8"),
    "complex": ({"images": IMAGES.astype(complex)}, "the training images are complex128: give uint8"),
    "channels last": ({"test_images": IMAGES.transpose(0, 2, 3, 1)}, r"the test images are \(12, 8, 10, 3\): channels "
        r"come before height and width, give images\.transpose\(0, 3, 1, 2\)"),
    "channels last, of torch": ({"images": torch.zeros(9, 28, 28, 1, dtype=torch.uint8)}, r"\.permute\(0, 3"),
    "without channels": ({"images": IMAGES[:, 0]}, r"are \(12, 8, 10\): they have no channels, give images\[:, None\]"),
    "flat": ({"images": IMAGES.reshape(12, -1)}, r"are \(12, 240\): give \(N, C, H, W\), as by images\.reshape"),
    "of several sizes": ({"images": [IMAGES[0], IMAGES[1, :, :4]]}, "the training images are no array: "),
    "no images": ({"images": IMAGES[:0], "labels": []}, r"are \(0, 3, 8, 10\): there is nothing in them"),
    "no test images": ({"test_images": IMAGES[:0], "test_labels": []}, "the test images are"),
    "no height": ({"images": IMAGES[:, :, :0]}, "there is nothing in them"),
    "nothing at all": ({"images": None}, r"the training images are \(\): give"),
    "masked": ({"images": np.ma.masked_greater(IMAGES, 200)}, "some of the training images are masked"),
    "other test images": ({"test_images": IMAGES[:, :1]}, r"training images are \(3, 8, 10\) each and test images "
        r"\(1, 8, 10\)"),
    "a label below 0": ({"labels": negative}, "training labels are to be whole numbers from 0: that of image 5 is -1"),
    "half a label": ({"test_labels": LABELS + 0.5}, r"test labels are to be whole .*: that of image 0 is 0\.5"),
    "no number": ({"labels": np.where(LABELS > 1, np.nan, LABELS)}, "that of image 2 is nan"),
    "beyond any class": ({"labels": one_too_far}, "labels go up to 5000, of 24 images: number classes from 0 without"),
    "beyond any integer": ({"labels": LABELS + 2.0**70}, "that of image 0 is 1.18"),
    "one-hot": ({"labels": np.eye(3)[LABELS]}, r"the training labels are \(12, 3\): .*labels\.argmax\(1\)"),
    "a column": ({"labels": LABELS[:, None]}, r"the training labels are \(12, 1\): give \(N,\), as by labels\.reshape"),
    "names": ({"labels": np.array(["a", "b", "c"])[LABELS]}, "the training labels are no numbers: give np.unique"),
    "dates": ({"labels": LABELS.astype("datetime64[s]")}, r"the training labels are datetime64\[s\]"),
    "fewer labels": ({"labels": LABELS[:-1]}, "the training labels are 11 for 12 images: give one for each"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_on_is_one_line(case: str) -> None:
    arguments, said = REFUSED[case]
    with pytest.raises(ConfigError, match=said) as refused:
        given(**arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("shape", [(4, 16, 1, 1), (4, 32, 4, 4), (4, 3, 28, 3), (4, 1, 64, 64), (4, 2, 8, 3)])
def test_unusual_shapes_are_taken_where_they_cannot_be_another_order(shape: tuple[int, ...]) -> None:
    images = np.zeros(shape, np.uint8)
    assert given(images, LABELS[:4], images, LABELS[:4]).train_images.shape == shape
