"""What the studies of texts are trained by."""

from studies.declaration import declaration
from studies.trainer import LoopTrainer
from trainers.config.text_trial import TextTrialConfig
from trainers.trials.texts import TEXT_TRIALS


class TextTrainer(LoopTrainer[TextTrialConfig]):
    """Fine-tunes encoders of texts."""

    kind = TEXT_TRIALS
    declaration = declaration(TEXT_TRIALS.metrics, short={"score": "score"}, decimals={"loss": 3})
    name = "sortednet text encoders 1"  # raised whenever the same config gives another result
