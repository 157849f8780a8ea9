"""The site is built without a warning: pages are in its contents, links and anchors lead somewhere, docstrings read."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import orchestrator
import trainers

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.xdist_group("site")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as CONTRIBUTING says, into a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", ".", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.parametrize("package", [orchestrator, trainers], ids=lambda package: package.__name__)
def test_every_public_name_is_in_the_reference(package: ModuleType, site: Path) -> None:
    page = (site / "docs" / "reference" / f"{package.__name__}.html").read_text(encoding="utf-8")
    assert [name for name in package.__all__ if f'id="{package.__name__}.{name}"' not in page] == []


def test_readme_contributing_and_what_lies_beside_the_code_are_pages(site: Path) -> None:
    for page in ("README", "CONTRIBUTING", "CHANGELOG", "benchmarks/README", "deploy/README", "docs/index"):
        assert (site / f"{page}.html").is_file()
    assert "docs/index.html" in (site / "index.html").read_text()


def test_what_scrolls_is_reached_by_key_and_every_heading_and_list_is_one(site: Path) -> None:
    pages = [page.read_text(encoding="utf-8") for page in site.rglob("*.html")]
    assert len(pages) > 20
    whole = "\n".join(pages)
    for pattern, attribute in ((r"<pre\b[^>]*>", "tabindex"), (r'<div [^>]*class="table-wrapper[^>]*>', "tabindex")):
        found = re.findall(pattern, whole)
        assert found
        assert [tag for tag in found if f'{attribute}="0"' not in tag] == []
    headings = re.findall(r'<\w+ [^>]*role="heading"[^>]*>', whole)
    assert headings
    assert [tag for tag in headings if "aria-level" not in tag] == []
    assert re.findall(r"<dl>\s*<dd", whole) == []
    assert '<dl role="none">' in whole


def test_readme_fits_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100
    assert (ROOT / "docs" / "report.png").stat().st_size <= 300_000
