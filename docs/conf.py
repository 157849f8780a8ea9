"""How Sphinx builds the site, from the repository's root: `sphinx-build -W -c docs . build/site`.

The sources are the pages as GitHub shows them, README and CONTRIBUTING among them, in their places: so every link
between them, and from them to files, is the same there and here, and one that leads nowhere fails the build.
"""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import orchestrator
import trainers

project = "SortedNet studies"
html_title = project
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "benchmarks/README.md", "deploy/README.md"]

html_theme = "furo"
html_extra_path = ["site"]  # sends whoever opens the site's folder to the first page
html_copy_source = False
html_show_copyright = html_show_sphinx = False

myst_heading_anchors = 3  # named as GitHub names them

default_role = "code"  # docstrings have names between single backticks
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"[a-z_]+(\.\w+)+"),
    ("py:class", "Answer|Drawing|Looks|Results|Table"),  # imported for types alone
    ("py:exc", "(Config|Data|User)Error"),
]
"""What autodoc read off signatures is right, whether a page has it or not; what somebody typed must be found."""

CONTENTS = {
    "Start": ("README <../README>", "own-study*", "own-parts*", "studies"),
    "How to": ("any-network", "texts", "data", "report*", "mlflow*", "failures", "storage", "cluster"),
    "Look up": ("command-line*", "methods", "networks", "reference/*"),
    "Understand": ("fair", "statistics", "speed", "architecture", "../CONTRIBUTING", "../CHANGELOG"),
    "Beside the code": ("Benchmarks <../benchmarks/README>", "Slurm, KubeRay, a tracking server <../deploy/README>"),
}
"""Of the site, beside every page. They are not in the first page itself, which GitHub would show them in as code."""


def _add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    if page != root_doc:
        return
    for caption, names in CONTENTS.items():
        pages = [path for name in names for path in (_matching(name) if "*" in name else [name])]
        source[0] += "\n".join(["\n```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])


def _matching(pattern: str) -> list[str]:
    folder = Path(__file__).parent
    return [str(path.relative_to(folder).with_suffix("")) for path in sorted(folder.glob(f"{pattern}.md"))]


def _keep_colons(app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Has napoleon take no part of a property's first line for its type, as it does of `The first: the second.`"""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # a comment, which is nothing to read


def _as_python(
    app: Sphinx, what: str, name: str, of: object, options: object, signature: str | None, gives: str | None
) -> tuple[str, str | None] | None:
    """A signature that can be read as one, with `...` for a field's factory; none of a protocol, which nobody calls."""
    if signature is None:
        return None  # as it is
    if getattr(of, "_is_protocol", False):
        return "", None
    return re.sub(r"<class '(\w+)'>", r"\1", signature.replace("<factory>", "...")), gives


_SIGNATURE = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>")


def _no_list(signature: re.Match[str]) -> str:
    parameters = signature[1].replace("<dd>", '<dd role="none">')
    return f'<dl role="none">\n{parameters}</dl>'


def _for_every_reader(app: Sphinx, page: str, template: str, context: dict[str, Any], of: object) -> None:
    """What Sphinx and the theme leave out for readers by key and by ear: what scrolls is reached by key, a heading says
    its level, and the parameters of a signature, which stand in a list of no terms, are no list."""
    if body := context.get("body"):
        body = body.replace("<pre>", '<pre tabindex="0">')
        body = body.replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
        context["body"] = _SIGNATURE.sub(_no_list, body)
    if contents := context.get("furo_navigation_tree"):
        context["furo_navigation_tree"] = contents.replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app: Sphinx) -> None:
    for package in (orchestrator, trainers):  # their public names are imported where they are first used
        for name in package.__all__:
            setattr(package, name, getattr(package, name))
    app.connect("source-read", _add_contents)
    app.connect("autodoc-process-signature", _as_python)
    app.connect("autodoc-process-docstring", _keep_colons, priority=400)  # before napoleon
    app.connect("html-page-context", _for_every_reader, priority=900)  # after the theme
