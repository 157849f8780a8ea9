"""What is wrong with a study's file, in a line: where, what, and what to do about it.

Whoever writes a study mistypes, forgets an import or the guard, and would be shown twenty lines of the machinery that
ran the file before the one of theirs. `--debug` shows them as well.
"""

import ast
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import FrameType, TracebackType

from orchestrator.errors import UserError, nearest
from orchestrator.run.legible import legible, what_it_says
from orchestrator.secrecy.redaction import without_passwords

_OURS = frozenset({"orchestrator", "trainers", "studies"})
_GUARD = 'if __name__ == "__main__":'
_LONGEST = 300  # characters of what an error says
_DEBUG = "--debug"


def explain_faults() -> None:
    """Has this process, in which Python runs a study's file, end with a line where the file is at fault."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None or sys.flags.interactive or sys.excepthook is not sys.__excepthook__:
        return
    sys.excepthook = _end_with_a_line
    refuse_name(Path(script))


def _end_with_a_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, Exception):
        sys.__excepthook__(kind, error, trace)
        return
    print(f"error: {fault(error, Path(sys.modules['__main__'].__file__ or ''))}", file=sys.stderr)
    raise SystemExit(2)  # which is the status that Python ends with


def fault(error: BaseException, script: Path) -> str:
    """What is to be said of an error that came out of a study's file.

    The traceback is printed, too, if the command line has `--debug`.
    """
    if _DEBUG in sys.argv[1:]:
        sys.stderr.write(without_passwords("".join(traceback.format_exception(error))))
    place = _place(error, script)
    if isinstance(error, SyntaxError):
        text = f"{error.msg}{_quoted(error.text)}"
    elif type(error).__module__.partition(".")[0] in _OURS:  # which says what to do itself
        text = str(error)
    else:
        text = what_it_says(error)
    said = without_passwords(legible(" ".join(text.split()), _LONGEST))
    mend = _mend(error, script)
    return f"{place}: {said}{': ' if mend else ''}{mend}"


def is_of_file(error: BaseException, script: Path) -> bool:
    """Whether an error came out of what a study's file has, a network or a sampler of its own, and was called by us."""
    return any(True for _ in _own_frames(error, script))


def refuse_name(script: Path) -> None:
    """Refuses a study's file that would be imported in the place of a module of Python's, or of this project.

    Raises:
        UserError: says to rename it.
    """
    if script.suffix == ".py" and (whose := _whose(script.stem)):
        raise UserError(
            f"{from_here(script)} has the name of a module {whose}, which would not be found any more: rename it"
        )


def check_call(caller: FrameType) -> None:
    """Refuses a call of `main` that runs a study wherever the file is imported, or is one of several.

    Args:
        caller: who calls `main`.

    Raises:
        UserError: it is not below the guard, or not the only one.
    """
    file = Path(caller.f_code.co_filename)
    if caller.f_code.co_name != "<module>" or (statements := _statements(file)) is None:
        return
    line = caller.f_lineno
    statement = _at(statements, line)
    if statement is None:
        return
    if not _is_guarded(statement):
        raise UserError(
            f"{from_here(file)}, line {line}: main(…) is called by whoever imports the file, as workers and notebooks "
            f"do: put it below {_GUARD}"
        )
    if (again := _called_again(statement, line)) is not None:
        raise UserError(
            f"{from_here(file)}, line {again}: main(…) is called again, which nothing comes to, since it ends the "
            "process with the first study: give each study a file of its own"
        )


def ends_itself(error: SystemExit, script: Path) -> str | None:
    """What is to be said of a study's file that ended the process as it was imported; None if it did not.

    Below the guard it may: nobody but whoever runs the file gets there.
    """
    lines = [number for file, number in _own_frames(error, script) if file == script]
    statement = _at(_statements(script) or [], lines[0]) if lines else None
    if statement is None or _is_guarded(statement):
        return None
    told = f" ({error.code})" if isinstance(error.code, str) else ""
    return (
        f"{from_here(script)}, line {lines[0]}: it ends the process{told} before a study is run, and would end every "
        f"worker: put that below {_GUARD}"
    )


