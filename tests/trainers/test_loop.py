"""What a trial does and how it resumes. `resuming` stops a generator anywhere, as a killed process would."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import FOUR, tiny
from trainers.building.image_costs import network_counter
from trainers.config.image_trial import ImageTrialConfig
from trainers.data.images.arrays import ImageArrays
from trainers.randomness import stream
from trainers.sampling.names import sampler
from trainers.sampling.sampler import Moment
from trainers.tasks.images import ImageClassification
from trainers.training.loop import Snapshot
from trainers.trials.images import train

CPU = torch.device("cpu")


def to_the_end(
    config: ImageTrialConfig, data: ImageArrays, folder: Path, resume_from: Path | None = None
) -> list[Snapshot]:
    """Trains on; the last snapshot is saved into `folder`."""
    evaluated = []
    for snapshot in train(config, 3, data, CPU, resume_from):
        if snapshot.metrics:
            evaluated.append(snapshot)
        if snapshot.final:
            folder.mkdir()
            snapshot.save(folder)
    return evaluated


RESUMED = [
    {"method": "SortedNet", "norm": "instance"},
    {"method": "NS", "norm": "batch-switchable"},
    {"method": "LCS-p", "norm": "batch", "equalize": "passes"},
    {"method": "SortedNet", "norm": "batch-switchable", "accumulation": 2},
    {"method": "SortedNet", "norm": "batch-recalibrated", "objective": "stochastic-summation", "equalize": "macs"},
    {"method": "Independent", "norm": "group", "updates": 4},
    {"method": "SortedNet", "norm": "batch", "precision": "bf16"},
    {"method": "SortedNet", "norm": "instance", "precision": "bf16"},
    {"method": "LCS-l", "norm": "instance", "updates": 6},
    {"method": "US-distilled", "norm": "batch-recalibrated", "updates": 6},
    {"method": "Extracted-tuned", "norm": "batch", "equalize": "passes", "updates": 6},
    {"sampler": "adaptive(0.05)", "distillation": "in-place", "norm": "layer"},
    {"sampler": "annealed(largest)", "equalize": "macs", "updates": 6},
    {"network": "mobilenet_v2", "widths": [0.5, 1.0], "depths": [1, 10], "norm": "batch", "updates": 6},
]


@pytest.mark.parametrize("settings", RESUMED, ids=lambda s: "-".join(map(str, s.values())))
def test_a_trial_stopped_anywhere_and_resumed_ends_bit_for_bit_the_same(
    settings: dict[str, object], few: ImageArrays, tmp_path: Path
) -> None:
    config = tiny(**{"batch_size": 6, **settings})
    whole, kept, found = to_the_end(config, few, tmp_path / "whole"), None, list[Snapshot]()
    for stop in sorted(random.Random(0).sample(range(1, whole[-1].step), 2)):
        for snapshot in train(config, 3, few, CPU, kept):
            found += [snapshot] if snapshot.metrics else []
            if snapshot.step == stop:
                kept = tmp_path / f"kept-{stop}"
                kept.mkdir()
                snapshot.save(kept)
                break
    end = tmp_path / "end"
    found += to_the_end(config, few, end, resume_from=kept)
    assert [s.metrics for s in found] == [s.metrics for s in whole]
    for name in ("weights.safetensors", "momentum.safetensors"):
        expected, ended = load_file(tmp_path / "whole" / name), load_file(end / name)
        assert expected.keys() == ended.keys()
        assert all(torch.equal(expected[key], ended[key]) for key in expected), name
    assert json.loads((end / "state.json").read_text()) == json.loads((tmp_path / "whole" / "state.json").read_text())


@pytest.mark.usefixtures("restless")
def test_trials_side_by_side_in_one_process_end_as_alone(few: ImageArrays) -> None:
    """As on the streams of one GPU."""
    methods = ("NS", "LCS-p", "SortedNet", "LCS-p")
    configs = [tiny(method=method, norm="batch", updates=6, batch_size=6, precision="bf16") for method in methods]

    def ended(config: ImageTrialConfig) -> dict[str, float]:
        *_, last = train(config, 3, few, CPU)
        return last.metrics

    network_counter.cache_clear()  # so that they count at once
    with ThreadPoolExecutor(len(configs)) as trials:
        together = list(trials.map(ended, configs))
    network_counter.cache_clear()  # and anew
    assert together == [ended(config) for config in configs]


def test_independent_is_each_network_trained_alone(few: ImageArrays, tmp_path: Path) -> None:
    to_the_end(tiny(method="Independent", updates=4, evaluations=1), few, tmp_path / "all")
    together = load_file(tmp_path / "all" / "weights.safetensors")
    alone = tiny(sharing="separate", sampler="fixed(w050)", objective="stochastic-loss", updates=4, evaluations=1)
    to_the_end(alone, few, tmp_path / "one")
    for name, tensor in load_file(tmp_path / "one" / "weights.safetensors").items():
        if name.startswith("networks.w050."):
            assert torch.equal(tensor, together[name]), name


def test_ns_trains_every_width_on_the_same_images(few: ImageArrays) -> None:
    *_, last = train(tiny(method="NS", updates=5), 0, few, CPU)
    assert [last.metrics[f"updates/{label}"] for label in ("w025", "w050", "w075", "w100")] == [5, 5, 5, 5]
    assert (last.metrics["ledger/updates"], last.metrics["ledger/passes"]) == (5, 20)


def test_accumulation_averages_micro_batches_of_their_own(few: ImageArrays) -> None:
    *_, last = train(tiny(accumulation=3, updates=4), 0, few, CPU)
    assert (last.step, last.metrics["ledger/passes"], last.metrics["ledger/samples"]) == (4, 12, 12 * 16)


def test_a_trial_learns(digits: ImageArrays) -> None:
    *_, last = train(
        tiny(norm="batch-switchable", method="NS", updates=60, batch_size=32, learning_rate=0.1, evaluations=1),
        0,
        digits,
        CPU,
    )
    assert all(last.metrics[f"test_acc/{target.label}"] > 35 for target in FOUR)  # chance is 10


def test_divergence_ends_the_trial_and_is_said(few: ImageArrays) -> None:
    *_, last = train(tiny(learning_rate=1e6, updates=200, batch_size=4, evaluations=1), 0, few, CPU)
    assert last.diverged
    assert last.final
    assert last.step < 200


def test_batches_are_a_function_of_seed_and_index_whatever_the_arm(digits: ImageArrays) -> None:
    one = ImageClassification(digits, 16, 5, CPU, 2, False)
    other = ImageClassification(digits, 16, 5, CPU, 2, False, channels_last=True)
    for index in (0, 3, 89, 90, 200, 1):  # across the end of an epoch, and back
        a, b = one.gather(one.selection(index)), other.gather(other.selection(index))
        assert torch.equal(a["inputs"], b["inputs"])
        assert torch.equal(a["targets"], b["targets"])
    another = ImageClassification(digits, 16, 6, CPU, 2, False)
    assert not torch.equal(one.gather(one.selection(0))["inputs"], another.gather(another.selection(0))["inputs"])


def test_an_epoch_shows_every_image_once_cropped_as_a_shifted_copy(digits: ImageArrays) -> None:
    count = len(digits.train_labels)
    task = ImageClassification(digits, count, 0, CPU, 0, False)
    labels = task.gather(task.selection(0))["targets"]
    assert torch.equal(labels.bincount(), digits.train_labels.bincount())
    padded = torch.nn.functional.pad(digits.train_images, (2, 2, 2, 2))
    shifted = [
        {padded[n, 0, y : y + 16, x : x + 16].numpy().tobytes() for y in range(5) for x in range(5)} for n in range(20)
    ]
    cropped = ImageClassification(digits, count, 0, CPU, 2, False)
    pixels = cropped.gather(cropped.selection(0))["inputs"] * (255 * digits.std[0]) + 255 * digits.mean[0]
    crops = {image.round().to(torch.uint8).numpy().tobytes() for image in pixels}
    assert all(crops & its_own for its_own in shifted)  # the first 20 images, each as one of its 25 crops


def test_a_batch_is_padded_mirrored_and_cropped_as_its_random_numbers_say(digits: ImageArrays) -> None:
    count, padding = len(digits.train_labels), 2
    task = ImageClassification(digits, 32, 7, CPU, padding, flip=True)
    augment = stream(7, "augmentation", 0)
    mirrored = augment.integers(2, size=count)
    down, right = augment.integers(2 * padding + 1, size=(2, count))
    order = stream(7, "order", 0).permutation(count)
    pixels = task.gather(task.selection(1))["inputs"] * (255 * digits.std[0]) + 255 * digits.mean[0]
    for place, pixel in enumerate(pixels.round().to(torch.uint8), start=32):
        image = torch.nn.functional.pad(digits.train_images[order[place]], (padding,) * 4)
        image = image.flip(2) if mirrored[place] else image
        y, x = down[place], right[place]
        assert torch.equal(pixel, image[:, y : y + 16, x : x + 16])
    assert 0 < mirrored[32:64].sum() < 32


def test_a_state_of_another_network_is_refused(few: ImageArrays, tmp_path: Path) -> None:
    to_the_end(tiny(updates=1, evaluations=1), few, tmp_path / "nested")
    with pytest.raises(ValueError, match="no usable training state"):
        next(train(tiny(method="Independent"), 0, few, CPU, tmp_path / "nested"))


def test_the_ledger_holds_the_draws_of_the_sampler(few: ImageArrays) -> None:
    *_, last = train(tiny(updates=16, evaluations=1), 3, few, CPU)
    moment = Moment(FOUR, lambda _: 1)
    drawn = [sampler("uniform").sample(stream(3, "sub-models", index), moment)[0] for index in range(16)]
    assert len(set(drawn)) > 1
    assert all(last.metrics[f"updates/{target.label}"] == drawn.count(target) for target in FOUR)
