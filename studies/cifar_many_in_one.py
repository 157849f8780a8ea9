"""160 networks in one: torchvision's MobileNetV2, nested in 16 widths × 10 depths without editing it, on CIFAR-10.

python studies/cifar_many_in_one.py

The curve of `quick` is of 300 test images and 4 of the 160: with 1,000 training images each over which norms average
anew its ten points read 52,000 images, and the end, on all, 1,760,000.
"""

from orchestrator.commands.command_line import main
from orchestrator.study.study import Factor, Study
from studies.binding import image_trainer
from studies.presets import scaled

WIDTHS = [round(0.25 + 0.05 * step, 2) for step in range(16)]
DEPTHS = list(range(1, 11))

STUDY = Study(
    name="cifar_many_in_one",
    title="160 sub-models of MobileNetV2, trained as one network",
    presets=scaled(
        updates=1500,
        seeds=1,
        common={"network": "mobilenet_v2", "widths": WIDTHS, "depths": DEPTHS, "norm": "batch-recalibrated"},
        quick={
            "equalize": "updates",
            "batch_size": 32,
            "recalibration_batches": 4,
            "interim_examples": 300,
            "interim_sub_models": 4,
        },
        smoke={
            "equalize": "updates",
            "updates": 150,
            "widths": [0.5, 1.0],
            "depths": [1, 5, 10],
            "recalibration_batches": 2,
        },
    ),
    factors=(Factor.of("method", ["SortedNet"]),),
    subject={"method": "SortedNet"},
)

if __name__ == "__main__":
    main(STUDY, image_trainer)
