"""Standard streams that are closed, full or left by their reader, terminals that go, encodings that lack characters."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.faults import harness
from tests.faults.terminal import Terminal

LOST = {
    "its reader leaves": '"$@" | head -1; exit ${PIPESTATUS[0]}',
    "all are closed": 'exec "$@" <&- >&- 2>&-',
    "the disk is full": 'exec "$@" > /dev/full 2> /dev/full',
}
PLAIN = {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def shell(line: str) -> tuple[str, ...]:
    """Words before a command that has the shell run it as `"$@"` in a line."""
    return "bash", "-c", line, "bash"


@pytest.mark.parametrize("how", LOST)
def test_a_study_trains_on_whatever_becomes_of_its_streams(how: str, calm: Path, tmp_path: Path) -> None:
    arguments = [] if how == "its reader leaves" else ["--debug"]
    done = harness.ended(harness.start(tmp_path / "s", *arguments, prefix=shell(LOST[how])))
    assert (done.status, done.err) == (0, ""), done
    assert done.out.count("\n") == (how == "its reader leaves")
    harness.same(tmp_path / "s", calm)
    done = harness.run_here(tmp_path / "s", "status")
    assert done.out.count(" done ") == 6


COMMANDS = {"plan as JSON": ["--json"], "report": [], "status": []}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_shows_ends_with_its_reader_without_a_word(command: str, calm: Path, tmp_path: Path) -> None:
    storage = shutil.copytree(calm, tmp_path / "s")
    arguments = [command.partition(" ")[0], *COMMANDS[command]]
    for reader, lines in (("head -1", 1), ("true", 0)):  # which leaves before anything is shown
        prefix = shell(f'"$@" | {reader}; exit ${{PIPESTATUS[0]}}')
        done = harness.ended(harness.start(storage, *arguments, prefix=prefix))
        assert (done.status, done.err, done.out.count("\n")) == (0, "", lines), done


def test_what_could_not_be_shown_is_said_and_what_nobody_wants_to_see_is_not(calm: Path, tmp_path: Path) -> None:
    storage = shutil.copytree(calm, tmp_path / "s")
    for command in ("status", "list", "clean", "--help"):
        done = harness.ended(harness.start(storage, command, prefix=shell('exec "$@" > /dev/full')))
        assert (done.status, done.err) == (1, "stopped: not all of it could be shown: No space left on device\n"), done
    done = harness.ended(harness.start(storage, "status", prefix=shell('exec "$@" >&-')))
    assert (done.status, done.err) == (0, ""), done
    done = harness.ended(harness.start(storage, "stauts", prefix=shell('exec "$@" >&- 2>&-')))
    assert (done.status, done.out, done.err) == (2, "", "")


@pytest.mark.parametrize("environment", PLAIN, ids=["of the streams", "of the whole locale"])
def test_where_characters_lack_the_nearest_are_shown(environment: dict[str, str], calm: Path, tmp_path: Path) -> None:
    done = harness.run(tmp_path / "s", "--debug", env=environment)
    assert (done.status, done.err) == (0, ""), done
    assert "a . seed 0: started" in done.out
    assert done.out.isascii()
    harness.same(tmp_path / "s", calm)
    ours, theirs = (storage / "reports" / "chain" / "short" / "table.md" for storage in (tmp_path / "s", calm))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("mode", [[], ["--debug"]], ids=["under Ray", "under --debug"])
def test_a_study_whose_terminal_goes_ends_resumably(mode: list[str], calm: Path, tmp_path: Path) -> None:
    storage, wanted = tmp_path / "s", tmp_path / "wanted"
    terminal = Terminal(storage, *mode, env=harness.faults(wanted, {"a-0-15": "hold"}))
    terminal.wait_until((wanted / "a-0-15.held").exists)
    terminal.go()
    assert terminal.process.wait(harness.TIMEOUT) == 130
    assert '"interrupted"' in harness.run_here(storage, "status", "--json").out
    done = harness.run_here(storage, "--debug")
    assert (done.status, done.err) == (0, ""), done
    assert "a · seed 0: resumed at update 10" in done.out
    harness.same(storage, calm)


def test_a_study_that_shall_outlive_its_terminal_does(calm: Path, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted"
    env = harness.faults(wanted, {"a-0-15": "hold"})
    process = harness.start(tmp_path / "s", "--debug", env=env, prefix=("nohup",))
    harness.wait_for_held(process, wanted, "a-0-15")
    process.send_signal(signal.SIGHUP)
    harness.release(wanted)
    done = harness.ended(process)
    assert (done.status, done.err) == (0, ""), done
    harness.same(tmp_path / "s", calm)