def from_here(path: Path) -> str:
    """A path relative to where the user is, if it lies below."""
    whole, here = path.absolute(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def _place(error: BaseException, script: Path) -> str:
    """`my_study.py, line 7`: the innermost place in what is the user's own."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        file, line = Path(error.filename), error.lineno
    else:
        file, line = next(reversed([*_own_frames(error, script)]), (script, None))
    return f"{from_here(file)}, line {line}" if line else from_here(file)


def _own_frames(error: BaseException, script: Path) -> Iterator[tuple[Path, int]]:
    """File and line of the calls that led to an error, outermost first, as far as they are in files of the user's."""
    folder = script.resolve().parent
    libraries = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _OURS:
            continue
        if file == script or file.absolute() == script.absolute():
            yield script, line
        elif (
            file.is_file()
            and file.resolve().is_relative_to(folder)
            and not any(map(file.resolve().is_relative_to, libraries))
        ):
            yield file, line


def _mend(error: BaseException, script: Path) -> str:
    if hidden := _hiding(error, script):
        return f"{hidden[0]} beside it has the name of a module {hidden[1]}, which is not found any more: rename it"
    if type(error).__module__.partition(".")[0] in _OURS:
        return ""
    match error:
        case SyntaxError(text=str()) if script.suffix == ".py":
            return "mend that line"
        case SyntaxError() | ValueError(args=("source code string cannot contain null bytes",)):
            return "a study is a file of Python's, my_study.py"
        case OSError() if error.filename is not None and Path(error.filename) == script:
            return "make it readable"
        case ModuleNotFoundError(name=str(name)):
            return _where_a_module_may_be(name, script)
        case ImportError() if "relative import" in str(error):
            return "a study's file is in no package: import what lies beside it by its name, `import beside`"
        case ImportError(name=str(name)) if (near := _near_import(error, name)) is not None:
            return f"did you mean {near!r}?"
    return f"mend that line ({_DEBUG} shows how it came to it)"


def _where_a_module_may_be(name: str, script: Path) -> str:
    top, _, inner = name.partition(".")
    beside = [path.stem for path in script.resolve().parent.glob("*.py") if path.stem != script.stem]
    if inner and PathFinder.find_spec(top) is not None:
        return f"{top} is installed, without that module: name another, or install the version that has it"
    if near := nearest(top, [*beside, *_OURS]):
        return f"did you mean {near!r}?"
    return f"install what has it, as by `pip install {top}`, or put {top}.py beside {script.name}"


def _near_import(error: ImportError, name: str) -> str | None:
    """The name that a module has and that is nearest to one which was asked of it in vain."""
    module, asked = sys.modules.get(name), str(error).partition("cannot import name ")[2].split(" ")[0].strip("'")
    known = getattr(module, "__all__", None) or [each for each in vars(module or error) if not each.startswith("_")]
    return nearest(asked, known) or None


def _hiding(error: BaseException, script: Path) -> tuple[str, str] | None:
    """A file beside a study's that hides a module of the same name, and whose that is; if that may be the reason."""
    if not isinstance(error, ImportError | AttributeError):
        return None
    folder = script.resolve().parent
    for file in sorted(folder.glob("*.py")):
        if whose := _whose(file.stem):
            return file.name, whose
        elsewhere = [path for path in sys.path if Path(path or ".").resolve() != folder]
        if PathFinder.find_spec(file.stem, elsewhere) is not None:
            return file.name, "that is installed"
    return None


def _whose(module: str) -> str:
    """`of Python's`; empty for a name that is free."""
    return "of Python's" if module in sys.stdlib_module_names else "of this project" if module in _OURS else ""


def _quoted(line: str | None) -> str:
    return f" (`{line.strip()[:80]}`)" if line and line.strip() else ""


def _statements(file: Path) -> list[ast.stmt] | None:
    """Those of the top of a file; None where they cannot be read."""
    try:
        return ast.parse(file.read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return None


def _at(statements: list[ast.stmt], line: int) -> ast.stmt | None:
    return next((each for each in statements if each.lineno <= line <= (each.end_lineno or 0)), None)


def _is_guarded(statement: ast.stmt) -> bool:
    names = ast.walk(statement.test) if isinstance(statement, ast.If) else ()
    return any(isinstance(each, ast.Name) and each.id == "__name__" for each in names)


def _called_again(statement: ast.stmt, line: int) -> int | None:
    """The line of a second call of `main` that would follow the one at a line; None if there is none."""
    for node in ast.walk(statement):
        suites: list[list[ast.stmt]] = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
        for suite in suites:
            if not isinstance(suite, list) or (here := _at(suite, line)) is None:  # a lambda's body is one expression
                continue
            if isinstance(here, ast.For | ast.While):
                return here.lineno
            if later := [each.lineno for each in suite if each.lineno > here.lineno and _is_main(each)]:
                return later[0]
    return None


def _is_main(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id="main") | ast.Attribute(attr="main"))):
            return True
    return False
