"""Paper-style tables: mean ± SD over seeds with n, per sub-model and averaged, the published numbers beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orchestrator.report.results import Results

AVERAGE = "avg."
LEDGER_ROWS = (
    ("total_updates", "all updates"),
    ("total_passes", "all passes"),
    ("total_macs", "training MACs (forward)"),
    ("seconds", "seconds"),
)


@dataclass(frozen=True)
class Cell:
    """Accuracy in per cent over n seeds. With one seed no spread is known: `sd` is None."""

    mean: float
    sd: float | None
    n: int
    best: bool
    published: float | None = None
    derived: bool = False

    @property
    def text(self) -> str:
        """`41.23 ± 0.35`, or the mean alone."""
        return f"{self.mean:.2f}" if self.sd is None else f"{self.mean:.2f} ± {self.sd:.2f}"

    @property
    def published_text(self) -> str:
        """The published value as printed, `†` if derived, and how far ours lies from it."""
        if self.published is None:
            return "–"
        return f"{self.published:.2f}{'†' if self.derived else ''} ({self.mean - self.published:+.2f})"


@dataclass(frozen=True)
class Table:
    """Rows are sub-models (largest first) and the average; columns are arms."""

    arms: tuple[str, ...]
    rows: tuple[str, ...]
    macs: Mapping[str, int]
    cells: Mapping[tuple[str, str], Cell]
    updates: Mapping[tuple[str, str], float]
    totals: Mapping[str, Mapping[str, float]]
    seeds: Mapping[str, int]
    caption: str
    compares: bool


def read_published(path: Path, factors: Sequence[str]) -> dict[tuple[str, str], tuple[float, bool]]:
    """Published accuracies by (arm label, sub-model), and whether derived; averages as printed."""
    frame = pd.read_csv(path, dtype=dict.fromkeys(factors, str))
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    for levels, rows in frame.groupby(list(factors), sort=False):
        arm = " · ".join(str(level) for level in levels)
        for row in rows.itertuples():
            found[arm, str(row.sub_model)] = (float(str(row.accuracy)), str(row.source) == "derived")
    return found


def make_table(results: Results, published: Mapping[tuple[str, str], tuple[float, bool]], caption: str) -> Table:
    """The table of final test accuracies. The best of each row is marked, to the printed two decimals."""
    frame = results.frame
    rows = (*reversed(results.sub_models), AVERAGE)
    averages = frame.groupby(["arm", "seed"], as_index=False)["test_acc"].mean().assign(sub_model=AVERAGE)
    values = pd.concat([frame[["arm", "seed", "sub_model", "test_acc"]], averages])
    stats = values.groupby(["sub_model", "arm"])["test_acc"].agg(["mean", "std", "count"])
    cells: dict[tuple[str, str], Cell] = {}
    for row in rows:
        means = {arm: float(stats.loc[(row, arm), "mean"]) for arm in results.arms}
        top = max(round(mean, 2) for mean in means.values())
        for arm, mean in means.items():
            n = int(stats.loc[(row, arm), "count"])
            sd = float(stats.loc[(row, arm), "std"]) if n > 1 else None
            printed, derived = published.get((arm, row), (None, False))
            cells[row, arm] = Cell(mean, sd, n, round(mean, 2) == top, printed, derived)
    macs = frame.groupby("sub_model")["macs"].first()
    updates = {
        (row, arm): float(frame[(frame["arm"] == arm) & (frame["sub_model"] == row)]["updates"].mean())
        for arm in results.arms
        for row in results.sub_models
    }
    totals = {
        arm: {name: float(frame[frame["arm"] == arm][name].mean()) for name, _ in LEDGER_ROWS} for arm in results.arms
    }
    return Table(
        arms=results.arms,
        rows=rows,
        macs={row: int(macs[row]) for row in results.sub_models},
        cells=cells,
        updates=updates,
        totals=totals,
        seeds={arm: int(frame[frame["arm"] == arm]["seed"].nunique()) for arm in results.arms},
        caption=caption,
        compares=any(cell.published is not None for cell in cells.values()),
    )


def as_markdown(table: Table) -> str:
    """GitHub Markdown: the table, the comparison with the published numbers, the ledger."""
    grid = [["sub-model", "MACs", *table.arms]]
    for row in table.rows:
        cells = [table.cells[row, arm] for arm in table.arms]
        grid.append([row, _macs(table, row), *(f"**{cell.text}**" if cell.best else cell.text for cell in cells)])
    grid.append(["n (seeds)", "", *(str(table.seeds[arm]) for arm in table.arms)])
    parts = [_grid(grid), table.caption]
    if table.compares:
        beside = [["sub-model", *table.arms]]
        beside += [[row, *(table.cells[row, arm].published_text for arm in table.arms)] for row in table.rows]
        parts += ["Published, and ours minus published:", _grid(beside)]
    counts = [["updates", *table.arms]]
    counts += [[row, *(f"{table.updates[row, arm]:,.0f}" for arm in table.arms)] for row in table.rows[:-1]]
    for name, title in LEDGER_ROWS:
        counts.append([title, *(ledger_text(name, table.totals[arm][name]) for arm in table.arms)])
    parts += ["Gradient updates per sub-model, and totals (means over seeds):", _grid(counts)]
    return "\n\n".join(parts) + "\n"


def ledger_text(name: str, value: float) -> str:
    """A ledger total as a reader wants it."""
    return f"{value:.3e}" if name == "total_macs" else f"{value:,.0f}"


def _macs(table: Table, row: str) -> str:
    return f"{table.macs[row] / 1e6:.3f} M" if row in table.macs else ""


def _grid(rows: Sequence[Sequence[str]]) -> str:
    head, *body = (f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)
    rule = "|" + "|".join([":--", *["--:"] * (len(rows[0]) - 1)]) + "|"
    return "\n".join([head, rule, *body])


_LATEX = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "·": r"$\cdot$", "±": r"$\pm$", "×": r"$\times$",
        "–": "--", "−": "$-$", "†": r"$\dagger$", "Θ": r"$\Theta$",
    }
)  # fmt: skip


def as_latex(table: Table) -> str:
    """A document that compiles on its own (booktabs); the tabular can be cut out of it."""
    columns = "lr" + "r" * len(table.arms)
    lines = [
        r"\documentclass{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage{booktabs}",
        r"\usepackage[landscape,margin=1.5cm]{geometry}",
        r"\begin{document}",
        r"\begin{table}",
        r"\centering\small",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(["sub-model", "MACs", *(arm.translate(_LATEX) for arm in table.arms)]) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        if row == AVERAGE:
            lines.append(r"\midrule")
        cells = [table.cells[row, arm] for arm in table.arms]
        texts = [rf"\textbf{{{cell.mean:.2f}}}" if cell.best else f"{cell.mean:.2f}" for cell in cells]
        spread = [rf" $\pm$ {cell.sd:.2f}" if cell.sd is not None else "" for cell in cells]
        line = [row.translate(_LATEX), _macs(table, row), *(a + b for a, b in zip(texts, spread, strict=True))]
        lines.append(" & ".join(line) + r" \\")
        if any(cell.published is not None for cell in cells):
            paper = ["", r"\emph{published}", *(cell.published_text.translate(_LATEX) for cell in cells)]
            lines.append(" & ".join(paper) + r" \\")
    lines.append(" & ".join(["$n$ (seeds)", "", *(str(table.seeds[arm]) for arm in table.arms)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{table.caption.translate(_LATEX)}}}"]
    lines += [r"\end{table}", r"\end{document}"]
    return "\n".join(lines) + "\n"
