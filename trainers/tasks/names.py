"""Tasks by name: the usual one of a kind of trials, or one that a study's own file has made of it."""

from typing import Any, TypeVar

from trainers.errors import ConfigError, unknown

TASKS: dict[str, type[Any]] = {}
"""Classes that a study's own file has registered, by their names."""
TaskT = TypeVar("TaskT")


def task_class(name: str | None, usual: type[TaskT]) -> type[TaskT]:
    """The class of a name.

    Args:
        name: None: the usual one.
        usual: of the kind of trials, of which all others are kinds.

    Raises:
        ConfigError: there is none, or it is one for other trials.
    """
    if name is None:
        return usual
    if name not in TASKS:
        raise (
            unknown("task", name, TASKS)
            if TASKS
            else ConfigError(f"unknown task {name!r}: the study's file registers none")
        )
    found = TASKS[name]
    if not issubclass(found, usual):
        raise ConfigError(f"task {name} is no {usual.__name__}, which trials of this kind are of")
    return found
