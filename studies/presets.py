"""The scales at which the CIFAR studies run. The recipe of `paper` is LCS's, which the paper's Table 1 follows.

`quick` was chosen with `benchmarks/choose_quick.py` on 2,000 images held out of training (SortedNet, InstanceNorm,
bf16, n = 1; average accuracy over the four widths, two trials side by side on 2 cores): batch 16 at rate .02: 13.3 %
and .05: 20.1 % after 1,250 updates; .1: 24.9 % after 1,250 and 28.5 % after 2,500 (114 s); .3: 29.1 % after 2,000
(125 s); batch 8 at .1: 30.1 % after 4,000 (140 s). It keeps the published rate, .1.
"""

from orchestrator.study import Preset

QUICK = Preset(
    {
        "dataset": "cifar10",
        "batch_size": 16,
        "learning_rate": 0.1,
        "warmup": 0.1,
        "schedule_stages": 0,
        "updates": 750,
        "equalize": "passes",
        "evaluations": 2,
    },
    seeds=1,
    about="real CIFAR-10, minutes on 2 CPU cores, equal passes; recipe chosen on images held out of training",
)
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
    about="embedded 8×8 digits, a minute or two on 2 CPU cores: shows that everything works, and nothing else",
)
PAPER = Preset(
    {"dataset": "cifar10", "evaluations": 200},
    seeds=3,
    about="the published recipe: 78,200 updates of batch 128, warm-up and cosine per epoch of 200; needs a GPU",
)
PRESETS = {"quick": QUICK, "smoke": SMOKE, "paper": PAPER}
