"""Numbers and values as nobody means them: each is one line, at once, before anything starts."""

from pathlib import Path

import pytest

from orchestrator.commands.command_line import run
from studies.cifar_norm_ablation import STUDY
from studies.image_trainer import ImageTrainer

DIGITS = "9" * 5000
OF_OPTIONS = {
    "--seeds": ("²", "３", "٣", "①", "Ⅷ", DIGITS, "0", "-1", "-0", "+1", "1,1", "10000000000", "1_0", "1e3", "nan",
                "inf", "1.5", "", ",", "0,²", f"0,{DIGITS}", "0,9223372036854775808", "0x2", "1,2,x", "0-3"),
    "--cpus-per-trial": ("nan", "inf", "-inf", "1e-300", "1e400", "１", "²", "1_0", "0", "-0", "1e300", "64", "",
                         DIGITS, "0x1p3", "1,5"),
    "--gpus-per-trial": ("64", "nan", "inf", "-1", "1.5", "1e-300", "²", "1e400"),
    "--max-concurrent": ("0", "-1", "1.5", "²", "４", "1_0", "nan", DIGITS, "9" * 400, "1e3", ""),
    "--patience": ("nan", "inf", "-1", "1e400", "１０", "1_0", "1e300"),
    "--stall": ("nan", "inf", "0", "-0", "1e300", "²", "1e400"),
}  # fmt: skip
SETTINGS = (
    "updates=²", "updates=１２", f"updates={DIGITS}", f"updates={'9' * 400}", "updates=1e400", "updates=NaN",
    "updates=Infinity", "updates=1_000", "updates=-0", "updates=1.5", "updates=true", "updates=", "updates=1e30",
    "learning_rate=nan", "learning_rate=1e400", "learning_rate=-1e-320", "learning_rate=inf", "learning_rate=1e300",
    "learning_rate=²", "learning_rate=0.1.2", f"widths={'[' * 5000}", f"widths={'[' * 500}{']' * 500}",
    f"widths={'[' * 5000}{']' * 5000}", "widths=[1e400,1]", "widths=[NaN,1]", "widths=[0.5,0.50000000001,1]",
    "widths=[1e-9,2e-9,1]", "widths=[-0.0,1]", "widths=[0,1]", "widths=[true]", "widths={}", "widths=[[1]]",
    'optimizer={"momentum":0,"momentum":1}', 'dimensions={"width":[1],"\\u0077idth":[0.5,1]}',
    'optimizer={"momentum":{"momentum":0}}', "optimizer=" + '{"a":' * 300 + "1" + "}" * 300, 'rates=[["a",1e400]]',
    'rates=[["a",NaN]]', "batch_size=1", "batch_size=-0",
    "batch_size=1048576", "accumulation=4097", "evaluations=1e9", "warmup=1.0000001",
    "momentum=-1e-320", "clip_norm=1e-320", "budget.amount=1e40", "budget_scale=1e-320", "epochs=nan", "multiple=0",
    "within=[1e400]", "within=[-1]", "within=[0]", "stages=-1", "depths=[1e300]", f"depths=[{DIGITS}]",
    "extract_at=nan", "a=1", f"{'x' * 5000}=1", "network=torchvision:",
)  # fmt: skip
SAMPLERS = (
    "fixed()", "uniform()", "linear(0)", "fixed(w033)", "geometric(0)", "geometric(1)", "geometric(nan)",
    "geometric(inf)", "geometric(０.5)", "geometric(0_1)", "geometric(²)", "geometric(1e-320)", "categorical()",
    "categorical(nan,0,0,1)", "categorical(inf,0,0,0)", "categorical(,)", "categorical(w025:nan)", "categorical(:1)",
    "categorical(w025:)", "categorical(0,0,0,0)", "categorical(1e400,0,0,0)", f"categorical({DIGITS})",
    "truncated-normal(nan,1)", "truncated-normal(0.5,0)", "truncated-normal(0.5,-1)", "truncated-normal(0.5,1e-320)",
    "truncated-normal(1e308,1e-90,continuous)", "annealed()", "annealed(largest,0)", "annealed(largest,nan)",
    "annealed(middle,.5)", "annealed(largest,1e-320)", "adaptive(0)", "adaptive(-0)", "adaptive(nan)",
    "adaptive(1e-320)", "sandwich(1)", "sandwich(1e9)", "sandwich(99999999)", "sandwich(４)", "sandwich(1_0)",
    f"sandwich({DIGITS})", "sandwich(2.5)", f"uniform({' ' * 5000}", "uniform(()", "uniform)", "²",
)  # fmt: skip
OF_EXTRACT = {
    "--max-macs": ("nan", "inf", "²", "1_0"), "--max-params": ("1e400", "１"), "--min-accuracy": ("nan",),
    "--at-least": ("1e400", "½"), "--at-most": ("-inf",),
}  # fmt: skip


def _verb(option: str) -> str:
    return "run" if option in ("--patience", "--stall") else "plan"


LINES = [
    *([_verb(option), option, value] for option, values in OF_OPTIONS.items() for value in values),
    *(["plan", "--set", setting] for setting in SETTINGS),
    *(["plan", "--set", f"sampler={sampler}", "--only", "method=SortedNet,norm=instance"] for sampler in SAMPLERS),
    *(["extract", "--to", "x", option, value] for option, values in OF_EXTRACT.items() for value in values),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line[1:3])[:50])
def test_a_number_that_cannot_be_is_one_short_line_and_starts_nothing(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(STUDY, ImageTrainer(), [*line, "--preset", "smoke", "--storage", str(tmp_path / "s")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert len(said) < 400
    assert not (tmp_path / "s").exists()
