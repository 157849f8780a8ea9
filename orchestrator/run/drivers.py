"""Who runs studies on a storage, seen from outside: what else looks at a storage, or tidies it, leaves theirs alone."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.run.holder import Holder
from orchestrator.run.lease import LEASES, living


@dataclass(frozen=True)
class Driver:
    """A process that runs a study on a storage.

    Attributes:
        study: its name.
        base_key: the beginning of the key of its base config.
        holder: of its lease.
    """

    study: str
    base_key: str
    holder: Holder

    def trains(self, key: str) -> bool:
        """Whether a trial is among those that it said it trains."""
        return key.startswith(tuple(self.holder.trials))


def drivers(storage: Path) -> list[Driver]:
    """Those that hold a lease now, but for this process.

    Raises:
        UserError: who runs there cannot be read.
    """
    this = Holder.this_process()
    found = []
    for path, holder in living(storage / LEASES):
        if (holder.host, holder.pid) != (this.host, this.pid):
            study, _, base_key = path.stem.partition(".")
            found.append(Driver(study, base_key, holder))
    return found
