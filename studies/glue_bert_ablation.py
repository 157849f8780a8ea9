"""Table 2: a small encoder as a sub-model of a large one, fine-tuned alone and together, over tasks.

python studies/glue_bert_ablation.py

`--preset paper` is BERT-base inside BERT-large on GLUE; `quick` and `analogue` are smaller encoders on data that
package indexes carry, and no GLUE. `--only` also takes other methods, `--set` any sampler, objective or accumulation.
"""

from pathlib import Path

from orchestrator.commands.command_line import main
from orchestrator.study.study import Factor, Preset, Study
from studies.binding import text_trainer

TASKS = {
    "mnli": "MNLI (accuracy)",
    "qqp": "QQP (F1)",
    "qnli": "QNLI (accuracy)",
    "sst2": "SST-2 (accuracy)",
    "cola": "CoLA (Matthews)",
    "stsb": "STS-B (Spearman)",
    "mrpc": "MRPC (F1)",
    "rte": "RTE (accuracy)",
}
ANALOGUE = {
    "rotten-tomatoes": "Rotten Tomatoes (accuracy)",
    "snli": "SNLI (accuracy)",
    "vader": "VADER (Spearman)",
}
_RECIPE = {"epochs": 3, "equalize": "passes", "combination": "zip"}

STUDY = Study(
    name="glue_bert_ablation",
    title="SortedNet, Table 2: a small encoder inside a large one",
    presets={
        "quick": Preset(
            {
                **_RECIPE,
                "network": "minilm",
                "dimensions": {"depth": [3, 6], "hidden": [288, 384], "heads": [9, 12], "neurons": [1152, 1536]},
                "train_examples": 3_200,
                "learning_rate": 2e-4,
                "evaluations": 10,
                "interim_examples": 200,
            },
            seeds=1,
            about="MiniLM on Rotten Tomatoes, a quarter of an hour at most on 2 CPU cores: an analogue, no GLUE",
            only=(("dataset", "rotten-tomatoes"),),
        ),
        "smoke": Preset(
            {
                **_RECIPE,
                "network": "tiny-bert",
                "dimensions": {"depth": [1, 2], "hidden": [32, 64], "heads": [2, 4], "neurons": [64, 128]},
                "length": 32,
                "learning_rate": 1e-3,
                "precision": "fp32",
                "epochs": 1,
                "evaluations": 3,
            },
            seeds=2,
            about="a tiny BERT drawn from the seed on names of characters, about a minute: shows that everything works",
            only=(("dataset", "characters"),),
        ),
        "analogue": Preset(
            {
                **_RECIPE,
                "network": "mpnet",
                "dimensions": {"depth": [6, 12], "hidden": [576, 768], "heads": [9, 12], "neurons": [2304, 3072]},
                "evaluations": 6,
            },
            seeds=5,
            about="MPNet-base on three tasks, an analogue and no GLUE; needs a GPU",
            only=tuple(("dataset", name) for name in ANALOGUE),
        ),
        "paper": Preset(
            {
                **_RECIPE,
                "network": "bert-large-uncased",
                "dimensions": {"depth": [12, 24], "hidden": [768, 1024], "heads": [12, 16], "neurons": [3072, 4096]},
                "evaluations": 3,
            },
            seeds=5,
            about="BERT-base inside BERT-large on GLUE's eight tasks; needs a GPU and the hub, or copies of its files",
            only=tuple(("dataset", name) for name in TASKS),
        ),
        "paper-base": Preset(
            {**_RECIPE, "network": "bert-base-uncased", "evaluations": 3},
            seeds=5,
            about="the table's first row: BERT-base alone, from weights of its own",
            only=(*(("dataset", name) for name in TASKS), ("method", "Independent"), ("budget", "whole")),
        ),
    },
    factors=(
        Factor("budget", {"half": {"scale": 0.5}, "whole": {"scale": 1}}),
        Factor(
            "method",
            {
                "Independent": {"method": "Independent"},
                "SortedNet": {"method": "SortedNet"},
                "SortedNet-summation": {"method": "SortedNet", "objective": "stochastic-summation"},
                "SortedNet-accumulated": {"method": "SortedNet", "accumulation": 2},
                "NS": {"method": "NS"},
                "NestedDropout": {"method": "NestedDropout"},
            },
            usual=("Independent", "SortedNet"),
        ),
        Factor(
            "dataset",
            {name: {"dataset": name} for name in ("characters", *ANALOGUE, *TASKS)},
            headings={"characters": "characters (accuracy)", **ANALOGUE, **TASKS},
        ),
    ),
    baseline={"method": "Independent"},
    subject={"method": "SortedNet"},
    facets=("budget",),
    across="dataset",
    curve="budget",
    published=Path(__file__).parent / "published" / "sortednet_table2.csv",
    published_for={"network.name": "bert-large-uncased"},
    published_caption=(
        "Published: SortedNet (Valipour et al. 2023), Table 2, 5 runs; Independent is its BERT-large and its Extracted "
        "BERT-base, three epochs each. Its BERT-base from weights of its own has 84.22, 87.37, 91.47, 92.61, 54.90, "
        "88.08, 86.91, 62.96 and 81.07 on average (preset paper-base). It says neither which layers are kept, nor "
        "learning rate, batch or optimizer; ours are DynaBERT's."
    ),
)
"""`Independent` fine-tunes every sub-model alone, cut out of the pretrained encoder: the whole one, and the paper's
"Extracted". At the whole budget each has three epochs, and SortedNet about three for each (~3 + 3); at half of it about
one and a half (~1.5 + 1.5). The paper compares the latter with three epochs each; here both methods have both.

`quick` trains on 3,200 of the 7,495 texts, so that it takes a quarter of an hour where the processor has no bf16, too.
Its rate was chosen with `benchmarks/choose_quick_texts.py` on 1,086 texts held out of training (SortedNet at the whole
budget, fp32, n = 1; accuracy of the large and the small one): 2e-4: 79.4 % and 76.2 %; 4e-4: 75.1 % and 73.8 %. (On
all texts, in bf16, 1e-4: 83.4 % and 75.7 %; 3e-5: 83.4 % and 49.7 %.) The rest of its recipe is DynaBERT's, as in the
other presets. Its curve is of 200 of the 1,035 test texts: ten points and the end read 3,035 per sub-model; three
evaluations on all of them read 3,105."""

if __name__ == "__main__":
    main(STUDY, text_trainer)
