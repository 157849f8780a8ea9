"""The source of a part of a study's own, kept beside weights that are worth nothing without it.

Weights of a network that somebody's file defines can be loaded where that file was run, as it was when they were
trained: an edited one would take the same weights and answer otherwise. Elsewhere there is the copy that is kept here,
of what the part is known by (`trainers.own.source`) and no more of the file. To run it is to run what an artifact
brought along, so whoever loads must say that they trust it, and see first what it is.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from threading import Lock
from types import ModuleType
from typing import Any

from trainers.errors import ConfigError
from trainers.own.parts import OWN, Kind, aside
from trainers.own.source import modules, written

FOLDER = "code"
_ALONE = Lock()


def keep(kind: Kind, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """What is said of a part as JSON, and its source: texts by their paths in `FOLDER`. Nothing, unless it is own.

    Without source where it cannot be read, or where a module beside the file was edited after it was run.
    """
    if (own := OWN.get((kind, name))) is None:
        return {}, {}
    source, part = own.source, f"{name}.{kind}.py"  # which no module can be called
    file = PurePath(source.file).name
    about = {"kind": kind, "name": name, "digest": own.digest, "file": file, "package": source.package}
    about["sha256"] = hashlib.sha256(source.text.encode()).hexdigest()
    try:
        texts = {part: f"# {own.label}, out of {file}\n{written(source)}", **modules(source)}
        changed = own.anew().digest != own.digest
    except (ConfigError, ValueError):
        return about, {}
    return (about, {}) if changed else ({**about, "source": part}, texts)


def kept(about: Mapping[str, str], folder: Path, trust_code: bool) -> Any:
    """The part that `keep` told of, made by its source in `folder`; None if it is registered here as it was.

    Args:
        trust_code: whether that source may be run.

    Raises:
        ConfigError: it is registered otherwise or not at all, and its source may not be run, is not there or is
            another one.
    """
    kind, name = about["kind"], about["name"]
    own = OWN.get((kind, name))
    if own is not None and own.digest == about["digest"]:
        return None
    file = folder / about["source"] if "source" in about else None
    if file is not None and not file.is_file():  # it held what looks secret
        file = None
    if trust_code and file is not None:
        return _run(about, file)
    study = f"{about['file']} (SHA-256 {about['sha256'][:12]}…)"
    if own is None:
        mend = f"{kind} {name!r} is registered by {study}, which was not run here: first import {_module(about)}"
    else:
        mend = (
            f"{kind} {name!r} as registered in {own.source.file} is not the one that was trained, of {study}: import "
            "that instead"
        )
    if file is not None:
        lines = len(_read(file).splitlines())
        mend += f", or read {file} ({lines} lines) and, if you trust it, have it run with trust_code=True"
    raise ConfigError(mend)


def _module(about: Mapping[str, str]) -> str:
    stem = PurePath(about["file"]).stem
    return f"`{stem}`" if stem.isidentifier() else "it"


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}, the kept source, cannot be read: {error}") from error


def _run(about: Mapping[str, str], file: Path) -> Any:
    """Runs the file, and gives what it registers."""
    kind, name, digest = about["kind"], about["name"], about["digest"]
    module = ModuleType(f"__{kind}_{digest[:12]}__")
    module.__package__, module.__file__ = about["package"] or None, str(file)
    code = compile(_read(file), str(file), "exec")
    with _ALONE, _modules_from(file.parent), aside() as found:
        sys.modules[module.__name__] = module
        exec(code, module.__dict__)
        for (its_kind, its_name), (own, part) in found.items():
            if (its_kind, its_name) == (kind, name) and own.digest == digest:
                return part
    raise ConfigError(f"{file} is not the {kind} {name!r} that was trained: it was changed since")


@contextmanager
def _modules_from(folder: Path) -> Iterator[None]:
    """Has modules of a folder found there, and those of the same names that are elsewhere not disturbed."""
    names = {".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.py")}
    names = {name.removesuffix(".__init__") for name in names}
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.update(others)
