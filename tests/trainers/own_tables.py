"""Registrations that are gone afterwards."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from trainers.data import datasets
from trainers.data.text.datasets import TEXTS
from trainers.networks.architectures import NETWORKS, architecture
from trainers.objectives import OBJECTIVES
from trainers.own import parts
from trainers.sampling.names import SAMPLERS
from trainers.tasks.measures import MEASURES
from trainers.tasks.names import TASKS

TABLES: tuple[dict[Any, Any], ...] = (
    SAMPLERS,
    OBJECTIVES,
    NETWORKS,
    datasets.DATASETS,
    datasets.LOADERS,
    TEXTS,
    MEASURES,
    TASKS,
    parts.OWN,
    parts._CONTENT,
)


@contextmanager
def put_back() -> Iterator[None]:
    """Whatever is registered inside is forgotten at the end."""
    with ExitStack() as after:
        for table in TABLES:
            after.callback(lambda table=table, before=dict(table): (table.clear(), table.update(before)))
        after.callback(datasets._as_loaded.cache_clear)
        after.callback(architecture.cache_clear)
        yield
