"""What Python, Ray, MLflow and numpy read from the environment: to be set before any of them is asked for."""

import locale
import os
import secrets
from contextlib import suppress

_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for the driver of a submitted job


def keep_files_in_utf_8() -> None:
    """Whatever the locale (`LC_ALL=C` with `PYTHONUTF8=0`), for this process, its libraries and those it starts.

    The standard streams stay what they are: a terminal shows the characters that it has.
    """
    if locale.getencoding().upper() in ("UTF-8", "UTF8"):
        return
    setting = "LC_ALL" if os.environ.get("LC_ALL") else "LC_CTYPE"
    for name in ("C.UTF-8", "en_US.UTF-8", "UTF-8"):  # what systems call theirs
        with suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, name)
            os.environ[setting] = name
            return


def silence_mlflow() -> None:
    """What it shows or sends of its own: a bar for every file it moves, a line for every run, and telemetry."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def prepare_environment(address: str | None) -> None:
    """For a study on the cluster at an address; None: on one to be started here. What is set already stays."""
    # Ray reads these when it is imported: whether SIGTERM is its own, what it listens on, who may join it.
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
    if address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        _draw_token()
    # Whoever changes the environment in one thread while C code of another reads it, as Ray's does when it starts, ends
    # the process. Importing numpy would, to set this for a moment, and so would MLflow's telemetry, which is off.
    os.environ.setdefault("OPENBLAS_MAIN_FREE", "1")
    silence_mlflow()


def _draw_token() -> None:
    """A token for the cluster to be started. Ray's way is one in the home folder for all: two that start at the same
    time where there is none yet write it both, and one of them goes on with what the other has replaced."""
    if not os.environ.keys() & {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))


def is_submitted() -> bool:
    """Whether this process is the driver of a submitted job, which runs on a cluster from a copy of the tree."""
    return _JOB_VARIABLE in os.environ
