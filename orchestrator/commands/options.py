"""The options of the command line, read and checked. Nothing heavy is imported here: a typo is answered at once."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from orchestrator.commands.level_choices import chosen_levels
from orchestrator.commands.numbers import seeds, setting
from orchestrator.errors import UserError
from orchestrator.secrecy.confidential import Included
from orchestrator.secrecy.redaction import UNSHOWABLE, remember, shown_address
from orchestrator.study.study import DESIGNS, Layout, Preset, Study
from orchestrator.track.sqlite_address import address_of

_MOST_SEEDS = 20  # that --until-separated trains, unless others are said
_UNASKED: Mapping[str, Any] = {  # what a verb goes by that does not ask for it
    "settings": (),
    "dataset": None,
    "data": None,
    "equalize": None,
    "seeds": None,
    "only": (),
    "design": DESIGNS[0],
    "baseline": (),
    "address": None,
    "max_concurrent": None,
    "cpus_per_trial": 1.0,
    "gpus_per_trial": None,
    "pack": False,
    "until_separated": False,
    "include": (),
    "patience": 600.0,
    "stall": None,
    "debug": False,
    "as_json": False,
}


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
    until_separated: bool
    included: Included
    patience: float
    stall: float | None
    debug: bool
    as_json: bool
    command: tuple[str, ...]

    def at(self, study: Study, levels: Sequence[tuple[str, str]]) -> "Options":
        """The same for these levels, and what the preset says of other factors."""
        return replace(self, layout=replace(self.layout, only=_with_presets(levels, study.presets[self.preset])))


def parse_options(study: Study, verb: str, given: Mapping[str, Any]) -> Options:
    """The options of a verb, from click's parameters by their names.

    Raises:
        UserError: one that cannot be, or does not go with another.
    """
    parameters = {"preset": next(iter(study.presets)), **_UNASKED, **given}
    if parameters["debug"]:
        _refuse_beside_debug(parameters)
    address = parameters["address"]
    if parameters["include"] and verb == "run" and not address:
        raise UserError("--include: run sends nothing without --address")
    gpus = parameters["gpus_per_trial"]
    if gpus is not None and gpus > 1 and not float(gpus).is_integer():
        raise UserError(f"--gpus-per-trial {gpus:g}: give a part of one, or whole GPUs")
    preset = parameters["preset"]
    overrides = dict(setting(assignment) for assignment in parameters["settings"])
    for option in ("dataset", "equalize"):
        if parameters[option] is not None:
            overrides[option] = parameters[option]
    storage = absolute("--storage", parameters["storage"])
    uri = parameters["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI") or address_of(storage / "mlflow.db")
    _refuse_credentials(uri)
    remote = uri.startswith(("http://", "https://"))
    return Options(
        preset=preset,
        overrides=overrides,
        seeds=seeds(parameters["seeds"], _MOST_SEEDS if parameters["until_separated"] else study.presets[preset].seeds),
        layout=Layout(
            design=parameters["design"],
            baseline={**study.baseline, **dict(_levels("--baseline", parameters["baseline"], study))},
            only=_only(study, study.presets[preset], parameters["only"]),
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
        until_separated=parameters["until_separated"],
        included=Included(parameters["include"]),
        patience=parameters["patience"],
        stall=None if parameters["debug"] else parameters["stall"],
        debug=parameters["debug"],
        as_json=parameters["as_json"],
        command=click.get_current_context().obj,
    )


def _only(study: Study, preset: Preset, given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The levels that the user names, and the preset's of factors that the user does not."""
    named = tuple(_levels("--only", given, study))
    return _with_presets(named, preset)


def _with_presets(named: Sequence[tuple[str, str]], preset: Preset) -> tuple[tuple[str, str], ...]:
    factors = {factor for factor, _ in named}
    return *named, *(each for each in preset.only if each[0] not in factors)


def _refuse_beside_debug(parameters: Mapping[str, Any]) -> None:
    """Refuses what asks for another process."""
    stall = click.get_current_context().get_parameter_source("stall") == ParameterSource.COMMANDLINE
    others = {
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


def _levels(option: str, texts: Sequence[str], study: Study) -> Iterator[tuple[str, str]]:
    for text in texts:
        yield from chosen_levels(option, text, study.factors)


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
