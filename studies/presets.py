"""The scales at which the CIFAR studies run. The recipe of `paper` is LCS's, which the paper's Table 1 follows.

`quick` was chosen with `benchmarks/choose_quick.py` on 2,000 images held out of training (SortedNet, InstanceNorm,
bf16, n = 1; accuracy at full width, one thread): 64,000 images in batches of 16 at the published rate of .1: 31.9 %
with the usual crop and 40.1 % without (in so short a training no image is seen twice, and the crop only removes).
Rate .3: 33.7 %; batch 8: 35.3 % after 193 s instead of 150 s; batch 32 with 70,400 images: 38.1 %. The learning rate,
momentum and weight decay stay the published ones.

Its evaluations before the last are on 1,000 of the 10,000 test images, always the same ones, and so is a second one at
the end, with which the curve is of one set of images: ten points take as long as one evaluation on all of them. Studies
of more and shorter trials have 300 images there, that of budgets 200. In seconds of one thread (SortedNet's network and
four widths, fp32, n = 1, the end reckoned from 2,000 images) ten points took 19 on 300 images, the end 58, and 1,600
passes 88: a trial of the sampling study takes an eighth longer than without its curve.

`smoke` was chosen with the same script on 300 digits held out of training (fp32, n = 1; accuracy averaged over the
four widths, 200 updates of batch 16 of SortedNet under InstanceNorm): SGD at the published rate of .1: 17 %, at .03:
13 %, at .3: 11 %; AdamW at .003: 32 %, at .01: 39 %, at .03: 27 %. With 400 passes for each method (AdamW, .01) NS,
LCS-p and SortedNet have 53, 42 and 75 % under InstanceNorm and 38, 37 and 52 % under BatchNorm, where chance is 10 %:
there the narrow widths stay near it, since all widths share the running statistics of the wide ones.
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.study.study import Preset

QUICK = Preset(
    {
        "dataset": "cifar10",
        "batch_size": 16,
        "learning_rate": 0.1,
        "warmup": 0.1,
        "schedule_stages": 0,
        "crop_padding": 0,
        "updates": 1000,
        "equalize": "passes",
        "evaluations": 10,
        "interim_examples": 1000,
    },
    seeds=1,
    about="real CIFAR-10, minutes on 2 CPU cores; recipe chosen on images held out of training",
)
SMOKE = Preset(
    {
        "dataset": "digits",
        "batch_size": 16,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "warmup": 0.1,
        "schedule_stages": 0,
        "crop_padding": 0,
        "precision": "fp32",
        "updates": 100,
        "equalize": "passes",
        "evaluations": 3,
    },
    seeds=2,
    about="embedded 8×8 digits, a minute or two on 2 CPU cores: every arm learns, none is done learning",
)
PAPER = Preset(
    {"dataset": "cifar10", "evaluations": 200},
    seeds=3,
    about="the published recipe: 78,200 updates of batch 128, warm-up and cosine per epoch of 200; needs a GPU",
)
PRESETS = {"quick": QUICK, "smoke": SMOKE, "paper": PAPER}


def scaled(
    updates: int,
    seeds: int,
    common: Mapping[str, Any] | None = None,
    quick: Mapping[str, Any] | None = None,
    smoke: Mapping[str, Any] | None = None,
    varied: tuple[str, ...] = (),
    smoke_only: tuple[tuple[str, str], ...] = (),
) -> dict[str, Preset]:
    """The three presets for a study of many arms.

    Args:
        updates, seeds: of `quick`, instead of Table 1's.
        common: settings of all three; `quick` and `smoke` of these two, over them.
        varied: settings that the study's factors vary and no preset may fix.
        smoke_only: the levels that `smoke` has of some factors, where all would take too long.
    """
    patches: dict[str, Mapping[str, Any]] = {
        "quick": {"updates": updates, **(quick or {})},
        "smoke": {"evaluations": 2, **(smoke or {})},
    }
    made = {}
    for name, preset in PRESETS.items():
        settings = {**preset.settings, **(common or {}), **patches.get(name, {})}
        for setting in varied:
            settings.pop(setting, None)
        count = {"quick": seeds, "smoke": 1}.get(name, preset.seeds)
        made[name] = Preset(settings, count, preset.about, smoke_only if name == "smoke" else ())
    return made
