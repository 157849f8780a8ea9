"""An exported sub-model as ONNX answers as the network, for any number of images."""

from pathlib import Path

import onnxruntime
import pytest
import torch

from tests.conftest import tiny
from tests.trainers.test_export import finished
from trainers.data.images.arrays import ImageArrays
from trainers.errors import DataError
from trainers.extraction import onnx_program
from trainers.extraction.export import export, load


def test_it_answers_as_the_network_whatever_the_number_of_images(digits: ImageArrays, tmp_path: Path) -> None:
    config = tiny(norm="instance", updates=2, evaluations=1)
    export(config, finished(config, digits, tmp_path / "trial"), "w050", tmp_path / "out")
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    network = load(tmp_path / "out")
    for count in (1, 7):
        images = torch.randn(count, 1, 16, 16)
        (scores,) = session.run(["scores"], {"images": images.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(scores), network(images))


def test_what_answers_otherwise_is_refused_and_taken_away(
    digits: ImageArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(norm="instance", updates=2, evaluations=1)
    weights, run = finished(config, digits, tmp_path / "trial"), onnxruntime.InferenceSession.run

    def wrong(self: object, *given: object) -> list[object]:
        return [1.1 * scores for scores in run(self, *given)]

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", wrong)
    with pytest.raises(DataError, match=r"model\.onnx would answer otherwise than the network"):
        export(config, weights, "w050", tmp_path / "out")
    assert not (tmp_path / "out" / "model.onnx").exists()
    assert not (tmp_path / "out" / "config.json").exists()  # so that nothing there can be loaded
    monkeypatch.setattr(onnx_program, "find_spec", lambda package: None)
    export(config, weights, "w050", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.json", "model.pt2", "model.safetensors"}
