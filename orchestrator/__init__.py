"""Plan → run → track → report, for any trainer that keeps the contract in `orchestrator.trainer`.

The public names are those in `__all__`, imported where they are first used.
"""

from importlib import import_module
from sys import _getframe
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.commands.command_line import main
    from orchestrator.notebook import results
    from orchestrator.study.study import Factor, Preset, Study
else:
    _MODULES = {
        "Factor": "orchestrator.study.study",
        "Preset": "orchestrator.study.study",
        "Study": "orchestrator.study.study",
        "main": "orchestrator.commands.command_line",
        "results": "orchestrator.notebook",
    }

    def _asked_by() -> str:
        """The name of the module that imports something from here."""
        frame = _getframe(2)
        while frame.f_globals.get("__name__") == "importlib._bootstrap" and frame.f_back is not None:
            frame = frame.f_back
        return str(frame.f_globals.get("__name__"))

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name != "results" and _asked_by() == "__main__":  # a study's file, which is run
            import_module("orchestrator.commands.broken_file").explain_faults()
        return getattr(import_module(_MODULES[name]), name)


__all__ = ["Factor", "Preset", "Study", "main", "results"]
