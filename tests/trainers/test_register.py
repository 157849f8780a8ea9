"""Registering parts of a study's own: they are found by name, and what cannot work is refused at once, in a line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.conftest import FOUR, tiny
from tests.trainers.own_tables import put_back
from trainers import ImageArrays, Lattice, Moment, SubModel, register
from trainers.data.datasets import DATASETS, dataset
from trainers.errors import ConfigError, DataError
from trainers.own.parts import OWN, code, loaded
from trainers.own.travelling import OwnParts
from trainers.sampling.names import sampler
from trainers.tasks.images import ImageClassification
from trainers.tasks.measures import measures
from trainers.tasks.names import task_class
from trainers.tasks.task import Metric
from trainers.tasks.texts import TextTask

MOMENT = Moment(FOUR, lambda sub_model: int(100 * sub_model["width"]))


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    with put_back():
        yield


def chances(text: str) -> list[float]:
    return [chance for _, chance in sampler(text).expectation(MOMENT)]


def test_a_function_that_weighs_the_targets_is_a_sampler_with_arguments() -> None:
    @register.sampler("power")
    def power(moment: Moment, exponent: float = 1.0, least: int = 0) -> list[float]:
        return [max(least, moment.macs(target)) ** exponent for target in moment.lattice]

    assert chances("power") == [0.1, 0.2, 0.3, 0.4]
    assert chances("power(0)") == [0.25] * 4
    assert chances("power(1, 100)") == [0.25] * 4
    for text, said in {
        "power(x)": "finite number",
        "power(1,2,3)": "from 0 to 2 arguments",
        "power(1,.5)": "whole",
    }.items():
        with pytest.raises(ConfigError, match=said):
            sampler(text)
    assert tiny(sampler="power(2)").method.sampler == "power(2)"
    assert power(MOMENT) == [25, 50, 75, 100]  # still the function


def test_a_class_of_samplers_draws_as_it_likes() -> None:
    @register.sampler("ends")
    class Ends:
        draws, continuous, needs_gaps = 2, False, False

        def __init__(self, times: int) -> None:
            self.times = times

        def sample(self, rng: np.random.Generator, moment: Moment) -> tuple[SubModel, ...]:
            return (moment.lattice.largest, moment.lattice.smallest) * self.times

        def expectation(self, moment: Moment) -> tuple[tuple[SubModel, float], ...]:
            return tuple((each, float(self.times)) for each in (moment.lattice.largest, moment.lattice.smallest))

    assert len(sampler("ends(2)").sample(np.random.default_rng(0), MOMENT)) == 4
    with pytest.raises(ConfigError, match="takes 1 arguments, not 0"):
        sampler("ends")
    with pytest.raises(ConfigError, match=r"sampler=ends.* draws more"):
        tiny(sampler="ends(1)")


@pytest.mark.parametrize("weights", [[1.0, 2.0], [1.0, 1.0, 1.0, -1.0], [0.0] * 4, [1.0, 1.0, 1.0, float("nan")]])
def test_weights_that_are_none_are_refused_before_anything_trains(weights: list[float]) -> None:
    @register.sampler("wrong")
    def wrong(moment: Moment) -> list[float]:
        return weights

    with pytest.raises(ConfigError, match="sampler wrong weighs the 4 targets as") as refused:
        tiny(sampler="wrong")
    assert "\n" not in str(refused.value)


def test_an_objective_gives_what_is_trained_and_may_be_of_any_number_of_sub_models() -> None:
    @register.objective("with-smallest")
    def with_smallest(drawn: tuple[SubModel, ...], lattice: Lattice) -> tuple[SubModel, ...]:
        return (*drawn, lattice.smallest)

    @register.objective("nothing")
    def nothing(drawn: tuple[SubModel, ...], lattice: Lattice) -> tuple[SubModel, ...]:
        return ()

    assert tiny(objective="with-smallest", sampler="all").method.objective == "with-smallest"
    with pytest.raises(ConfigError, match="objective nothing gives"):
        tiny(objective="nothing")


def test_a_data_set_is_what_its_function_loads_and_known_by_that() -> None:
    calls = []

    @register.dataset("squares", flip=True)
    def squares() -> ImageArrays:
        calls.append(1)
        pixels: NDArray[np.uint8] = np.arange(6 * 2 * 16, dtype=np.uint8).reshape(6, 2, 4, 4)
        return ImageArrays.of(pixels, np.array([0, 1, 2] * 2), torch.from_numpy(pixels[:3]), torch.tensor([0, 1, 2]))

    assert not calls  # nothing is loaded before it is asked for
    source = dataset("squares")
    assert (source.shape, source.classes, source.test_images, source.train_images) == ((2, 4, 4), 3, 3, 6)
    assert (source.flip, source.crop_padding) == (True, 0)
    arrays = source.load(None)
    assert len(calls) == 1
    scaled = arrays.train_images.double() / 255
    assert arrays.mean == pytest.approx(scaled.mean((0, 2, 3)).tolist(), abs=1e-4)
    assert arrays.std == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist(), abs=1e-4)
    other = ImageArrays.of(arrays.train_images + 1, arrays.train_labels, arrays.test_images, arrays.test_labels)
    relabelled = ImageArrays.of(arrays.train_images, arrays.train_labels, arrays.test_images, torch.tensor([1, 1, 2]))
    assert len({arrays.checksum, other.checksum, relabelled.checksum}) == 3
    loaded("squares", arrays.checksum)
    with pytest.raises(DataError, match="dataset squares does not load the same data every time"):
        loaded("squares", other.checksum)


def test_what_gives_no_images_is_refused_with_its_name() -> None:
    @register.dataset("text")
    def text() -> Any:
        return "no images"

    with pytest.raises(ConfigError, match="dataset text gives str: it is to give ImageArrays"):
        dataset("text")

    @register.dataset("floats")
    def floats() -> ImageArrays:
        return ImageArrays.of(np.zeros((2, 1, 4, 4)), [0, 1], np.zeros((2, 1, 4, 4)), [0, 1])

    with pytest.raises(ConfigError, match="dataset floats: the training images are float64 from 0 to 0: give uint8"):
        dataset("floats")

    @register.dataset("elsewhere")
    def elsewhere() -> ImageArrays:
        return ImageArrays.of(*np.load("nowhere.npz").values())

    with pytest.raises(
        DataError, match=r"dataset elsewhere cannot be loaded: FileNotFoundError: .*nowhere\.npz"
    ) as gone:
        dataset("elsewhere")
    line = elsewhere.__code__.co_firstlineno + 2
    assert str(gone.value).endswith(f", raised at test_register.py, line {line}")


def test_a_metric_is_measured_of_the_whole_test_set_beside_the_task_s_own(few: ImageArrays) -> None:
    @register.metric("mistakes", title="test mistakes", higher_is_better=False, decimals=0)
    def mistakes(outputs: Tensor, targets: Tensor) -> Tensor:
        assert outputs.dtype == torch.float32
        return (outputs.argmax(1) != targets).sum()

    chosen = measures(["mistakes"])
    task = ImageClassification(few, 16, 0, torch.device("cpu"), 0, False, measures=chosen, primary="mistakes")
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    from trainers.training.graphs import Graphs

    found = task.evaluate(network, Graphs(None), "all")
    assert found.keys() == {"acc", "loss", "mistakes"}
    assert found["mistakes"] == pytest.approx(len(few.test_labels) * (1 - found["acc"] / 100))
    assert [metric.name for metric in task.metrics if metric.primary] == ["mistakes"]
    assert [metric.name for metric in ImageClassification.metrics if metric.primary] == ["acc"]
    with pytest.raises(ConfigError, match="unknown metric 'mistake': did you mean 'mistakes'"):
        measures(["mistake"])


def test_a_task_is_a_kind_of_the_usual_one() -> None:
    @register.task("other")
    class Other(ImageClassification):
        pass

    assert tiny(task="other").task.name == "other"
    assert tiny(task="classification") == tiny()
    with pytest.raises(ConfigError, match="task other is no TextTask"):
        task_class("other", TextTask)
    with pytest.raises(ConfigError, match="unknown task 'others': did you mean 'other'"):
        tiny(task="others")


def by_name(kind: str, name: str) -> Any:
    return getattr(register, kind)(name, **({"title": "x"} if kind == "metric" else {}))


class Plain(ImageClassification):
    pass


class Two(ImageClassification):
    metrics = (Metric("one", "", "", True, primary=True), Metric("other", "", "", True, primary=True))


@pytest.mark.parametrize(
    ("kind", "name", "part", "said"),
    [
        ("sampler", "uniform", lambda moment: [1], "a sampler named 'uniform' is there already, of this package's"),
        ("objective", "sum", lambda drawn, lattice: drawn, "an? objective named 'sum' is there already"),
        ("network", "resnet18", lambda shape, classes: None, "named 'resnet18' is there already"),
        ("dataset", "digits", lambda: None, "named 'digits' is there already"),
        ("metric", "acc", lambda outputs, targets: 1.0, "named 'acc' is there already"),
        ("task", "classification", Plain, "named 'classification' is there already"),
        ("sampler", "two words", lambda moment: [1], "a name is letters, digits, - and _"),
        ("dataset", "", lambda: None, "a name is letters, digits, - and _"),
        ("sampler", "of-nothing", lambda: [1], "its first parameter is the moment"),
        ("sampler", "untyped", lambda moment, power: [1], "its parameter power must be annotated as float, int or str"),
        ("sampler", "half", type("Half", (), {"draws": 1}), "it lacks continuous, needs_gaps, sample, expectation"),
        ("objective", "alone", lambda drawn: drawn, r"objective alone: it is called as alone\(drawn, lattice\)"),
        (
            "network",
            "net",
            lambda shape: None,
            r"network net: it is called as net\(\(channels, height, width\), classes",
        ),
        ("dataset", "data", lambda folder: None, r"dataset data: it is called as data\(\)"),
        ("metric", "m", lambda outputs: 1.0, r"metric m: it is called as m\(outputs, targets\)"),
        ("task", "t", nn.Module, "task t: derive a class from ImageClassification"),
        ("task", "t", Two, "task t: one of its metrics is the primary one"),
    ],
)
def test_what_cannot_be_registered_is_refused_in_a_line(kind: str, name: str, part: Any, said: str) -> None:
    before = dict(OWN)
    with pytest.raises(ConfigError, match=said) as refused:
        by_name(kind, name)(part)
    assert "\n" not in str(refused.value)
    assert before == OWN


def test_a_name_is_given_once_but_for_the_same_part_imported_again() -> None:
    for _ in range(2):
        register.sampler("once")(lambda moment: [1.0])  # the same statement

    with pytest.raises(
        ConfigError, match=r"a sampler named 'once' is there already, registered in .*test_register\.py"
    ):
        exec("register.sampler('once')(lambda moment: [2.0])", {"register": register})


def test_what_is_known_of_its_own_parts_is_that_of_those_that_a_trial_uses() -> None:
    register.sampler("one")(lambda moment: [1.0] * 4)
    register.sampler("other")(lambda moment: [2.0] * 4)
    register.dataset("data")(lambda: None)  # type: ignore[type-var]
    assert list(code([("sampler", "one"), ("sampler", "uniform"), ("dataset", "data")])) == ["sampler one"]
    assert tiny(sampler="one").names[0] == ("sampler", "one")
    assert tiny(sampler="fixed(w050)").names == (
        ("sampler", "fixed"), ("objective", "stochastic-loss"), ("network", "cpreresnet20"), ("dataset", "digits"),
    )  # fmt: skip


def test_a_version_stands_for_the_source() -> None:
    register.sampler("one", version="1")(lambda moment: [1.0] * 4)
    register.objective("one", version="1")(lambda drawn, lattice: drawn)
    register.sampler("two", version="2")(lambda moment: [1.0] * 4)
    assert OWN["sampler", "one"].digest == OWN["objective", "one"].digest != OWN["sampler", "two"].digest


def test_what_has_no_source_needs_a_version_once_a_trial_names_it() -> None:
    names = {"register": register, "__name__": "typed in"}
    exec("register.sampler('typed')(lambda moment: [1.0] * 4)", names)
    assert chances("typed") == [0.25] * 4
    with pytest.raises(ConfigError, match=r'sampler typed: its source cannot be read .* say version="1"'):
        code([("sampler", "typed")])
    exec("register.sampler('known', version='1')(lambda moment: [1.0] * 4)", names)
    assert code([("sampler", "known")])


GUARDED = """
from trainers import register
if __name__ == "__main__":
    register.sampler("late")(lambda moment: [1.0])
