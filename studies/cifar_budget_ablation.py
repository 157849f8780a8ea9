"""Does the ranking of the methods depend on the budget, and on what is called equal? Methods × budgets × units.

python studies/cifar_budget_ablation.py
"""

from orchestrator.commands.command_line import main
from orchestrator.study.study import Factor, Study
from studies.binding import image_trainer
from studies.presets import scaled

BUDGETS = {"½×": 0.5, "1×": 1.0, "2×": 2.0, "4×": 4.0}

STUDY = Study(
    name="cifar_budget_ablation",
    title="Methods × update budgets × what is equal",
    presets=scaled(
        updates=200,
        seeds=1,
        quick={"interim_examples": 200},
        varied=("equalize",),
        smoke_only=(("equalize", "passes"),),
    ),
    factors=(
        Factor.of("method", ["NS", "LCS-p", "SortedNet"]),
        Factor("budget", {name: {"budget_scale": scale} for name, scale in BUDGETS.items()}),
        Factor.of("equalize", ["updates", "passes", "macs"]),
    ),
    baseline={"method": "NS"},
    subject={"method": "SortedNet"},
    facets=("budget", "equalize"),
    curve="budget",
)

if __name__ == "__main__":
    main(STUDY, image_trainer)
