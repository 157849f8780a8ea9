"""What the studies of texts are trained by."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.declaration import Declaration, ServedModel, Texts
from studies.trainer import Later, LoopTrainer
from trainers.config.text_trial import TextTrialConfig

if TYPE_CHECKING:
    from trainers.trials.kind import TrialKind

_FLOPS = (
    "two per multiply-accumulate, five per element of a LayerNorm and one per element of a softmax, of one text as "
    "long as task.length lets it be; so counted, BERT-base and BERT-large take Table 2's 22.36 G and 78.96 G"
)
_BESIDE = ("network.json", "tokenizer.json", "tokenizer_config.json")


def _texts(config: Mapping[str, Any]) -> int:
    from trainers.data.text.datasets import text_dataset

    return 2 if text_dataset(config["task"]["dataset"]).pairs else 1


_SERVED = ServedModel(
    "trainers.extraction.served_texts",
    Texts(_texts),
    ("torch", "transformers", "tokenizers", "safetensors", "numpy"),
)


def _kind() -> "TrialKind[TextTrialConfig]":
    from trainers.trials.texts import TEXT_TRIALS

    return TEXT_TRIALS


def _declaration() -> Declaration:
    from studies.declaration import declaration

    return declaration(_kind().task.metrics, TextTrialConfig, _FLOPS, _SERVED, _BESIDE)


class TextTrainer(LoopTrainer[TextTrialConfig]):
    """Fine-tunes encoders of texts."""

    config = TextTrialConfig
    kind = Later(_kind)
    declaration = Later(_declaration)
    flops = _FLOPS
    served = _SERVED
    beside = _BESIDE
    name = "sortednet text encoders 1"  # raised whenever the same config gives another result
