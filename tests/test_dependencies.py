"""The lowest versions that pyproject.toml allows have no vulnerability that was published with a mend by 2026-11-30."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

MENDED = {  # by which version, and the last of what was published of those before it
    "click": ("8.3.3", "CVE-2026-7246"),
    "filelock": ("4.2.1", "CVE-2026-112934"),
    "jinja2": ("3.1.6", "CVE-2025-27516"),
    "mlflow": ("3.17.0", "CVE-2026-115886"),
    "pillow": ("13.0.0", "CVE-2026-112392"),
    "pydantic": ("2.4.0", "CVE-2024-3772"),
    "pytest": ("9.0.3", "CVE-2025-71176"),
    "ray": ("2.56.0", "CVE-2026-57516"),
    "scikit-learn": ("1.5.0", "CVE-2024-5206"),
    "setuptools": ("83.0.0", "CVE-2026-59890"),
    # CVE-2025-3000, mended by 2.13, is of torch.jit.script with code of somebody else's, which nothing here hands it.
    "torch": ("2.11.0", "CVE-2026-4538"),
    "transformers": ("5.3.0", "CVE-2026-4372"),
}


def lowest() -> dict[str, Version]:
    """The lowest version allowed of everything that is asked for, to build, to run and to test."""
    project: dict[str, Any] = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    asked = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    asked += [each for extra in project["project"]["optional-dependencies"].values() for each in extra]
    found: dict[str, Version] = {}
    for requirement in map(Requirement, asked):
        if requirement.name == project["project"]["name"]:
            continue
        (bound,) = (each.version for each in requirement.specifier if each.operator == ">=")
        found[requirement.name] = min(Version(bound), found.get(requirement.name, Version(bound)))
    return found


@pytest.mark.parametrize("package", MENDED)
def test_no_version_with_a_published_vulnerability_is_allowed(package: str) -> None:
    mended, published = MENDED[package]
    assert lowest()[package] >= Version(mended), published
    assert re.fullmatch(r"CVE-\d{4}-\d{4,}", published)
