"""What the fault harness itself promises."""

from pathlib import Path

from tests.faults import harness


def test_what_a_failed_test_has_left_is_ended(tmp_path: Path) -> None:
    script = tmp_path / "forever.py"
    script.write_text("import time; print('up', flush=True); time.sleep(3600)")
    process = harness.start(tmp_path, script=script)
    harness.wait_for(process, "up")
    harness.end_all()
    assert process.returncode == -9
    assert process.stdout is not None
    assert process.stdout.closed
