"""Streams of trials side by side, from a pool that hands the same ones out again."""

from itertools import cycle

import pytest
import torch

from trainers.devices.cuda import own_stream

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def _pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams of handles that come round, as torch's do."""
    handles = cycle(range(1, 4))

    class Stream:
        def __init__(self, device: torch.device) -> None:
            self.cuda_stream = next(handles)

    monkeypatch.setattr(torch.cuda, "Stream", Stream)


def test_a_stream_is_nobody_elses_until_it_is_dropped() -> None:
    first, *others = (own_stream(CUDA) for _ in range(3))
    assert len({stream.cuda_stream for stream in (first, *others)}) == 3
    with pytest.raises(RuntimeError, match="side by side"):
        own_stream(CUDA)
    handle = first.cuda_stream
    del first
    assert own_stream(CUDA).cuda_stream == handle


def test_an_ended_trial_that_only_the_garbage_collector_finds_gives_its_streams_back() -> None:
    trial: dict[str, object] = {"streams": [own_stream(CUDA) for _ in range(3)]}
    trial["itself"] = trial
    del trial
    assert own_stream(CUDA).cuda_stream in (1, 2, 3)
