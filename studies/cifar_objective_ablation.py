"""Which losses should a step sum, over how many micro-batches? SortedNet's objectives × gradient accumulation.

python studies/cifar_objective_ablation.py

In-place distillation (the largest sub-model teaches) is a third factor, off unless asked for:
`--only distillation=none,distillation=in-place`. What each of the three adds to the others:
`--design leave-one-out --baseline "objective=sum over all,accumulation=×2,distillation=in-place"`.
"""

from orchestrator.commands.command_line import main
from orchestrator.study.study import Factor, Study
from studies.binding import image_trainer
from studies.presets import scaled

STUDY = Study(
    name="cifar_objective_ablation",
    title="Objectives × gradient accumulation",
    presets=scaled(
        updates=400, seeds=3, quick={"interim_examples": 300}, smoke={"updates": 200, "equalize": "updates"}
    ),
    factors=(
        Factor(
            "objective",
            {
                "stochastic loss": {"objective": "stochastic-loss", "sampler": "uniform"},
                "stochastic summation": {"objective": "stochastic-summation", "sampler": "uniform"},
                "sum over all": {"objective": "sum", "sampler": "all"},
            },
            without="stochastic loss",
        ),
        Factor("accumulation", {f"×{count}": {"accumulation": count} for count in (1, 2, 4)}, without="×1"),
        Factor(
            "distillation",
            {name: {"distillation": name} for name in ("none", "in-place")},
            usual=("none",),
            without="none",
        ),
    ),
    baseline={"objective": "stochastic loss", "accumulation": "×1", "distillation": "none"},
)

if __name__ == "__main__":
    main(STUDY, image_trainer)
