"""What a trial of texts is."""

from typing import Any

from trainers.config.encoder import EncoderConfig
from trainers.config.optimizer import AdamWConfig, OptimizerConfig
from trainers.config.schedule import ScheduleConfig
from trainers.config.texts import TextsConfig
from trainers.config.trial import TrialConfig


class TextTrialConfig(TrialConfig):
    """The config of a trial of texts, less its seed.

    Its defaults are the recipe by which DynaBERT (Hou et al. 2020) fine-tunes, the nearest to Table 2, which says none:
    AdamW at 2e-5 without weight decay, falling along a line to zero without warm-up, gradients clipped at 1.
    """

    task: TextsConfig = TextsConfig()
    network: EncoderConfig = EncoderConfig()
    optimizer: OptimizerConfig = AdamWConfig(learning_rate=2e-5, weight_decay=0.0, clip_norm=1.0)
    schedule: ScheduleConfig = ScheduleConfig(shape="linear", warmup=0.0, stages=0)

    def identity(self) -> dict[str, Any]:
        """As `TrialConfig.identity`; an encoder in a folder is known by its content, which the data's checksum has."""
        from trainers.networks.encoder_sources import ENCODERS

        known = super().identity()
        if self.network.name not in ENCODERS:
            known["network"] = {name: value for name, value in known["network"].items() if name != "name"}
        return known
