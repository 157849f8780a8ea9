"""Table 1's study with the `smoke` that it had when golden files and what older versions left behind were written."""

from dataclasses import replace

from orchestrator.study.study import Preset
from studies import cifar_norm_ablation

SMOKE = Preset(
    {
        "dataset": "digits",
        "batch_size": 16,
        "learning_rate": 0.1,
        "warmup": 0.1,
        "schedule_stages": 0,
        "precision": "fp32",
        "updates": 100,
        "evaluations": 3,
    },
    seeds=2,
    about="SGD, equal updates",
)
STUDY = replace(cifar_norm_ablation.STUDY, presets={"smoke": SMOKE})
