"""What a part of a study's own file is known by: its source, as far as it can change a result.

Were the whole file hashed, a comment or another title would train everything again; were the function alone, a changed
helper would go unseen and old results stand for new code. So it is the statement that registers the part and, from
there on, whatever functions, classes and constants of the file it names; of imported modules those that are not
installed packages, each as a whole. Comments, formatting and docstrings do not count, nor does where the file lies.

What cannot be seen from the source is not counted: files read as it runs, names put together as it runs, installed
packages (whose versions are recorded). `version=` of a registration is counted in the place of all this.
"""

import ast
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType

from trainers.own.imports import PACKAGES, bound, imports, modules_of

_WITHOUT_EFFECT = frozenset({"ctx", "kind", "type_comment"})  # fields of the syntax tree


@dataclass(frozen=True)
class Source:
    """Where a part is registered.

    Attributes:
        file: as Python names it, which of a notebook's cell is no path.
        text: of the whole file or cell.
        line: of the statement, of those at the top of the file, that registers it.
        module: its name; `__main__` for a file that is run.
        package: in which relative imports are meant.
        within: how many lines further down it is registered, in a function that the statement defines or calls.
    """

    file: str
    text: str
    line: int
    module: str
    package: str
    within: int = 0

    @classmethod
    def of(cls, frame: FrameType, text: str) -> "Source":
        """Of the frame that registers: where its module got there, at the top of the file."""
        names, line = frame.f_globals, frame.f_lineno
        outer: FrameType | None = frame
        while outer is not None and outer.f_globals is names:
            line = outer.f_lineno if outer.f_code.co_name == "<module>" else outer.f_code.co_firstlineno
            outer = outer.f_back
        package = str(names.get("__package__") or "")
        file, within = Path(frame.f_code.co_filename), frame.f_lineno - line
        whole = str(file.absolute()) if file.is_file() else str(file)  # a worker is in another folder
        return cls(whole, text, line, str(names.get("__name__", "")), package, within)

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """Of the top of the file.

        Raises:
            ValueError: it cannot be read.
        """
        try:
            return ast.parse(self.text).body
        except SyntaxError as error:
            raise ValueError(f"{self.file} cannot be read") from error

    @property
    def statement(self) -> int:
        """The number of the statement that registers.

        Raises:
            ValueError: there is none at that line.
        """
        for number, statement in enumerate(self.statements):
            if _first_line(statement) <= self.line <= (statement.end_lineno or 0):
                return number
        raise ValueError(f"nothing is at line {self.line} of {self.file}")

    @property
    def guarded(self) -> bool:
        """Whether it is registered only where the file is run, below `if __name__ == "__main__":`."""
        statement = self.statements[self.statement]
        return isinstance(statement, ast.If) and "__name__" in _names(statement.test)

    @property
    def runs_main(self) -> int | None:
        """The line at which the file calls `main` whenever it is imported; None if it does not."""
        for statement in self.statements:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                called = statement.value.func
                if (called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")) == "main":
                    return statement.lineno
        return None


def digest(source: Source, decorators: bool = True) -> str:
    """SHA-256 of what a part is, as 64 hexadecimal digits.

    Args:
        decorators: whether those of the registering statement count, which may say nothing but how a part is shown.

    Raises:
        ValueError: its source cannot be read.
    """
    return hashlib.sha256("\n".join(_parts(source, decorators)).encode()).hexdigest()


def written(source: Source) -> str:
    """The lines of the file that count for a part, as they stand there: run alone, they register it.

    Raises:
        ValueError: its source cannot be read.
    """
    used = [source.statements[number] for number in _used(source.statements, source.statement)]
    used += [each for each in source.statements if isinstance(each, ast.ImportFrom) and each.module == "__future__"]
    numbers = sorted({line for each in used for line in range(_first_line(each), (each.end_lineno or 0) + 1)})
    lines = source.text.splitlines()
    found = []
    for before, number in zip([numbers[0] - 1, *numbers], numbers, strict=False):
        found += [""] * (number - before > 1) + [lines[number - 1]]  # a gap stays one
    return "\n".join([*found, ""])


def modules(source: Source) -> dict[str, str]:
    """The modules that count for a part and are no installed packages': their text by their paths, `beside.py`.

    Raises:
        ValueError: its source, or one of theirs, cannot be read.
    """
    used = _used(source.statements, source.statement)
    found = [
        module
        for number, names in used.items()
        for module in modules_of(source.statements[number], source.package, names)
    ]
    try:
        return {module.path: module.file.read_text(encoding="utf-8") for module in found}
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read") from error


def _parts(source: Source, decorators: bool) -> list[str]:
    """What counts: definitions and imports by their text, whatever else is done at the top of the file in its order."""
    statements = list(source.statements)
    start = source.statement
    if not decorators and isinstance(one := statements[start], ast.FunctionDef | ast.ClassDef):
        one = ast.parse(ast.unparse(one)).body[0]  # a copy: the file's other parts keep theirs
        assert isinstance(one, ast.FunctionDef | ast.ClassDef)
        one.decorator_list = []
        statements[start] = one
    defined: list[str] = []
    done: dict[int, str] = {}
    for number, names in _used(statements, start).items():
        statement = statements[number]
        if isinstance(statement, ast.Import | ast.ImportFrom):
            defined += imports(statement, source.package, names)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.append(_written(statement))
        else:
            done[number] = _written(statement)
        for module in modules_of(statement, source.package, names):
            defined.append(f"{module.name} {hashlib.sha256(_written(module.body).encode()).hexdigest()}")
    return [*sorted(set(defined)), *(done[number] for number in sorted(done))]


def _used(statements: list[ast.stmt], start: int) -> dict[int, set[str]]:
    """The statements that one of them needs, itself included, each with the names that it is needed for."""
    makes: dict[str, list[int]] = {}
    ours = {name for statement in statements if _is_ours(statement) for name in _binds(statement)}
    for number, statement in enumerate(statements):
        for name in (*_binds(statement), *(_changes(statement) - ours)):
            makes.setdefault(name, []).append(number)
    found: dict[int, set[str]] = {start: set()}
    waiting = [start, *makes.get("*", [])]
    found |= {number: {"*"} for number in waiting[1:]}
    while waiting:
        for name in _names(statements[waiting.pop()]):
            for number in makes.get(name, []):
                if number not in found:
                    found[number] = set()
                    waiting.append(number)
                found[number].add(name)
    return found


def _is_ours(statement: ast.stmt) -> bool:
    """An import of these packages, which no study's file changes: one registration is not part of another's."""
    return isinstance(statement, ast.ImportFrom) and (statement.module or "").partition(".")[0] in PACKAGES


def _names(node: ast.AST) -> set[str]:
    """Every name in it, wherever it is bound: a local one that is called as a helper counts the helper in."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _binds(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a meaning."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    found: set[str] = set()
    for node in ast.walk(statement):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Import() | ast.ImportFrom():
                found |= {bound(alias) for alias in node.names}
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
    return found


def _changes(statement: ast.stmt) -> set[str]:
    """The names whose objects a statement changes in place: `TABLE["a"] = 1`, `rows.append(2)`, `numpy.seterr(…)`."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return set()
    found: set[str] = set()
    for node in ast.walk(statement):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                found |= _root(node)
            case ast.Expr(value=ast.Call(func=ast.Attribute() as method)):
                found |= _root(method)
    return found


def _root(node: ast.expr) -> set[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(each.lineno for each in decorators)])


def _written(node: object) -> str:
    """A syntax tree as text, the same in every version of Python; without docstrings and where things stand."""
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={_written(value)}"
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and name not in _WITHOUT_EFFECT
        ]
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(_written(each) for each in node if not _is_a_docstring(each))}]"
    return repr(node)


def _is_a_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
