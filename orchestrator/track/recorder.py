"""The recorder: the driver's hand that writes a study into MLflow. The only writer, and idempotent.

Per trial and step a point is written once, however often it is handed over: a replay adds nothing, and at the end
the checkpoint's history fills whatever gap a crash left. Every method may be called again after it failed midway.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.client import MlflowClient

from orchestrator.secrecy.redaction import without_passwords
from orchestrator.study.plan import Plan, Trial
from orchestrator.track import served_model
from orchestrator.track.inputs import inputs_of, inputs_of_all
from orchestrator.track.limits import NAME_LIMIT, VALUE_LIMIT, as_name, as_value
from orchestrator.track.metric_names import MetricNames
from orchestrator.track.parameters import in_batches, params_of
from orchestrator.track.sub_model_table import sub_model_table
from orchestrator.track.summary import DESCRIPTION, averages_of_arms, described_by
from orchestrator.track.tracker import (
    ARM,
    ARM_SETTINGS,
    BASE,
    BUDGET,
    CODE,
    DEVICE,
    DIVERGED,
    EPOCH,
    FACTOR,
    KEY,
    LATENCY,
    LOOKS,
    OUTCOME,
    PRESET,
    RUN_NAME,
    SECONDS,
    SEED,
    SETTINGS,
    Standing,
    Tracker,
)
from orchestrator.track.view import views_of

_LANES = 8  # writers at once, for a store that takes several
_METRICS_AT_ONCE = 800  # a batch holds 1,000 metrics, parameters and tags
_TRACEBACK_LIMIT = 1_000_000


class Recorder:
    """Writes one plan into its experiment. Runs are found again by key, so a restart continues them."""

    def __init__(self, tracker: Tracker, plan: Plan, provenance: Mapping[str, str], diff: str = "") -> None:
        self._client: MlflowClient = tracker.client
        self.tracker = tracker
        self.lanes = 1 if tracker.uri.startswith("sqlite") else _LANES
        self._plan, self._provenance = plan, dict(provenance)
        self._names = MetricNames(plan.declaration)
        experiment = tracker.experiment(plan.study.name, create=True)
        assert experiment is not None
        self.experiment = experiment
        parent = tracker.parent(experiment, plan.base_key)
        standings: Mapping[str, Standing] = {}
        if parent is None:
            self.parent_id, written = self._create_parent(), set[str]()
        else:
            self.parent_id, written = parent.info.run_id, set(parent.data.params)
            self._client.update_run(self.parent_id, status="RUNNING")
            standings = tracker.standings(experiment, plan.base_key)
        params = params_of(plan.base)
        if not written.issuperset(param.key for param in params):  # it is new, or what made it came no further
            for some in in_batches(params):
                self._client.log_batch(self.parent_id, params=some)
        if inputs := inputs_of_all(plan):  # the same again changes nothing
            self._client.log_inputs(self.parent_id, inputs)
        self._show()
        if diff:
            tracker.attach_text(self.parent_id, diff, f"diffs/{self._provenance['git.diff']}.patch")
        self._runs = {key: standing.run_id for key, standing in standings.items()}
        self.finished = {key for key, standing in standings.items() if standing.status == "FINISHED"}
        self._steps: dict[str, set[int]] = {}
        self._unwritten: dict[str, list[Param]] = {}  # parameters of runs that nothing has been written into yet
        self._devices: dict[str, str] = {}
        self._doubtful: set[str] = set()  # trials whose run may have been created though no answer came

    def _show(self) -> None:
        """Has the experiment's page open with this plan, by an address that names it."""
        known = self._client.get_experiment(self.experiment).tags
        for tag, shown in views_of(self._plan).items():
            if known.get(tag) != shown:
                self._client.set_experiment_tag(self.experiment, tag, shown)

    def _create_parent(self) -> str:
        plan = self._plan
        tags = {
            "study.role": "base",
            BASE: plan.base_key,
            PRESET: plan.preset,
            SETTINGS: settings_text(plan.base),
            "data.checksum": ", ".join(plan.data_checksums),
            RUN_NAME: f"{plan.preset} · {plan.base_key[:8]}",
        }
        return self._create(tags)

    def _create(self, tags: Mapping[str, str]) -> str:
        """A run with these tags and where it comes from; gives its id. What is too long is refused when it is late."""
        whole = {**tags, **self._provenance}
        limits = {RUN_NAME: NAME_LIMIT}
        kept = {as_name(name): as_value(text, limits.get(name, VALUE_LIMIT)) for name, text in whole.items()}
        return str(self._client.create_run(self.experiment, tags=kept).info.run_id)

    def start(self, trial: Trial, device: str) -> None:
        """Opens the trial's run, or takes it up again. `device` is what the worker says it runs on, if it is known."""
        levels = {f"{FACTOR}{name}": level for name, level in trial.arm.levels}
        params = params_of({**trial.config, **levels, "seed": trial.seed})
        self._unwritten[trial.key] = params  # the same again changes nothing
        self._devices[trial.key] = device
        if trial.key in self._doubtful:
            standings = self.tracker.standings(self.experiment, self._plan.base_key)
            if trial.key in standings:
                self._runs[trial.key] = standings[trial.key].run_id
            self._doubtful.discard(trial.key)
        if trial.key in self._runs:
            run_id = self._runs[trial.key]
            recorded = self._client.get_metric_history(run_id, self._sentinel(trial))
            self._steps[trial.key] = {metric.step for metric in recorded}
            self._client.update_run(run_id, status="RUNNING")
            if device:
                self._client.set_tag(run_id, DEVICE, as_value(device))
            self._note_inputs(trial)
            return
        code = {f"{CODE}{name}": digest for name, digest in trial.code.items()}
        tags = {
            "study.role": "trial",
            "mlflow.parentRunId": self.parent_id,
            RUN_NAME: trial.label,
            KEY: trial.key,
            BASE: self._plan.base_key,
            ARM: trial.arm.label,
            ARM_SETTINGS: settings_of(trial),
            SEED: str(trial.seed),
            "data.checksum": trial.data_checksum,
            BUDGET: json.dumps([trial.budget.unit, trial.budget.amount]),
            EPOCH: json.dumps(trial.budget.updates_per_epoch),
            DEVICE: device or "unknown",
        }
        self._doubtful.add(trial.key)
        run_id = self._create(tags | levels | code)
        self._doubtful.discard(trial.key)
        self._runs[trial.key], self._steps[trial.key] = run_id, set()
        self._note_inputs(trial)

    def _note_inputs(self, trial: Trial) -> None:
        """What the trial is trained on; the same again changes nothing."""
        if inputs := inputs_of(trial, self._plan.declaration):
            self._client.log_inputs(self._runs[trial.key], inputs)

    def _sentinel(self, trial: Trial) -> str:
        """The metric that is in every point, and the last of it to be written."""
        primary = self._plan.declaration.primary
        name, labels = (primary.interim, trial.interim) if trial.interim else (primary.name, trial.labels)
        return as_name(f"{name}/{labels[-1]}")

    def record(self, trial: Trial, points: Sequence[Mapping[str, Any]], tags: Sequence[RunTag] = ()) -> None:
        """Writes the points that are not there yet, parameters with the first thing written, tags with the last.

        Into a new run if somebody has deleted the one there was; its curve is whole once the trial ends.
        """
        try:
            self._record(trial, points, tags)
        except MlflowException:
            if not self._deleted(trial):
                raise
            del self._runs[trial.key]
            self.start(trial, self._devices.get(trial.key, ""))
            self._record(trial, points, tags)

    def _deleted(self, trial: Trial) -> bool:
        try:
            return bool(self._client.get_run(self._runs[trial.key]).info.lifecycle_stage == "deleted")
        except MlflowException as error:
            return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")

    def _record(self, trial: Trial, points: Sequence[Mapping[str, Any]], tags: Sequence[RunTag]) -> None:
        run_id, steps, sentinel = self._runs[trial.key], self._steps[trial.key], self._sentinel(trial)
        batches: list[tuple[list[MlflowMetric], int | None]] = []  # the step that is whole once a batch is written
        for point in points:
            if point["step"] in steps or any(step == point["step"] for _, step in batches):
                continue
            metrics = [
                MlflowMetric(self._names.kept(name), float(value), int(point["time"]), int(point["step"]))
                for name, value in point["metrics"].items()
                if self._names.is_worth_keeping(name, value)
            ]
            metrics.sort(key=lambda metric: metric.key == sentinel)
            starts = range(0, len(metrics), _METRICS_AT_ONCE)
            batches += [(metrics[first : first + _METRICS_AT_ONCE], None) for first in starts[:-1]]
            batches.append((metrics[starts[-1] :], point["step"]))
        for params in in_batches(self._unwritten.get(trial.key, []))[:-1]:
            self._client.log_batch(run_id, params=params)
        if (trial.key in self._unwritten or tags) and not batches:
            batches = [([], None)]
        for index, (batch, step) in enumerate(batches):
            last = index == len(batches) - 1
            params = in_batches(self._unwritten.get(trial.key, []))[-1]
            self._client.log_batch(run_id, batch, params=params, tags=tags if last else ())
            self._unwritten.pop(trial.key, None)
            if step is not None:
                steps.add(step)

    def finish(
        self, trial: Trial, outcome: str, seconds: float, history: Sequence[Mapping[str, Any]], checkpoint: Path
    ) -> None:
        """Fills gaps from the history, attaches the artifacts and closes the run."""
        self.record(trial, history, [RunTag(OUTCOME, as_value(outcome)), RunTag(SECONDS, f"{seconds:.1f}")])
        run_id = self._runs[trial.key]  # a new one, if the run was found deleted just now
        artifacts = [name for name in self.artifact_names if (checkpoint / name).is_file()]
        whole = history and outcome != DIVERGED and len(artifacts) == len(self.artifact_names)
        served = self._plan.declaration.served if whole and artifacts else None
        with tempfile.TemporaryDirectory() as scratch:  # one call for all: each looks up the run
            folder = Path(scratch)
            (folder / "config.json").write_text(json.dumps(dict(trial.config), indent=2))
            (folder / "history.json").write_text(json.dumps({"points": list(history)}))
            (folder / "sub_models.csv").write_text(sub_model_table(trial, history))
            for name in artifacts:  # weights are large, and the temporary folder may be small
                (folder / name).symlink_to((checkpoint / name).resolve())
            if served is not None:
                known_by = served_model.put_together(folder, artifacts, served, trial, run_id, history[-1]["time"])
                self._client.set_tag(run_id, served_model.KNOWN_BY, known_by)
            self.tracker.attach(run_id, folder)
        if served is not None and (kept := self.artifacts(trial)) is not None:
            served_model.link_beside(artifacts, kept)
        self._client.set_terminated(run_id, "FINISHED")
        self.finished.add(trial.key)

    @property
    def artifact_names(self) -> tuple[str, ...]:
        """The files of a trial's last snapshot that are recorded."""
        return self._plan.declaration.artifacts

    def artifacts(self, trial: Trial) -> Path | None:
        """The folder in which a trial's artifacts are recorded; None where a server keeps them."""
        return self.tracker.folder(self._client.get_run(self._runs[trial.key]).info.artifact_uri)

    def fail(self, trial: Trial, error: str, traceback: str) -> None:
        """Closes the run as failed, with its own traceback."""
        if trial.key not in self._runs:  # lost before its first report
            self.start(trial, "")
        self.record(trial, [], [RunTag(OUTCOME, "failed"), RunTag("error", as_value(without_passwords(error)))])
        run_id = self._runs[trial.key]
        self.tracker.attach_text(run_id, as_value(without_passwords(traceback), _TRACEBACK_LIMIT), "traceback.txt")
        self._client.set_terminated(run_id, "FAILED")

    def interrupt(self, trials: Sequence[Trial]) -> None:
        """Marks runs that were cut off; they go on from their checkpoints when the study is run again."""
        opened = [self._runs[trial.key] for trial in trials if trial.key in self._runs]
        for run_id in (*opened, self.parent_id):
            self._client.set_terminated(run_id, "KILLED")

    def note_latency(self, device: str, milliseconds: Mapping[str, Mapping[str, float]], others: float) -> None:
        """Keeps the latency of every target, by arm and label, with the base config.

        Args:
            others: share of the machine that other processes took meanwhile.
        """
        measured = {"device": device, "others": round(others, 3), "milliseconds": dict(milliseconds)}
        self.tracker.attach_text(self.parent_id, json.dumps(measured, indent=2), LATENCY)

    def note_looks(self, looks: Mapping[str, Any]) -> None:
        """Keeps with the base config at which numbers of seeds is looked."""
        self.tracker.attach_text(self.parent_id, json.dumps(dict(looks)), LOOKS)

    def attach_report(self, folder: Path, trials: Sequence[Trial], name: str = "report") -> None:
        """Copies the report into the parent run by a name, and closes it: as finished if all of these trials are."""
        self.tracker.attach(self.parent_id, folder, name)
        self._summarise(folder, name)
        complete = all(trial.key in self.finished for trial in trials)
        self._client.set_terminated(self.parent_id, "FINISHED" if complete else "FAILED")

    def _summarise(self, report: Path, name: str) -> None:
        """The description of the base config's run, and the averages of its arms; the same again changes nothing."""
        found = averages_of_arms(self._plan, self.tracker.trials(self.experiment, self._plan.base_key))
        known, now = self._client.get_run(self.parent_id).data, int(time.time() * 1000)
        metrics = [
            MlflowMetric(name, value, now, seeds)
            for name, (value, seeds) in found.items()
            if known.metrics.get(name) != value
        ]
        text = described_by(report, name)
        tags = [RunTag(DESCRIPTION, text)] if text and known.tags.get(DESCRIPTION) != text else []
        for first in range(0, len(metrics), _METRICS_AT_ONCE):
            self._client.log_batch(self.parent_id, metrics[first : first + _METRICS_AT_ONCE])
        if tags:
            self._client.log_batch(self.parent_id, tags=tags)


def settings_text(base: Mapping[str, Any]) -> str:
    """A base config's settings, as its parent run holds them."""
    return as_value(json.dumps(dict(base), sort_keys=True))


def settings_of(trial: Trial) -> str:
    """A digest of what a trial's arm sets, runs and is trained on: the same name may be another thing elsewhere."""
    own = [dict(trial.code)] if trial.code else []
    content = json.dumps([dict(trial.arm.settings), trial.data_checksum, *own], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
