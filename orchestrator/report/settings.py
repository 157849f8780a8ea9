"""What a study's trials are set to, by full names: what all of its arms agree on, and what was given."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.study.plan import Plan


def shared_settings(plan: Plan, facet: str | None = None) -> dict[str, Any]:
    """What the resolved configs of all arms, or of one facet's, agree on; `budget.amount` for one in a part."""
    first, *others = [
        dict(_flat(trial.config))
        for trial in plan.first_trials.values()
        if facet is None or plan.study.facet(dict(trial.arm.levels)) == facet
    ]
    return {key: first[key] for key in first if all(key in other and other[key] == first[key] for other in others)}


def given_settings(plan: Plan) -> dict[str, Any]:
    """What the preset and the command line set before arms do."""
    return dict(_flat(plan.base))


def in_text(value: Any) -> str:
    """A text as it is, anything else as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
