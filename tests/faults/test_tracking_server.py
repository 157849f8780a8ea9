"""A real tracking server that is away for a while, answers with errors, or is slow."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from orchestrator.track.tracker import Tracker
from tests.faults import harness
from tests.faults.proxy import Proxy, failing, mlflow_server


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """Before a server of its own."""
    with mlflow_server(f"sqlite:///{tmp_path / 'server.db'}", tmp_path / "kept") as port, failing(port) as made:
        yield made


@pytest.mark.parametrize(("mode", "executor"), [("down", []), ("500", ["--debug"])], ids=["down", "500"])
def test_a_server_away_for_a_while_loses_nothing(
    mode: str, executor: list[str], proxy: Proxy, calm: Path, tmp_path: Path
) -> None:
    process = harness.start_held(tmp_path / "s", *executor, "--tracking-uri", proxy.uri)
    proxy.mode = mode
    harness.let_go(tmp_path / "s")
    harness.wait_for(process, "the tracking store does not take what is written")
    proxy.mode = "pass"
    done = harness.ended(process)
    assert (done.status, done.err) == (0, ""), done
    assert proxy.failed > 1
    assert "View run" not in done.out
    assert "the tracking store answers again" in done.out
    harness.same(tmp_path / "s", calm, proxy.uri)
    again = harness.run_here(tmp_path / "s", "--tracking-uri", proxy.uri)
    assert "All 6 trials are finished already" in again.out
    assert f"MLflow: {proxy.uri}/#/experiments/1/runs?workflowType=machine_learning&" in again.out


def test_an_artifact_that_cannot_be_read_now_is_not_taken_for_one_that_is_not_there(proxy: Proxy) -> None:
    tracker = Tracker(proxy.uri, None)
    experiment = tracker.experiment("some", create=True)
    run = tracker.client.create_run(experiment)
    tracker.client.log_text(run.info.run_id, "there", "here.txt")
    artifacts = run.info.artifact_uri
    assert (tracker.read_text(artifacts, "here.txt"), tracker.read_text(artifacts, "elsewhere.txt")) == ("there", None)
    for mode in ("500", "down", "500 to downloads"):
        proxy.mode = mode
        with pytest.raises((MlflowException, OSError)):
            tracker.read_text(artifacts, "here.txt")
    proxy.mode = "pass"
    assert tracker.read_text(artifacts, "here.txt") == "there"


def test_a_slow_server_holds_up_nothing_but_the_end(proxy: Proxy, calm: Path, tmp_path: Path) -> None:
    proxy.delay = 1.0  # for every answer, more than the trial trains
    done = harness.run_here(tmp_path / "s", "--tracking-uri", proxy.uri, "--debug", "--seeds", "1", "--only", "arm=b")
    assert (done.status, done.err) == (0, ""), done
    ours, expected = harness.table(tmp_path / "s"), harness.table(calm)
    expected = expected[(expected["seed"] == 0) & (expected["arm"] == "b")].reset_index(drop=True)
    harness.pd.testing.assert_frame_equal(ours, expected, check_exact=True)


def test_a_server_away_for_good_ends_the_study_which_can_go_on_later(proxy: Proxy, calm: Path, tmp_path: Path) -> None:
    process = harness.start_held(tmp_path / "s", "--debug", "--tracking-uri", proxy.uri, "--patience", "4")
    proxy.mode = "down"
    harness.let_go(tmp_path / "s")
    done = harness.ended(process)
    assert done.status == 1, done
    assert done.err.startswith("stopped: the tracking store has failed for 4 s")
    assert done.err.count("\n") == 1
    proxy.mode = "pass"
    done = harness.run_here(tmp_path / "s", "--debug", "--tracking-uri", proxy.uri)
    assert (done.status, done.err) == (0, ""), done
    harness.same(tmp_path / "s", calm, proxy.uri)
    proxy.mode = "500 to downloads"
    for command in (["report"], ["extract", "--only", "arm=a", "--sub-model", "w050", "--to", str(tmp_path / "to")]):
        done = harness.run_here(tmp_path / "s", *command, "--tracking-uri", proxy.uri)
        assert (done.status, done.err.count("\n")) == (1, 1), done
        assert done.err.startswith("stopped: ")
    assert not (tmp_path / "to").exists()