"""
UNGUARDED = """
from trainers import register
def main(study, trainer): pass
register.sampler("late")(lambda moment: [1.0])
main(None, None)
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GUARDED, 'sampler late is registered below if __name__ == "__main__":, which workers do not run'),
        (UNGUARDED, "line 5: main(…) is called by whoever imports the file, as workers do"),
    ],
)
def test_what_workers_would_not_have_is_refused_where_it_is_registered(text: str, said: str, tmp_path: Any) -> None:
    (tmp_path / "study.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-X", "utf8", tmp_path / "study.py"], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]


def test_a_file_that_is_named_from_its_folder_is_found_from_any(tmp_path: Any) -> None:
    (tmp_path / "study.py").write_text("from trainers import register\nregister.sampler('a')(lambda moment: [1.0])\n")
    code = (
        "import runpy\nrunpy.run_path('study.py', run_name='__main__')\n"
        "from trainers.own.travelling import OwnParts\nprint(OwnParts.here().files[0][0])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).samefile(tmp_path / "study.py")
    assert Path(done.stdout.strip()).is_absolute()


def test_another_process_has_what_is_registered_here_or_says_what_it_lacks() -> None:
    register.sampler("one")(lambda moment: [1.0] * 4)
    brought = OwnParts.here()
    brought.install()  # it is this process: nothing to do
    assert brought.modules == (__name__,)
    with put_back():
        del OWN["sampler", "one"]
        with pytest.raises(
            ConfigError, match=r"sampler one of .*test_register came out otherwise where the trial runs"
        ):
            replace(brought, files=()).install()


def test_what_a_study_s_file_brings_does_not_take_torch_to_say_so() -> None:
    code = (
        "import sys\nfrom trainers import register\n"
        "register.sampler('a', version='1')(lambda moment: [1.0])\n"
        "register.objective('a', version='1')(lambda drawn, lattice: drawn)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_built_in_data_sets_are_none_of_them() -> None:
    assert not {name for kind, name in OWN if kind == "dataset"} & DATASETS.keys()
