"""Which distribution should sub-models be drawn from? One per step (SortedNet), of the sandwich four; all else equal.

python studies/cifar_sampling_ablation.py

MatFormer's five, uniform and four skews, are
`--only sampler=uniform,sampler=skew-small,sampler=lean-small,sampler=lean-large,sampler=skew-large`.
"""

from orchestrator.commands.command_line import main
from orchestrator.study.study import Factor, Study
from studies.binding import image_trainer
from studies.presets import scaled

DISTRIBUTIONS = (
    "uniform",
    "round-robin",
    "linear",
    "log-uniform",
    "macs",
    "inverse-macs",
    "geometric(0.5)",
    "truncated-normal(0.5,0.25)",
    "log-uniform(continuous)",
    "sandwich(4)",
    "annealed(largest,0.5)",
    "annealed(smallest,0.5)",
    "adaptive(0.1)",
)
MATFORMER = {  # Devvrit et al. 2023, the ablation of sampling probabilities; smallest first
    "skew-small": "categorical(.44,.31,.15,.10)",
    "lean-small": "categorical(.31,.27,.22,.20)",
    "lean-large": "categorical(.20,.22,.24,.34)",
    "skew-large": "categorical(.17,.20,.22,.41)",
}


def _settings(sampler: str) -> dict[str, str]:
    """A sandwich sums what it draws; every other distribution here draws one sub-model."""
    return {"sampler": sampler, "objective": "sum" if sampler.startswith("sandwich") else "stochastic-loss"}


STUDY = Study(
    name="cifar_sampling_ablation",
    title="Sampling distributions",
    presets=scaled(updates=400, seeds=3, quick={"interim_examples": 300}),
    factors=(
        Factor(
            "sampler",
            {name: _settings(name) for name in DISTRIBUTIONS}
            | {name: _settings(sampler) for name, sampler in MATFORMER.items()},
            usual=DISTRIBUTIONS,
        ),
    ),
    baseline={"sampler": "uniform"},
)

if __name__ == "__main__":
    main(STUDY, image_trainer)
