"""What a study's own file registers, as another process comes to have it.

A worker runs the file's text once more, under a name that is not `__main__`, so that nothing below its guard runs. The
text travels with the trainer, as it was when the study was planned: a file that is edited meanwhile, or that is not
where the worker runs, changes nothing. Modules beside the file are imported as usual, from its folder or from the same
one in the tree that was sent.
"""

import linecache
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Lock
from types import ModuleType

from trainers.errors import ConfigError
from trainers.own.imports import is_installed
from trainers.own.parts import OWN, contents, expect

_NAME = "__study_file__"
_ALONE = Lock()


@dataclass(frozen=True)
class OwnParts:
    """What one process has registered, to be registered in another.

    Attributes:
        files: of what was run, mostly one: its name and its text.
        package: in which its relative imports are meant.
        modules: the others that registered something, by their names.
        digests: what the parts are known by, by their labels.
        checksums: of data sets that are known by nothing but their content, by name.
    """

    files: tuple[tuple[str, str], ...]
    package: str
    modules: tuple[str, ...]
    digests: Mapping[str, str]
    checksums: Mapping[str, str]

    @classmethod
    def here(cls) -> "OwnParts":
        """Those of this process."""
        run = [part.source for part in OWN.values() if part.source.module in ("__main__", _NAME)]
        others = dict.fromkeys(part.source.module for part in OWN.values() if part.source not in run)
        package = run[0].package if run else ""
        files = {source.file: source.text for source in run}
        return cls(tuple(files.items()), package, tuple(others), _digests(), contents())

    def install(self) -> None:
        """Registers them here, unless they are.

        Raises:
            ConfigError: not all of them came to be registered, or not as they were.
        """
        with _ALONE:
            if self._lacking():
                self._import()
            if lacking := self._lacking():
                files = ", ".join(name for name, _ in self.files) or ", ".join(self.modules)
                raise ConfigError(
                    f"{', '.join(lacking)} of {files} came out otherwise where the trial runs than where the study was "
                    "planned: a module that it imports has changed, or registers under a condition; run the study again"
                )
            expect(dict(self.checksums))

    def _lacking(self) -> list[str]:
        here = _digests()
        return [label for label, digest in self.digests.items() if here.get(label) != digest]

    def _import(self) -> None:
        module = ModuleType(_NAME)
        module.__package__ = self.package or None
        sys.modules[_NAME] = module  # where dataclasses look for the types of their fields
        for name, text in self.files:
            file = _found(Path(name), text)
            if file.is_file() and sys.path[0] != str(file.parent):
                sys.path.insert(0, str(file.parent))  # as Python does for a file that is run
        for each in self.modules:
            with _importing(each):
                import_module(each)
        for name, text in self.files:
            file = _found(Path(name), text)
            module.__file__ = str(file)
            lines = text.splitlines(keepends=True)
            linecache.cache[str(file)] = (len(text), None, lines, str(file))  # for tracebacks, and for `Source`
            with _importing(str(file)):
                exec(compile(text, str(file), "exec"), module.__dict__)


@contextmanager
def _importing(what: str) -> Iterator[None]:
    """Says what a file or module lacks here."""
    try:
        yield
    except SystemExit as error:
        raise ConfigError(f'{what} ended as it was imported: put main(…) below if __name__ == "__main__":') from error
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{what} imports {error.name}, which is not there where the trial runs: nodes of a cluster have what is "
            "installed on them, and of the study's folder what was sent (nothing that .gitignore names, that is a link "
            "or looks secret; --include NAME sends such a file)"
        ) from error


def _digests() -> dict[str, str]:
    """Of what is registered here, as far as its source can be read: what cannot be known is part of no plan."""
    found = {}
    for part in OWN.values():
        with suppress(ConfigError):
            found[part.label] = part.digest
    return found


def _found(file: Path, text: str) -> Path:
    """Where the file lies on this machine, if anywhere: in the tree that was sent, as it is named, or below a folder
    that modules come from.

    What was sent comes first, since a node may have an older folder of the same name with other modules in it. It is
    where this package is imported from, unless that is installed.
    """
    ends = [Path(*file.parts[start:]) for start in range(1, len(file.parts))]
    root = Path(__file__).parents[2]
    sent = (root / end for end in ends if not is_installed(root))
    candidates = (*sent, file, *(Path(folder) / end for folder in sys.path for end in ends))
    return next((each for each in candidates if _holds(each, text)), file)


def _holds(file: Path, text: str) -> bool:
    try:
        return file.read_text(encoding="utf-8").rstrip("\n") == text.rstrip("\n")
    except (OSError, ValueError):
        return False
