"""What one trial is given of the machine that it runs on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """What a trial gets and how many run at once. `gpus` None: a whole one where there is any."""

    cpus: float = 1
    gpus: float | None = None
    max_concurrent: int | None = None

    @property
    def text(self) -> str:
        """`2 CPUs` or `0.5 GPUs`."""
        return f"{self.gpus:g} GPUs" if self.gpus else f"{self.cpus:g} CPUs"
