"""The options of the command line, read and checked. Nothing heavy is imported here: a typo is answered at once."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from orchestrator.errors import UserError, unknown
from orchestrator.secrecy.confidential import Included
from orchestrator.secrecy.redaction import UNSHOWABLE, remember, shown_address
from orchestrator.study.study import Layout, Preset, Study
from orchestrator.track.address import sqlite_address


@dataclass(frozen=True)
class Options:
    """The command line, parsed."""

    preset: str
    overrides: Mapping[str, Any]
    seeds: tuple[int, ...]
    layout: Layout
    storage: Path
    tracking_uri: str
    artifacts: Path | None
    data: Path | None
    address: str | None
    max_concurrent: int | None
    cpus: float
    gpus: float | None
    pack: bool
    included: Included
    patience: float
    stall: float | None
    debug: bool
    as_json: bool
    command: tuple[str, ...]


def parse_options(study: Study, parameters: Mapping[str, Any]) -> Options:
    """The options of a command, from click's parameters by their names.

    Raises:
        UserError: one that cannot be, or does not go with another.
    """
    if parameters["debug"]:
        _refuse_beside_debug(parameters)
    command, address = parameters["command"], parameters["address"]
    if parameters["include"] and not (command == "submit" or (command == "run" and address)):
        raise UserError(f"--include: {command} sends nothing{' without --address' if command == 'run' else ''}")
    preset = parameters["preset"]
    if preset not in study.presets:
        raise unknown("preset", preset, study.presets)
    overrides = dict(setting(assignment) for assignment in parameters["settings"])
    for option in ("dataset", "equalize"):
        if parameters[option] is not None:
            overrides[option] = parameters[option]
    storage = absolute("--storage", parameters["storage"])
    uri = parameters["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_address(storage / "mlflow.db")
    _refuse_credentials(uri)
    remote = uri.startswith(("http://", "https://"))
    return Options(
        preset=preset,
        overrides=overrides,
        seeds=_seeds(parameters["seeds"], study.presets[preset].seeds),
        layout=Layout(
            design=parameters["design"],
            baseline={**study.baseline, **dict(_levels("--baseline", parameters["baseline"]))},
            only=_only(study.presets[preset], parameters["only"]),
        ),
        storage=storage,
        tracking_uri=uri,
        artifacts=None if remote else storage / "artifacts",
        data=None if parameters["data"] is None else absolute("--data", parameters["data"]),
        address=address,
        max_concurrent=parameters["max_concurrent"],
        cpus=parameters["cpus_per_trial"],
        gpus=parameters["gpus_per_trial"],
        pack=parameters["pack"],
        included=Included(parameters["include"]),
        patience=parameters["patience"],
        stall=None if parameters["debug"] else parameters["stall"],
        debug=parameters["debug"],
        as_json=parameters["as_json"],
        command=click.get_current_context().obj,
    )


def _only(preset: Preset, given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The levels that the user names, and the preset's of factors that the user does not."""
    named = tuple(_levels("--only", given))
    factors = {factor for factor, _ in named}
    return *named, *(each for each in preset.only if each[0] not in factors)


def _refuse_beside_debug(parameters: Mapping[str, Any]) -> None:
    """Refuses what asks for another process."""
    stall = click.get_current_context().get_parameter_source("stall") == ParameterSource.COMMANDLINE
    others = {
        "submit": parameters["command"] == "submit",
        "--address": parameters["address"] is not None,
        "--pack": parameters["pack"],
        "--max-concurrent": (parameters["max_concurrent"] or 1) > 1,
        "--stall (which ends the process of a trial that hangs)": stall,
    }
    for other, asked in others.items():
        if asked:
            raise UserError(f"--debug runs one trial after the other in this process: leave it out, or {other}")


def _refuse_credentials(uri: str) -> None:
    """Those of a tracking server: the first request takes all of `name:password@host` for a host and its port."""
    remember(uri)
    if not uri.startswith(("http://", "https://")):
        return
    shown = shown_address(uri)
    if shown == UNSHOWABLE or "@" in urlsplit(uri).netloc:
        raise UserError(
            f"the tracking server's address {shown} is none to connect to: give http://HOST:PORT, and name and "
            "password in the environment, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )


def absolute(option: str, path: Path) -> Path:
    """The path that an option names, as an absolute one.

    Raises:
        UserError: no file system can have it.
    """
    try:
        whole = path.expanduser().resolve()
        whole.exists()  # a name that is too long, or no name at all, says so
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{option}: not a path that can be: {error}"[:200]) from error
    return whole


def setting(assignment: str) -> tuple[str, Any]:
    """The name and value of `KEY=VALUE`; the value is JSON where it can be, else a text.

    Raises:
        UserError: no `=`, or nothing before it.
    """
    key, equals, value = assignment.partition("=")
    if not equals or not key:
        raise UserError(f"--set {assignment}: give KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _levels(option: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        for pair in text.split(","):
            factor, equals, level = pair.partition("=")
            if not equals:
                raise UserError(f"{option} {text}: give FACTOR=LEVEL, or several with commas")
            yield factor.strip(), level.strip()


def _seeds(text: str | None, usual: int) -> tuple[int, ...]:
    if text is None:
        return tuple(range(usual))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() for part in parts):
        raise UserError(f"--seeds {text}: give a number of seeds (3) or a list of whole numbers (0,1,2)")
    if "," not in text:
        count = int(text)
        if not 1 <= count <= 10_000:
            raise UserError(f"--seeds {text}: give from 1 to 10000 seeds")
        return tuple(range(count))
    seeds = tuple(int(part) for part in parts)
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise UserError(f"--seeds {text}: seed {seed} is given twice")
        if seed >= 1 << 63:
            raise UserError(f"--seeds {text}: seed {seed} is too large, the limit is 2^63 − 1")
    return seeds


def writable(folder: Path, option: str) -> None:
    """Makes sure of the folder that an option names.

    Raises:
        UserError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{option} {folder} cannot be written: {error.strerror or error}") from error
