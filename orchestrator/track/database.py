"""MLflow's database read directly, where the store is one: its own search takes two milliseconds for every run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, TableClause, column, select, table

_RUN = ("run_uuid", "status", "artifact_uri", "experiment_id", "lifecycle_stage", "start_time")
_RUNS = table("runs", *map(column, _RUN))
_VALUE = ("run_uuid", "key", "value")
_TAGS, _PARAMS = (table(name, *map(column, _VALUE)) for name in ("tags", "params"))
_METRICS = table("latest_metrics", *map(column, (*_VALUE, "is_nan")))


class Database:
    """The active runs of an experiment that have a tag in common, and each a tag of its own.

    Args:
        uri: as SQLAlchemy takes it.
        experiment: its id.
        common: name and value of the tag in common.
        own: name of the other.
    """

    def __init__(self, uri: str, experiment: str, common: tuple[str, str], own: str) -> None:
        self._uri = uri
        shared, self._own = _TAGS.alias(), _TAGS.alias()
        self._runs = _RUNS.join(shared, shared.c.run_uuid == _RUNS.c.run_uuid).join(
            self._own, self._own.c.run_uuid == _RUNS.c.run_uuid
        )
        self._wanted = sqlalchemy.and_(
            _RUNS.c.experiment_id == int(experiment),
            _RUNS.c.lifecycle_stage == "active",
            shared.c.key == common[0],
            shared.c.value == common[1],
            self._own.c.key == own,
        )

    def standings(self) -> list[tuple[str, str, str]]:
        """`(its own tag, run id, status)` of each, oldest first."""
        with self._connected() as connection:
            return self._of_runs(connection, self._own.c.value, _RUNS.c.run_uuid, _RUNS.c.status)

    def contents(self) -> list[tuple[str, str, str, dict[str, str], dict[str, str], dict[str, float]]]:
        """`(run id, status, artifact URI, tags, parameters, last metrics)` of each, oldest first."""
        with self._connected() as connection:
            runs = self._of_runs(connection, _RUNS.c.run_uuid, _RUNS.c.status, _RUNS.c.artifact_uri)
            tags, params = (self._values(connection, values) for values in (_TAGS, _PARAMS))
            metrics = self._values(connection, _METRICS, _METRICS.c.is_nan)
        return [
            (
                run_id,
                status,
                artifacts or "",  # of a run that somebody has edited
                dict(tags.get(run_id, ())),
                dict(params.get(run_id, ())),
                {name: float("nan") if is_nan else value for name, value, is_nan in metrics.get(run_id, ())},
            )
            for run_id, status, artifacts in runs
        ]

    def _of_runs(self, connection: Connection, *columns: ColumnElement[Any]) -> list[Any]:
        wanted = (
            select(*columns).select_from(self._runs).where(self._wanted).order_by(_RUNS.c.start_time, _RUNS.c.run_uuid)
        )
        return [tuple(row) for row in connection.execute(wanted)]

    def _values(self, connection: Connection, values: TableClause, *more: ColumnElement[Any]) -> dict[str, list[Any]]:
        """What every run has in a table, by its id: names, values and whatever else is asked."""
        theirs = self._runs.join(values, values.c.run_uuid == _RUNS.c.run_uuid)
        wanted = select(values.c.run_uuid, values.c.key, values.c.value, *more).select_from(theirs).where(self._wanted)
        found: dict[str, list[Any]] = {}
        for run_id, *rest in connection.execute(wanted):
            found.setdefault(run_id, []).append(rest)
        return found

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        engine = sqlalchemy.create_engine(self._uri)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()
