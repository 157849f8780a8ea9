"""A trained network made nested: are its channels worth sorting by importance first?

A network is trained alone, its weights are written to a folder, and every arm starts from them:

    python studies/cifar_norm_ablation.py --only method=Independent,norm=batch --set 'widths=[1.0]'
    python studies/cifar_norm_ablation.py --only method=Independent,norm=batch --set 'widths=[1.0]' extract --to trained
    python studies/pretrained_reordering.py --set weights=trained/model.safetensors

The arms differ in the order of the network's channels. All sub-models are evaluated before the first update, too.
`smoke` starts from a network that comes along, `trained/digits.safetensors`.

The curve of `quick`, with its start, is of 2,000 of the 10,000 test images (on them an accuracy of 20 % has a standard
error of 0.9 points), and its table of all. Norms average anew over 5,000 training images before a sub-model is
evaluated, so eleven points and the end read 92,000 images per sub-model; six evaluations on all of them read 90,000.
"""

from orchestrator.commands.command_line import main
from orchestrator.study.study import Factor, Study
from studies.binding import image_trainer
from studies.presets import scaled

STUDY = Study(
    name="pretrained_reordering",
    title="A trained network made nested: order of its channels",
    presets=scaled(
        updates=500,
        seeds=3,
        common={"method": "SortedNet", "norm": "batch-recalibrated", "evaluates_start": True},
        quick={"interim_examples": 2000, "equalize": "updates"},
        smoke={"evaluations": 2, "equalize": "updates", "weights": "studies:trained/digits.safetensors"},
    ),
    factors=(Factor.of("order", ["trained", "l1", "gamma"]),),
    baseline={"order": "trained"},
)

if __name__ == "__main__":
    main(STUDY, image_trainer)
