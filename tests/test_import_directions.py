"""The three packages point one way: studies → orchestrator, trainers; neither of those knows the other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "trainers": {"ray", "mlflow", "orchestrator", "studies"},
    "orchestrator": {"torch", "torchvision", "trainers", "studies"},
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_package_imports_nothing_against_the_direction(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert not imported(path) & FORBIDDEN[package], path


GENERAL = ("config", "data", "devices", "extraction", "measuring", "nested", "networks", "optimizers", "sampling")
GENERAL += ("tasks", "training")


@pytest.mark.parametrize("room", GENERAL)
def test_general_rooms_name_no_kernels(room: str) -> None:
    """Kernels written for one network are handed in where it is built, in `trainers/building/`."""
    files = list((ROOT / "trainers" / room).rglob("*.py"))
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            full = {*names, module, *(f"{module}.{name}" for name in names)}
            assert not any(name.startswith("trainers.accelerated") for name in full), path


def test_no_module_imports_itself_through_others() -> None:
    """No circles: modules can be ordered so that each imports earlier ones only."""
    graph: dict[str, set[str]] = {}
    for package in ("trainers", "orchestrator", "studies"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            graph[name] = set()
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    graph[name] |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    assert graph
    # A package that imports its own submodules names itself; that is no circle.
    graph = {name: {to for to in targets if to in graph and to != name} for name, targets in graph.items()}
    while ready := [name for name, targets in graph.items() if not targets]:
        graph = {name: targets - set(ready) for name, targets in graph.items() if name not in ready}
    assert not graph
