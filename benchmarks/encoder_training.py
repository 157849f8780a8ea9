"""Texts trained on per second: our loop over a nested MiniLM beside a plain loop over the model of transformers.

    python -m benchmarks.encoder_training [--turns 5] [--seconds 15] [--data DIR] [--csv PATH] [--profile]

Reviews of Rotten Tomatoes in batches of 32, one sub-model at every step: the whole encoder, or a small one, which the
reference trains as a model of its own from the same weights. Every form has a process of its own; they train in turns,
after one that is not counted, and ratios are those of one turn. After every turn each must have a finite loss.

With `--profile` instead: where a step of ours spends its time, and what share it reaches of the rate at which the
processor multiplies matrices of a feed-forward layer's shapes.
"""

import math
import multiprocessing
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch

from benchmarks.encoder_forms import SUB_MODELS, Form, Material, Training, forms, training
from benchmarks.encoder_profile import breakdown, product_rate
from benchmarks.measuring import Spread, append_to, flat, in_a_process

_FORM = ("sub_model", "side", "loop", "precision", "padding", "attention")
_TABLES = (
    ("texts_per_s", "tokens_per_text", "times_the_usual", "ours_to_it"),
    ("gmacs_per_s", "macs_to_full", "time_to_full", "loss"),
)
"""What is printed beside a form."""


@dataclass(frozen=True)
class Reading:
    """What a turn has shown.

    Attributes:
        texts_per_s: trained on.
        tokens_per_text: padding included.
        macs_per_text: multiply-accumulates of its way forward.
        loss: after it.
    """

    texts_per_s: float
    tokens_per_text: float
    macs_per_text: float
    loss: float

    @property
    def macs_per_s(self) -> float:
        """Of training: the way back takes twice what the way forward does."""
        return 3 * self.macs_per_text * self.texts_per_s


Readings = Mapping[tuple[Form, str], Sequence[Reading]]
"""Of every turn, by form and sub-model."""


def turn(trained: Training, seconds: float) -> Reading:
    """Trains for some seconds.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    texts = tokens = macs = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or not texts:
        work = next(trained.steps)
        texts += work.texts
        tokens += work.texts * work.length
        macs += work.texts * trained.macs(work.length)
    loss = trained.loss()
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss}")
    return Reading(texts / elapsed, tokens / texts, macs / texts, loss)


def serve(form: Form, folder: Path | None, batch: int, threads: int, asked: Connection) -> None:
    """A form in a process of its own: for every sub-model and number of seconds that it is sent, sends a reading."""
    torch.set_num_threads(threads)
    material = Material.load(folder)
    trained = {name: training(form, name, material, batch) for name in SUB_MODELS}
    while (request := asked.recv()) is not None:
        name, seconds = request
        asked.send(turn(trained[name], seconds))


def measure(folder: Path | None, batch: int, threads: int, turns: int, seconds: float) -> Readings:
    """Every form and sub-model in turns."""
    spawn = multiprocessing.get_context("spawn")
    ends: dict[Form, Connection] = {}
    for form in forms():
        ends[form], there = spawn.Pipe()
        spawn.Process(target=serve, args=(form, folder, batch, threads, there), daemon=True).start()
        there.close()
    readings: dict[tuple[Form, str], list[Reading]] = {(form, name): [] for name in SUB_MODELS for form in ends}
    for counted in [False] + [True] * turns:
        for form, name in readings:
            ends[form].send((name, seconds))
            reading = ends[form].recv()
            if counted:
                readings[form, name].append(reading)
    for end in ends.values():
        end.send(None)
    return readings


def ratios(of: Sequence[Reading], to: Sequence[Reading]) -> Spread:
    """Of texts per second, turn by turn."""
    return Spread.over(one.texts_per_s / other.texts_per_s for one, other in zip(of, to, strict=True))


def rows(readings: Readings) -> list[dict[str, Any]]:
    """A row per sub-model and form."""
    usual, *_, fastest = forms()
    found = []
    for (form, name), own in readings.items():
        full = readings[form, "full"]
        macs = [statistics.median(each.macs_per_text for each in those) for those in (own, full)]
        found.append(
            {
                "sub_model": name,
                **asdict(form),
                "texts_per_s": Spread.over(reading.texts_per_s for reading in own),
                "tokens_per_text": statistics.median(reading.tokens_per_text for reading in own),
                "gmacs_per_s": statistics.median(reading.macs_per_s for reading in own) / 1e9,
                "times_the_usual": ratios(own, readings[usual, name]),
                "ours_to_it": ratios(readings[fastest, name], own),
                "macs_to_full": macs[0] / macs[1],
                "time_to_full": ratios(full, own),
                "loss": own[-1].loss,
            }
        )
    return found


def profiled(form: Form, name: str, folder: Path | None, batch: int, threads: int, turns: int, seconds: float) -> Any:
    """A row of milliseconds per step by group, and of the share that training reaches of the products' rate."""
    torch.set_num_threads(threads)
    material = Material.load(folder)
    trained, sub_model = training(form, name, material, batch), SUB_MODELS[name]
    tokens = batch * int(material.train.lengths.median())
    shape = tokens, int(sub_model["hidden"]), int(sub_model["neurons"])
    pairs = [
        (product_rate(*shape, form.precision, seconds), turn(trained, seconds).macs_per_s) for _ in range(turns + 1)
    ]
    products, reached = zip(*pairs[1:], strict=True)
    return {
        "sub_model": name,
        "precision": form.precision,
        "products_gmacs_per_s": Spread.over(rate / 1e9 for rate in products),
        "training_gmacs_per_s": Spread.over(rate / 1e9 for rate in reached),
        "share": Spread.over(own / most for own, most in zip(reached, products, strict=True)),
        **breakdown(trained.steps, seconds, int(material.encoder.config["vocab_size"])),
    }


def shown(row: Mapping[str, Any]) -> dict[str, str]:
    """A row to be read."""
    return {name: f"{value:.2f}" if isinstance(value, float) else str(value) for name, value in row.items()}


@click.command()
@click.option("--turns", default=5, show_default=True)
@click.option("--seconds", default=15.0, show_default=True, help="Of each measurement.")
@click.option("--batch", default=32, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), help="Where the two packages are, or are brought.")
@click.option("--csv", "path", type=click.Path(path_type=Path), help="Adds the rows to this file.")
@click.option("--profile", is_flag=True, help="Where our steps' time goes, instead of the comparison.")
def main(
    turns: int, seconds: float, batch: int, threads: int, data: Path | None, path: Path | None, profile: bool
) -> None:
    """Measures, prints a table and adds to a file."""
    settings = {"batch": batch, "threads": threads, "turns": turns, "seconds": seconds}
    if profile:
        mine = [form for form in forms() if form.side == "ours"]
        how = data, batch, threads, turns, seconds
        found = [in_a_process(profiled, form, name, *how) for name, form in product(SUB_MODELS, mine)]
        print(pd.DataFrame([shown(row) for row in found]).T.to_string(header=False))
    else:
        found = rows(measure(data, batch, threads, turns, seconds))
        table = pd.DataFrame([shown(row) for row in found])
        print(*(table[[*_FORM, *columns]].to_string(index=False) for columns in _TABLES), sep="\n\n")
    if path is not None:
        append_to(path, [{"transformers": version("transformers"), **settings, **flat(row)} for row in found])


if __name__ == "__main__":
    main()
