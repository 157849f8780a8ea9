"""Eighteen encoders in one: MiniLM nested in depths × hidden sizes, heads following, on one task.

python studies/encoder_many_in_one.py

The curve of `quick` is of 200 test texts and 4 of the 18: its ten points read 8,000 texts, the end, on all, 18,630.
"""

from orchestrator.commands.command_line import main
from orchestrator.study.study import Factor, Preset, Study
from studies.binding import text_trainer

STUDY = Study(
    name="encoder_many_in_one",
    title="Sub-models of an encoder, trained as one",
    presets={
        "quick": Preset(
            {
                "network": "minilm",
                "dataset": "rotten-tomatoes",
                "dimensions": {"depth": [1, 2, 3, 4, 5, 6], "hidden": [192, 288, 384]},
                "learning_rate": 1e-4,
                "epochs": 6,
                "evaluations": 10,
                "interim_examples": 200,
                "interim_sub_models": 4,
            },
            seeds=1,
            about="MiniLM on Rotten Tomatoes, minutes on 2 CPU cores",
        ),
        "smoke": Preset(
            {
                "network": "tiny-bert",
                "dataset": "characters",
                "dimensions": {"depth": [1, 2], "hidden": [16, 32, 48, 64]},
                "length": 32,
                "learning_rate": 1e-3,
                "precision": "fp32",
                "epochs": 1,
                "evaluations": 2,
            },
            seeds=1,
            about="eight sub-models of a tiny BERT on names of characters, half a minute: shows that everything works",
        ),
    },
    factors=(Factor.of("method", ["SortedNet"]),),
    subject={"method": "SortedNet"},
)

"""The rate of `quick` was tried with `benchmarks/choose_quick_texts.py` on 1,086 texts held out of training (1,200
updates, bf16, n = 1; accuracy of the largest, the smallest, the mean of all): 3e-5: 82.0, 49.7 and 64.1 %; 1e-4: 80.1,
60.2 and 74.5 %; 3e-4: 75.6, 75.7 and 75.4 %. At 1e-4 sub-models differ by their size, which the study is about."""

if __name__ == "__main__":
    main(STUDY, text_trainer)
