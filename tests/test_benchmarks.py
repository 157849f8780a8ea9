"""The benchmarks start; none is run, since no test asserts a time."""

import importlib
import pkgutil

import click
import pytest
from click.testing import CliRunner

import benchmarks

NAMES = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_imported_and_its_command_line_answers(name: str) -> None:
    main = getattr(importlib.import_module(f"benchmarks.{name}"), "main", None)
    if isinstance(main, click.Command):
        assert CliRunner().invoke(main, ["--help"]).exit_code == 0
