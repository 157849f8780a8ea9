"""A module beside the study's file, which is no package's."""

from collections.abc import Sequence


def smallest_of(values: Sequence[float]) -> float:
    return min(values)
