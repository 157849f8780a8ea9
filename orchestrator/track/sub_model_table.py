"""The table of a finished trial's sub-models, which reports and extraction read."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.declaration import LEDGER
from orchestrator.study.plan import Trial


def sub_model_table(trial: Trial, history: Sequence[Mapping[str, Any]]) -> str:
    """The trial's targets with their cost and the metrics of the last evaluation."""
    last: Mapping[str, float] = history[-1]["metrics"] if history else {}
    groups = sorted({name.partition("/")[0] for name in last if "/" in name} - {LEDGER})
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    dimensions = sorted(trial.sub_models[0].dimensions)
    table.writerow(["sub_model", *dimensions, "macs", "parameters", *groups])
    for cost in trial.sub_models:
        values = [last.get(f"{group}/{cost.label}", "") for group in groups]
        place = [cost.dimensions[name] for name in dimensions]
        table.writerow([cost.label, *place, cost.macs, cost.parameters, *values])
    return out.getvalue()
