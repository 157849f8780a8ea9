"""Which modules count for a part of one's own: the user's, and those that they import; no installed package's."""

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = frozenset({"trainers", "orchestrator", "studies"})  # known by the trainer's name and number
_INSTALLED = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True)
class Module:
    """A module that is the user's own."""

    name: str
    file: Path
    body: list[ast.stmt]

    @property
    def path(self) -> str:
        """Below a folder that modules come from."""
        inside = self.name.replace(".", "/")
        return f"{inside}/__init__.py" if self.file.name == "__init__.py" else f"{inside}.py"


def bound(alias: ast.alias) -> str:
    """The name that an import gives a meaning."""
    return alias.asname or alias.name.partition(".")[0]


def imports(statement: ast.Import | ast.ImportFrom, package: str, names: set[str]) -> list[str]:
    """Of an import what is used, a line each. How the decorators themselves were come by does not count."""
    base = _base(statement, package)
    found = []
    for alias in statement.names:
        if alias.name != "*" and bound(alias) not in names:
            continue
        if (base, alias.name) != ("trainers", "register"):
            found.append(f"from {base} import {alias.name} as {bound(alias)}")
    return found


def _base(statement: ast.Import | ast.ImportFrom, package: str) -> str:
    """The module that something is imported from, by its whole name; empty for a module itself."""
    if isinstance(statement, ast.Import):
        return ""
    if not statement.level:
        return statement.module or ""
    above = package.rsplit(".", statement.level - 1)[0]
    return f"{above}.{statement.module}" if statement.module else above


def modules_of(statement: ast.stmt, package: str, names: set[str]) -> Iterator[Module]:
    """The modules of the user's own that a statement imports, wherever inside it, and those that they import.

    Args:
        names: that count of a statement that is an import itself.
    """
    for inner in ast.walk(statement):
        if isinstance(inner, ast.Import | ast.ImportFrom):
            yield from _own_modules(inner, package, names if inner is statement else None)


def _own_modules(statement: ast.Import | ast.ImportFrom, package: str, names: set[str] | None) -> Iterator[Module]:
    """The modules that are no installed packages'.

    Args:
        names: that count; None: all.
    """
    base = _base(statement, package)
    for alias in statement.names:
        if names is None or alias.name == "*" or bound(alias) in names:
            for module in _candidates(base, alias):
                yield from _modules(module, set())


def _candidates(base: str, alias: ast.alias) -> tuple[str, ...]:
    """What of an import may be a module: what is imported from, and what is imported, which may be a name inside."""
    return (base, f"{base}.{alias.name}") if base else (alias.name,)


def _modules(name: str, seen: set[str]) -> Iterator[Module]:
    """A module that is the user's own and, from there on, those that it imports."""
    if name in seen or name.partition(".")[0] in PACKAGES | sys.stdlib_module_names:
        return
    seen.add(name)
    file = _file_of(name)
    if file is None or file.suffix != ".py" or is_installed(file):
        return
    body = ast.parse(file.read_bytes()).body
    yield Module(name, file, body)
    inside = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in (each for statement in body for each in ast.walk(statement)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            base = _base(node, inside)
            for alias in node.names:
                for module in _candidates(base, alias):
                    yield from _modules(module, seen)


def _file_of(name: str) -> Path | None:
    if (module := sys.modules.get(name)) is not None:
        file = getattr(module, "__file__", None)
        return None if file is None else Path(file)
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # a name inside a module, which is none itself
        return None
    return None if found is None or found.origin is None else Path(found.origin)


def is_installed(file: Path) -> bool:
    """Whether a file or folder is part of Python or of an installed package."""
    whole = file.resolve()
    libraries = (Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
    return not _INSTALLED.isdisjoint(whole.parts) or any(whole.is_relative_to(library) for library in libraries)
