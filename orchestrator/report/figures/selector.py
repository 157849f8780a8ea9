"""A menu that shows one of many sub-models at a time, where all of them at once would be nothing that one can read."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.report.escaping import for_plotly

MOST_AT_ONCE = 4  # sub-models: more are shown one at a time


def menu(
    choices: Sequence[str], traces: Sequence[str], changes: Mapping[str, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Plotly's `updatemenus`, with the first choice chosen.

    Args:
        choices: what can be chosen.
        traces: the choice that every trace of the figure is shown with.
        changes: of the layout, as `Plotly.update` takes them, by choice.
    """
    buttons = [
        {
            "label": for_plotly(choice),
            "method": "update",
            "args": [{"visible": [trace == choice for trace in traces]}, dict((changes or {}).get(choice, {}))],
        }
        for choice in choices
    ]
    return [
        {
            "name": "sub-model",
            "buttons": buttons,
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 0},
            "active": 0,
        }
    ]
