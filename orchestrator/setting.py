"""What may be set of a trial, as whoever types `--set` needs to know it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """One setting of a trainer.

    Attributes:
        name: its full name, `optimizer.learning_rate`.
        short: the shortest that means no other, `learning_rate`; the full name where there is none.
        default: what it is unless it is said, as `--set` takes it; or in words whose it is, `the method's`.
        takes: what values it takes, `a number from 0 to 1`.
        about: what it does, a sentence.
        choices: the values where they are few.
        unit: what it is counted in; empty for nothing.
    """

    name: str
    short: str
    default: str
    takes: str
    about: str
    choices: tuple[str, ...] = ()
    unit: str = ""
