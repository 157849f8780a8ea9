"""What one trial is given of the nodes that there are, and how many trials fit on them at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.errors import UserError

Node = Mapping[str, float]
"""What a node has, by Ray's names: `CPU` cores and `GPU`s."""


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


def allot(requested: Resources, nodes: Sequence[Node]) -> tuple[Resources, int]:
    """The resources with GPUs decided, and how many trials fit on the nodes at once.

    Raises:
        UserError: no node has what one trial asks for.
    """
    gpus = requested.gpus
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    slots = 0
    for node in nodes:
        by_cpu = _count(node.get("CPU", 0), requested.cpus)
        slots += min(by_cpu, _count(node.get("GPU", 0), gpus)) if gpus else by_cpu
    if slots == 0:
        most = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise UserError(f"a trial asks for {requested.cpus:g} CPUs and {gpus:g} GPUs; the nodes have {most}")
    # A limit has Tune make trials one by one, and a worker that finds none waiting at its trial's end is thrown away.
    limit = requested.max_concurrent if requested.max_concurrent and requested.max_concurrent < slots else None
    return Resources(requested.cpus, gpus, limit), limit or slots


def doubled(share: Resources, nodes: Sequence[Node]) -> Resources | None:
    """Twice the share of a GPU, or of a machine as far as the largest node goes; None if it has all of that."""
    if share.gpus:
        return replace(share, gpus=min(1.0, 2 * share.gpus)) if share.gpus < 1 else None
    most = max((node.get("CPU", 0) for node in nodes), default=0)
    return replace(share, cpus=min(2 * share.cpus, most)) if share.cpus < most else None


def _count(whole: float, part: float) -> int:
    """How often a part is in the whole; ten tenths make one."""
    return math.floor(whole / part + 1e-9)
