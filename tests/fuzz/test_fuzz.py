"""Generated inputs: no traceback reaches the user, and no partial state is left. `--fuzz 10000` for many."""

import contextlib
import io
import json
import os
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.commands.command_line import COMMANDS, run, study_command
from orchestrator.errors import UserError
from orchestrator.report.latex import as_latex
from orchestrator.report.reading import read_results
from orchestrator.report.rendering import as_markdown
from orchestrator.report.tables import make_table
from orchestrator.run.checkpoints import CheckpointFolder
from orchestrator.study.plan import make_plan
from orchestrator.study.study import Factor, Preset, Study
from orchestrator.track.recorder import Recorder
from orchestrator.track.tracker import Tracker
from orchestrator.trainer import Place
from studies.cifar_norm_ablation import STUDY as TABLE_1
from studies.image_trainer import ImageTrainer
from tests.conftest import TINY, tiny
from tests.faults.chain import STUDY as CHAIN
from tests.faults.chain import ChainTrainer
from tests.fuzz import mutate
from tests.trainers.test_text_trials import TINY as TINY_TEXTS
from trainers.building.image_networks import build
from trainers.errors import ConfigError, DataError
from trainers.optimizers.sgd import Sgd
from trainers.training.ledger import UpdateLedger
from trainers.training.state import TrainingState
from trainers.trials.images import IMAGES
from trainers.trials.kind import TrialKind
from trainers.trials.texts import TEXT_TRIALS

FIELDS = (
    *TINY, "method", "norm", "widths", "depths", "sampler", "objective", "accumulation", "distillation", "affine",
    "sharing", "momentum", "weight_decay", "equalize", "network", "deterministic", "extract_at", "crop_padding", "flip",
    "optimizer", "optimizer.momentum", "dimensions", "budget", "amount", "unit", "schedule", "name", "task",
)  # fmt: skip
_HERE = Place(threads=1, gpu=False, data=None)

PLAUSIBLE: dict[str, tuple[object, ...]] = {
    "method": ("SortedNet", "NS", "LCS-p", "US-distilled", "Extracted-tuned"),
    "norm": ("instance", "batch", "batch-switchable", "layer"),
    "widths": ([0.5, 1.0], [1], [0.1, 0.25, 1.0], [0.001, 1]),
    "depths": ([], [1], [1, 2]),
    "sampler": ("uniform", "sandwich(3)", "linear", "all", "log-uniform(continuous)", "geometric(0.5)"),
    "objective": ("sum", "mean"),
    "distillation": ("none", "in-place"),
    "affine": ("shared", "line"),
    "sharing": ("nested", "separate", "extracted"),
    "equalize": ("updates", "passes", "macs"),
    "precision": ("fp32", "bf16", "auto"),
    "deterministic": (True, False),
    "flip": (True, False, None),
}


