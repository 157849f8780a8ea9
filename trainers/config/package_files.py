"""Files that a package brings along, by a name that is the same wherever it is installed, `studies:trained/digits`.

A path of this machine would be another one on every node of a cluster, and for everybody else.
"""

from importlib.util import find_spec
from pathlib import Path


def package_file(name: str) -> Path | None:
    """Where the file `PACKAGE:PATH` is here, there or not; None where the name says no package that is installed."""
    package, colon, path = name.partition(":")
    if not (colon and path and package.isidentifier()):
        return None
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / path
