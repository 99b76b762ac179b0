"""The room's own order: no import circles, imports inside functions included; implementations below the door."""

import ast
import graphlib
from pathlib import Path

import kernels

ROOM = Path(kernels.__file__).parent


def imports_within(path: Path) -> set[str]:
    """Modules of ``kernels`` that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("kernels.") and file_of(name).exists()}


def file_of(module: str) -> Path:
    return ROOM.parent / Path(*module.split(".")).with_suffix(".py")


def graph() -> dict[str, set[str]]:
    paths = [path for path in ROOM.rglob("*.py") if path.name != "__init__.py"]
    return {".".join(path.relative_to(ROOM.parent).with_suffix("").parts): imports_within(path) for path in paths}


def test_no_import_circles():
    edges = graph()
    assert "kernels.projection" in edges["kernels.xla"]  # or the checker sees nothing
    assert "kernels.xla" in edges["kernels.api"]  # inside a function
    order = list(graphlib.TopologicalSorter(edges).static_order())  # raises CycleError, which names the circle
    assert order.index("kernels.constants") < order.index("kernels.binning") < order.index("kernels.api")


def test_capacities_are_integers_and_stand_alone():
    assert graph()["kernels.capacity"] == {"kernels.constants"}


def test_implementations_stand_below_the_door():
    for name in ("reference", "xla", "numba_cpu", "pallas_triton"):
        assert not graph()[f"kernels.{name}"] & {"kernels.api", "kernels.measure", "kernels.inputs"}, name
