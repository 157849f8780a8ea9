"""What is said beside an extracted sub-model: where it comes from and what it was measured to do, for readers and
programs. Months later, weights alone say neither."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.report.escaping import for_markdown
from orchestrator.report.latency import Latency
from orchestrator.study.plan import Plan, Trial
from orchestrator.track.tracker import DEVICE, SECONDS, TrackedTrial
from orchestrator.trainer import SubModelCost

DESCRIPTION, CARD = "trial.json", "README.md"


def origin_of(
    plan: Plan, trial: Trial, tracked: TrackedTrial, cost: SubModelCost, row: Mapping[str, str], latency: Latency | None
) -> dict[str, Any]:
    """What is known of a sub-model of a finished trial, as JSON values.

    Args:
        row: of the sub-model in the trial's `sub_models.csv`.
    """
    measured = {metric.name: _number(row.get(metric.name, "")) for metric in plan.declaration.metrics}
    levels = dict(trial.arm.levels)
    found: dict[str, Any] = {
        "study": plan.study.name,
        "preset": plan.preset,
        "arm": trial.arm.label,
        "levels": levels,
        "seed": trial.seed,
        "key": trial.key,
        "run": tracked.run_id,
        "sub_model": cost.label,
        "dimensions": dict(cost.dimensions),
        "macs": cost.macs,
        "parameters": cost.parameters,
        "metrics": {name: value for name, value in measured.items() if value is not None},
        "budget": trial.budget.words,
        "data": trial.data_checksum,
        "trained_on": tracked.tags.get(DEVICE, "unknown"),
        "seconds": _number(tracked.tags.get(SECONDS, "")),
        "commit": tracked.tags.get("git.commit", "none"),
        "uncommitted_changes": tracked.tags.get("git.dirty", "unknown"),
        "versions": {
            name.removeprefix("version."): text
            for name, text in sorted(tracked.tags.items())
            if name.startswith("version.")
        },
    }
    where = plan.study.facet(levels), plan.compared(levels)
    if latency is not None and (milliseconds := latency.milliseconds.get(where, {}).get(cost.label)) is not None:
        found["latency"] = {"milliseconds": milliseconds, "device": latency.device, "others": latency.others}
    return found


def write_card(folder: Path, plan: Plan, origin: Mapping[str, Any], latency: Latency | None) -> None:
    """Writes both into the folder of an extracted sub-model.

    Raises:
        OSError: it cannot be written.
    """
    (folder / DESCRIPTION).write_text(json.dumps(origin, indent=2))
    rows = dict(_rows(plan, origin))
    lines = [
        f"# {for_markdown(origin['sub_model'])} of {for_markdown(origin['arm'])}, seed {origin['seed']}",
        f"One sub-model of a many-in-one network, taken out of a trial of the study {for_markdown(plan.study.title)}.",
        "\n".join(["| | |", "|:--|:--|", *(f"| {name} | {for_markdown(text)} |" for name, text in rows.items())]),
        "Measured on the test data, of this one seed: how much seeds differ is in the study's report.",
        latency.remark if latency is not None and "latency" in origin else "",
        "Files: " + ", ".join(f"`{path.name}`" for path in sorted(folder.iterdir()) if path.name != CARD) + ".",
    ]
    (folder / CARD).write_text("\n\n".join(filter(None, lines)) + "\n")


def _rows(plan: Plan, origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    titles = {metric.name: metric for metric in plan.declaration.metrics}
    rows = [(titles[name].title, titles[name].with_unit(value)) for name, value in origin["metrics"].items()]
    rows += [
        ("multiply-accumulates of one example", f"{origin['macs']:,}"),
        ("parameters", f"{origin['parameters']:,}"),
    ]
    if "latency" in origin:
        timed = origin["latency"]
        rows.append(("latency of one example", f"{timed['milliseconds']:.2f} ms, median, fp32 on {timed['device']}"))
    changed = " with uncommitted changes" if origin["uncommitted_changes"] == "true" else ""
    versions = ", ".join(f"{name} {text}" for name, text in origin["versions"].items() if text != "not installed")
    return [
        *rows,
        ("budget", origin["budget"]),
        ("trained on", origin["trained_on"]),
        ("data", origin["data"]),
        ("study", f"{origin['study']}, preset {origin['preset']}"),
        ("trial", origin["key"]),
        ("MLflow run", origin["run"]),
        ("commit", f"{origin['commit']}{changed}"),
        ("versions", versions),
    ]


def _number(text: str | None) -> float | None:
    """None where nothing was measured, or what is no number."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
