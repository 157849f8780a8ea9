"""Table 1: slimmable networks (NS), LCS-p and SortedNet under InstanceNorm and BatchNorm, cPreResNet20, CIFAR-10.

python studies/cifar_norm_ablation.py

`--only` also takes the other norm policies and the rest of the family: `--only method=Independent,norm=layer`.
"""

from pathlib import Path

from orchestrator.commands.command_line import main
from orchestrator.study.study import Factor, Study
from studies.binding import image_trainer
from studies.presets import PRESETS
from trainers.config.methods import METHODS

_TABLE_1 = ("NS", "LCS-p", "SortedNet")

STUDY = Study(
    name="cifar_norm_ablation",
    title="SortedNet, Table 1: method × norm layer",
    presets=PRESETS,
    factors=(
        Factor.of(
            "method",
            ["NS", "LCS-p", "SortedNet", *(name for name in METHODS if name not in _TABLE_1)],
            usual=_TABLE_1,
        ),
        Factor.of(
            "norm",
            ["instance", "batch", "batch-switchable", "batch-recalibrated", "group", "layer"],
            usual=("instance", "batch"),
        ),
    ),
    baseline={"method": "NS"},
    subject={"method": "SortedNet"},
    published=Path(__file__).parent / "published" / "sortednet_table1.csv",
    published_for={"task.dataset": "cifar10", "network.name": "cpreresnet20"},
    published_caption=(
        "Published: SortedNet (Valipour et al. 2023), Table 1, after 78,200 updates of batch 128; † blank in print, "
        "derived from the printed average. LCS-p under BatchNorm is US. The paper's FLOPs column (301/209/97/59 M) "
        "is not this network's but equals MobileNetV2's on ImageNet; the MACs here are counted from the network."
    ),
)

if __name__ == "__main__":
    main(STUDY, image_trainer)