PLAUSIBLE_OF_TEXTS: dict[str, tuple[object, ...]] = {
    **PLAUSIBLE,
    "network": ("tiny-bert", "minilm", "bert-large-uncased", "/", ""),
    "dataset": ("characters", "snli", "cola", "cifar10"),
    "depth": ([1, 2], [2], [], [1]),
    "hidden": ([16, 64], [32, 64], [64], [40, 64]),
    "heads": ([1, 4], [2, 4], [4]),
    "neurons": ([64, 128], [128], [1, 128]),
    "dimensions": ({"depth": [1, 2]}, {"hidden": [32, 64], "heads": [4]}, {}),
    "combination": ("product", "zip"),
    "kept": ("first", "spaced"),
    "length": (8, 64, 65),
    "epochs": (0.5, 3),
    "frozen": ([], ["embeddings.*"], ["*"], ["nothing"]),
}
KINDS: dict[str, tuple[TrialKind[Any], dict[str, Any], dict[str, tuple[object, ...]]]] = {
    "images": (IMAGES, TINY, PLAUSIBLE),
    "texts": (TEXT_TRIALS, TINY_TEXTS, PLAUSIBLE_OF_TEXTS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_settings(kind: str, fuzz: int) -> None:
    trials, tiny, plausible = KINDS[kind]
    chance = random.Random("settings")
    refused = resolved = 0
    for _ in range(fuzz):
        settings = dict(tiny)
        for _ in range(chance.randrange(1, 4)):
            name = mutate.text(chance) if chance.random() < 0.1 else chance.choice([*FIELDS, *plausible])
            usual = plausible.get(name, (1, 2, 0.5, 0))
            settings[name] = chance.choice(usual) if chance.random() < 0.7 else mutate.value(chance)
        try:
            config = trials.resolve(settings)
            assert trials.costs(config)
        except (ConfigError, DataError) as error:
            refused += "\n" not in str(error)  # else it counts as neither
        else:
            resolved += config.budget.amount > 0
    print(f"settings of {kind}: {fuzz} generated, {refused} refused in a line each, {resolved} resolved")
    assert refused + resolved == fuzz


OPTIONS = (
    "--preset", "--dataset", "--data", "--seeds", "--equalize", "--only", "--design", "--baseline", "--set",
    "--storage", "--tracking-uri", "--address", "--max-concurrent", "--cpus-per-trial", "--gpus-per-trial", "--pack",
    "--json", "--patience", "--stall", "--no-wait", "--pip", "--debug", "--sub-model", "--max-macs", "--to", "-h",
    "--nonsense",
)  # fmt: skip
USUAL = ("2", "a", "arm=a", "steps=3", "short", "method=NS", "norm=batch", "0,1", "updates", "http://127.0.0.1:1")


def test_command_lines(fuzz: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random("command lines")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    statuses: dict[int, int] = {}
    commands = [name for name in COMMANDS if name != "run"]  # which starts Ray where everything is well
    verbs = study_command(CHAIN, ChainTrainer).commands
    own = {
        name: [opt for param in verbs[name].params for opt in param.opts if opt.startswith("-")] for name in commands
    }
    own["status"].remove("--watch")  # which ends with the study, and there is none
    for _ in range(fuzz):
        arguments = [chance.choice(commands) if chance.random() < 0.9 else f"x{mutate.text(chance)}"]
        if arguments == ["compare"]:
            arguments += [chance.choice(USUAL) if chance.random() < 0.7 else mutate.text(chance) for _ in range(2)]
        for _ in range(chance.randrange(4)):
            known = own.get(arguments[0], OPTIONS)
            arguments.append(chance.choice(known if chance.random() < 0.8 else OPTIONS))
            if chance.random() < 0.9:
                arguments.append(chance.choice(USUAL) if chance.random() < 0.5 else mutate.text(chance))
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            study = (TABLE_1, ImageTrainer()) if chance.random() < 0.05 else (CHAIN, ChainTrainer())
            status = run(*study, arguments)
        assert status in (0, 2), arguments
        assert err.getvalue().count("\n") == (status == 2), (arguments, err.getvalue())
        assert [path.name for path in tmp_path.iterdir()] == ["data"], arguments
        statuses[status] = statuses.get(status, 0) + 1
    print(f"command lines: {fuzz} generated, exit status by number {statuses}")
    assert set(statuses) == {0, 2}


def test_checkpoints(fuzz: int, tmp_path: Path) -> None:
    chance = random.Random("checkpoints")
    folder = CheckpointFolder(tmp_path / "trial")
    for step in (1, 2):
        folder.save(step, [{"step": step, "metrics": {}}], lambda to: (to / "state.json").write_text("{}") and None)
    whole = tmp_path / "whole"
    shutil.copytree(folder.folder, whole)
    fell_back = 0
    for _ in range(fuzz):
        shutil.rmtree(folder.folder)
        shutil.copytree(whole, folder.folder)
        newest = folder.folder / "step-000000000002"
        victim = chance.choice(sorted(newest.iterdir()))
        if victim.suffix == ".json" and chance.random() < 0.5:
            changed = json.dumps(mutate.damaged_json(json.loads(victim.read_text()), chance)).encode("utf-8", "replace")
        else:
            changed = mutate.damaged(victim.read_bytes(), chance)
        same = changed == victim.read_bytes()
        victim.write_bytes(changed)
        latest = CheckpointFolder(folder.folder).latest()
        assert latest is not None
        fell_back += latest.step == 1
        assert latest.step == 1 or same or victim.name == "manifest.json"  # a manifest without files vouches for none
    print(f"checkpoints: {fuzz} generated, {fell_back} passed over for the one before")


def test_training_states(fuzz: int, tmp_path: Path) -> None:
    """Whatever a checkpoint holds that its manifest vouches for: a `ValueError`, or the state as it was."""
    chance = random.Random("states")
    config = tiny(widths=[0.5, 1.0])

    def fresh() -> TrainingState:
        network = build(config, seed=0)
        return TrainingState(network, lambda net: Sgd(net, 0.9, 0), UpdateLedger(config.lattice))

    state = fresh()
    state.save(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    refused = 0
    for _ in range(fuzz):
        name = chance.choice(sorted(files))
        if name == "state.json" and chance.random() < 0.7:
            content = json.dumps(mutate.damaged_json(json.loads(files[name]), chance)).encode("utf-8", "replace")
        elif chance.random() < 0.1:
            content = pickle.dumps(_Bomb(tmp_path / "exploded"))
        else:
            content = mutate.damaged(files[name][:4000] if chance.random() < 0.3 else files[name], chance)
        (tmp_path / name).write_bytes(content)
        try:
            state.restore(tmp_path)
        except ValueError:
            refused += 1
            state = fresh() if chance.random() < 0.01 else state
        (tmp_path / name).write_bytes(files[name])
    assert not (tmp_path / "exploded").exists()
    print(f"training states: {fuzz} generated, {refused} refused")
    assert refused


class _Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.open, (str(self.path), os.O_CREAT)


def test_reports(fuzz: int, tmp_path: Path) -> None:
    chance = random.Random("reports")
    plan = make_plan(CHAIN, ChainTrainer(), "short", {}, (0, 1))
    recorder = Recorder(Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "kept"), plan, {})
    for trial in plan.trials:
        *_, last = ChainTrainer().fit({**trial.config, "pause": 0}, trial.seed, _HERE, None)
        point = {"step": last.step, "time": 1, "metrics": last.metrics}
        recorder.start(trial, "paper")
        recorder.finish(trial, "finished", 1.0, [point], tmp_path)
    recorder.note_latency("paper", {arm.label: {"w050": 1.0, "w100": 2.0} for arm in plan.arms}, 0.0)
    names = ("history.json", "sub_models.csv", "latency.json")
    artifacts = [path for path in (tmp_path / "kept").rglob("*") if path.name in names]
    assert len(artifacts) == 2 * len(plan.trials) + 1
    refused = written = 0
    for _ in range(fuzz):
        victim = chance.choice(artifacts)
        before = victim.read_bytes()
        if victim.suffix == ".json" and chance.random() < 0.5:
            content = json.dumps(mutate.damaged_json(json.loads(before), chance)).encode("utf-8", "replace")
        else:
            content = mutate.damaged(before, chance)
        victim.write_bytes(content)
        try:
            table = make_table(read_results(recorder.tracker, recorder.experiment, plan), {}, "")
            written += bool(as_markdown(table) and as_latex([table]))
        except UserError as error:
            refused += "\n" not in str(error)  # else it counts as neither
        victim.write_bytes(before)
    print(f"reports: {fuzz} generated, {refused} refused with the trial's name, {written} written")
    assert refused + written == fuzz


def test_names_that_would_be_markup_or_paths(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    study = Study("evil", evil, {"p": Preset({"steps": 3, "pause": 0, "evaluations": 1}, 1, "")},
                  (Factor.of("arm", [evil, "../../b"]),), baseline={"arm": evil})  # fmt: skip
    plan = make_plan(study, ChainTrainer(), "p", {}, (0,))
    recorder = Recorder(Tracker(f"sqlite:///{tmp_path / 'm.db'}", tmp_path / "kept"), plan, {"git.commit": evil})
    for trial in plan.trials:
        *_, last = ChainTrainer().fit(trial.config, trial.seed, _HERE, None)
        recorder.start(trial, evil)
        recorder.finish(trial, evil, 1.0, [{"step": 3, "time": 1, "metrics": last.metrics}], tmp_path)
    from orchestrator.report.writer import write_report

    write_report(plan, read_results(recorder.tracker, recorder.experiment, plan), tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page
    for name in ("../escape", "a/b", "", ".", "a\x00", "con:\\"):
        with pytest.raises(ValueError, match="name"):
            Study(name, "", {}, ())
        with pytest.raises(ValueError, match="name"):
            Study("fine", "", {name: Preset({}, 1, "")}, ())


def test_a_pickle_in_a_checkpoints_place_is_refused_by_name(tmp_path: Path) -> None:
    trainer, config = ImageTrainer(), tiny()
    weights = tmp_path / "weights.safetensors"
    torch.save({"weight": torch.zeros(3)}, weights)
    with pytest.raises(UserError, match=r"weights\.safetensors holds no safetensors"):
        trainer.export(dict(vars(config)), weights, "w050", tmp_path / "out")
    weights.write_bytes(pickle.dumps(_Bomb(tmp_path / "exploded")))
    with pytest.raises(UserError, match=r"weights\.safetensors holds no safetensors"):
        trainer.export(dict(vars(config)), weights, "w050", tmp_path / "out")
    assert not (tmp_path / "exploded").exists()
