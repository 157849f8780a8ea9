"""What a trial of image classification is."""

from collections.abc import Mapping
from typing import Any, Self

from trainers.config.images import ImagesConfig
from trainers.config.network import NetworkConfig
from trainers.config.norm import CALIBRATION_BATCH, NormConfig
from trainers.config.trial import TrialConfig
from trainers.config.version_4 import is_version_4, parts_of_version_4


class ImageTrialConfig(TrialConfig):
    """The config of a trial of image classification, less its seed."""

    task: ImagesConfig = ImagesConfig()
    network: NetworkConfig = NetworkConfig()
    norm: NormConfig = NormConfig()

    @property
    def calibration_examples(self) -> int:
        """As `TrialConfig.calibration_examples`."""
        return self.norm.recalibrated * CALIBRATION_BATCH

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> Self:
        """The config that `as_dict` wrote, now or in version 4.

        Raises:
            ConfigError: a value that cannot be, in one line.
        """
        return super().from_dict(parts_of_version_4(written) if is_version_4(written) else written)
