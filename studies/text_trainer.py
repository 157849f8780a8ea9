"""What the studies of texts are trained by."""

from studies.declaration import declaration
from studies.trainer import LoopTrainer
from trainers.config.text_trial import TextTrialConfig
from trainers.trials.texts import TEXT_TRIALS

_FLOPS = (
    "two per multiply-accumulate, five per element of a LayerNorm and one per element of a softmax, of one text as "
    "long as task.length lets it be; so counted, BERT-base and BERT-large take Table 2's 22.36 G and 78.96 G"
)


class TextTrainer(LoopTrainer[TextTrialConfig]):
    """Fine-tunes encoders of texts."""

    kind = TEXT_TRIALS
    flops = _FLOPS
    declaration = declaration(TEXT_TRIALS.task.metrics, flops)
    name = "sortednet text encoders 1"  # raised whenever the same config gives another result
