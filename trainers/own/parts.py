"""The parts that a study's own file has registered in this process, and what they are known by.

They lie in the same tables as those of this package, where they are looked up by name. What is kept here is where each
comes from: a trial of it is identified by that, and a worker gets it from there.
"""

import hashlib
import linecache
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from types import FrameType
from typing import Any, Literal, TypeVar

from trainers.errors import ConfigError, DataError
from trainers.own.source import Source, digest

Kind = Literal["sampler", "objective", "network", "dataset", "metric", "task"]
PartT = TypeVar("PartT")


@dataclass(frozen=True)
class OwnPart:
    """Something that a study's own file has registered.

    Attributes:
        version: counts in the place of the source, if it is given.
    """

    kind: Kind
    name: str
    source: Source
    version: str = ""

    @property
    def label(self) -> str:
        """`sampler small-first`."""
        return f"{self.kind} {self.name}"

    @cached_property
    def digest(self) -> str:
        """What it is known by, 64 hexadecimal digits.

        Raises:
            ConfigError: its source cannot be read, and no version is given.
        """
        if self.version:
            return hashlib.sha256(f"version {self.version}".encode()).hexdigest()
        try:
            return digest(self.source, decorators=self.kind != "metric")  # a metric's says how it is shown
        except ValueError as error:
            raise ConfigError(
                f"{self.label}: its source cannot be read ({error}), so that nobody could tell whether it has changed: "
                f'say version="1" where it is registered'
            ) from error

    def anew(self) -> "OwnPart":
        """The same part, whose source nobody has looked at yet: modules beside the file may have been edited."""
        return replace(self)

    def is_as(self, other: "OwnPart") -> bool:
        """Whether it is the same part, registered anew."""
        try:
            return self.digest == other.digest and self.source.within == other.source.within
        except ConfigError:
            return False


OWN: dict[tuple[str, str], OwnPart] = {}
"""By kind and name."""
_CONTENT: dict[str, str] = {}
_ASIDE: ContextVar[dict[tuple[Kind, str], tuple[OwnPart, Any]] | None] = ContextVar("aside", default=None)


def enter(kind: Kind, name: str, part: PartT, table: dict[str, PartT], version: str = "") -> None:
    """Puts a part into the table that it is looked up in, and remembers who registered it.

    Raises:
        ConfigError: the name is another's; workers would not have it, or would do more than register it.
    """
    own = OwnPart(kind, name, _registering(), version)
    if (found := _ASIDE.get()) is not None:
        found[kind, name] = own, part
        return
    before = OWN.get((kind, name))
    if name in table and table[name] is not part and (before is None or not own.is_as(before)):
        whose = "of this package's" if before is None else f"registered in {before.source.file}"
        raise ConfigError(f"a {kind} named {name!r} is there already, {whose}: choose another name")
    _check_importable(own)
    table[name] = part
    OWN[kind, name] = own


@contextmanager
def aside() -> Iterator[dict[tuple[Kind, str], tuple[OwnPart, Any]]]:
    """What is registered inside, in this thread: by kind and name, and not known by its name to anybody else."""
    found: dict[tuple[Kind, str], tuple[OwnPart, Any]] = {}
    before = _ASIDE.set(found)
    try:
        yield found
    finally:
        _ASIDE.reset(before)


def _check_importable(own: OwnPart) -> None:
    """Workers import the file, and what is below its guard is not for them."""
    try:
        guarded, runs = own.source.guarded, own.source.runs_main
    except ValueError:  # its source cannot be read, which is said where it counts
        return
    if guarded:
        raise ConfigError(
            f'{own.label} is registered below if __name__ == "__main__":, which workers do not run: register it above'
        )
    if runs is not None and own.source.module == "__main__":
        raise ConfigError(
            f"{own.source.file}, line {runs}: main(…) is called by whoever imports the file, as workers do: put it "
            'below if __name__ == "__main__":'
        )


def _registering() -> Source:
    """Whoever is not of this package and called into it last."""
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "trainers":
        frame = frame.f_back
    file = frame.f_code.co_filename
    linecache.checkcache(file)
    return Source.of(frame, "".join(linecache.getlines(file, frame.f_globals)))


def code(used: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of parts by kind and name those that a study's own file has registered: what each is known by, by its label.

    Data sets are none of them: they are known by their content.

    Raises:
        ConfigError: the source of one cannot be read.
    """
    own = (OWN[each] for each in used if each in OWN)
    return {part.label: part.digest for part in own if part.kind != "dataset"}


def loaded(name: str, checksum: str) -> None:
    """Notes the content of a data set that is known by nothing else.

    Raises:
        DataError: it is not the content that it had before, or where the study was planned.
    """
    if _CONTENT.setdefault(name, checksum) != checksum:
        raise DataError(
            f"dataset {name} does not load the same data every time, or not here: {checksum[:12]} rather than "
            f"{_CONTENT[name][:12]}: draw it from a fixed seed, or read the same files everywhere"
        )


def contents() -> dict[str, str]:
    """Checksums of the data sets that were loaded so, by name."""
    return dict(_CONTENT)


def expect(checksums: dict[str, str]) -> None:
    """Has `loaded` compare with these."""
    _CONTENT.update(checksums)


def refuse_signature(label: str, part: Callable[..., object], wanted: str, *arguments: None) -> None:
    """Refuses what cannot be called with so many arguments.

    Raises:
        ConfigError: says how it is called.
    """
    import inspect

    try:
        inspect.signature(part).bind(*arguments)
    except TypeError as error:
        raise ConfigError(f"{label}: it is called as {wanted}, which it does not take: {error}") from error
    except ValueError:  # written in C: nobody knows
        return
