"""Packages that come with an extra, and a line that says so where they are not."""

from collections.abc import Iterator
from contextlib import contextmanager

from trainers.errors import ConfigError


@contextmanager
def text_extra() -> Iterator[None]:
    """Around imports of what the extra `[text]` brings.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"studies of texts need {error.name}: pip install 'sortednet-studies[text]'") from error
