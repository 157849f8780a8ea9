"""Plan → run → track → report, for any trainer that keeps the contract in `orchestrator.trainer`.

The public names are those in `__all__`, imported where they are first used.
"""

from importlib import import_module
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

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


__all__ = ["Factor", "Preset", "Study", "main", "results"]
