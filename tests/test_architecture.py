"""The import rules of docs/architecture.md, read off the source."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("jax_talker", "kernels", "configs", "converters")
EVERYONE = {"jax_talker", "jax_talker.types", "jax_talker.geometry", "jax_talker.errors"}
PROGRAMS = {
    "__main__",
    "talk",
    "prepare",
    "personalize",
    "train",
    "render",
    "view",
    "studio",
    "export",
    "detect",
    "evaluate",
    "demo",
    "benchmark",
    "sweep",
}

# The rooms of data: each imports only those before it.
ORDER = ("clip", "read", "track", "camera", "cut", "check", "preparation")
DATA = {room: ORDER[:place] for place, room in enumerate(ORDER)} | {"batches": ("clip", "track")}

# room → what of ours it may import besides itself and EVERYONE; the programs may import everything
MAY_IMPORT = {
    "kernels": None,  # None: not even EVERYONE
    "configs": None,
    "jax_talker.types": set(),
    "jax_talker.errors": set(),
    "jax_talker.geometry": set(),
    "jax_talker.cli": set(),
    **{f"jax_talker.data.{room}": {f"jax_talker.data.{r}" for r in before} for room, before in DATA.items()},
    "jax_talker.data": {"jax_talker.data.moved"},
    "jax_talker.data.moved": set(),
    "jax_talker.blinking": {"jax_talker.data.clip"},
    "jax_talker.audio": {"jax_talker.data.clip", "jax_talker.data.read", "jax_talker.networks"},
    "jax_talker.procedural": {
        "jax_talker.blinking",
        *(f"jax_talker.data.{room}" for room in ("clip", "read", "track", "camera", "check")),
    },
    "jax_talker.people": {
        *("jax_talker.blinking", "jax_talker.procedural", "jax_talker.cli"),  # it is a program, too: its sheet
        *(f"jax_talker.data.{room}" for room in ("clip", "read", "track", "camera", "cut", "check")),
    },
    "jax_talker.models": {"jax_talker.networks"},
    "jax_talker.priors": {"kernels"},  # its spherical harmonics, and nothing else (test below)
    "jax_talker.networks": set(),
    "jax_talker.rendering": {"kernels"},
    "jax_talker.losses": set(),
    "jax_talker.provenance": set(),
    "jax_talker.metrics": {"jax_talker.losses"},  # SSIM is both
    "jax_talker.training": {
        f"jax_talker.{room}" for room in ("models", "priors", "rendering", "losses", "metrics", "networks")
    },
    "jax_talker.app": {
        f"jax_talker.{room}"
        for room in (
            *(f"data.{room}" for room in DATA),
            *("audio", "models", "priors", "networks", "rendering", "losses", "metrics", "training"),
            *("procedural", "people", "blinking", "provenance"),
        )
    },
    "converters": {"jax_talker.priors", "jax_talker.networks"},
}
# Those that film the test person; nothing that works on a user's clip, or for a user's sound, may know it.
FILMING = {
    *("jax_talker.demo", "jax_talker.prepare", "jax_talker.benchmark", "jax_talker.app.casting"),
    *(f"jax_talker.app.{what}_training" for what in ("prior", "people", "encoder")),
}
MADE_UP = {"jax_talker.procedural", "jax_talker.people"}  # the rooms of people who were never born
INFERENCE = tuple(
    f"jax_talker.{name}"
    for name in ("talk", "render", "view", "studio", "export", "evaluate", "app.talking", "app.evaluating")
)

# third-party package → the only places that may import it
ONE_IMPORTER = {
    "orbax": ("jax_talker/training/checkpoint.py",),
    "grain": ("jax_talker/training/input.py",),
    "ml_collections": ("configs/",),
    "mediapipe": ("jax_talker/data/track/landmarkers/mediapipe.py", "jax_talker/data/cut/segmenter.py"),
    "face_alignment": ("jax_talker/data/track/landmarkers/face_alignment.py",),
    # face-alignment's networks are torch's; benchmarks/ measures gsplat and the ports, and is no room
    "torch": ("converters/", "jax_talker/data/track/landmarkers/face_alignment.py"),
    "dlib": ("jax_talker/app/judging/dlib_meter.py",),
    "c2pa": ("jax_talker/provenance/credentials.py",),
    "viser": ("jax_talker/app/viewing/page.py",),
    "gradio": ("jax_talker/app/studio/page.py",),
    "ray": ("jax_talker/app/sweeping/with_ray.py",),
    "wandb": ("jax_talker/training/weights_and_biases.py",),
    "optuna": (),  # Ray's own searcher uses it
    "jax.experimental.pallas.triton": ("kernels/pallas_triton.py",),
    "numba": ("kernels/", "jax_talker/procedural"),
    "librosa": (),  # its import fails where nothing can be cached: read-only packages, no home
    "jax._src": (),
    "jaxlib": (),
}


def modules():
    return sorted(p for top in OURS for p in (ROOT / top).rglob("*.py"))


def imports(path):
    """Every module that a file imports, functions' own imports included; relative ones resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room_of(module):
    """The longest prefix that is a room: jax_talker.data.clip.clip → jax_talker.data.clip."""
    parts = module.split(".")
    if parts[0] != "jax_talker":
        return parts[0]
    return ".".join(parts[: 3 if parts[1:2] == ["data"] else 2])


def is_program(room):
    return room.startswith("jax_talker.") and room.split(".")[1] in PROGRAMS


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_keep_to_their_rooms(path):
    own = room_of(name_of(path))
    if own == "jax_talker" or is_program(own):
        allowed = None
    else:
        assert own in MAY_IMPORT, f"{path} stands in no room; add it to docs/architecture.md and here"
        allowed = MAY_IMPORT[own]
    for module in imports(path):
        if module.split(".")[0] not in OURS:
            continue
        target = room_of(module)
        if target == own:
            continue
        assert not is_program(target), f"{path} imports the program {module}"
        if is_program(own) or own == "jax_talker":
            continue
        assert allowed is not None, f"{own} imports nothing of ours, but {module}"
        known = target in EVERYONE or target in allowed
        assert known, f"{own} may import {sorted(allowed) or 'only types, geometry, errors'}, not {module}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_fast_moving_packages_have_one_importer(path):
    place = str(path.relative_to(ROOT))
    for module in imports(path):
        for package, places in ONE_IMPORTER.items():
            if module == package or module.startswith(package + "."):
                programs = package == "ml_collections" and path.stem in PROGRAMS
                assert programs or any(place.startswith(p) for p in places), f"{place} imports {module}"


def name_of(path):
    """jax_talker/data/clip/__init__.py → jax_talker.data.clip"""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def import_graph(paths):
    """Module → the modules of ours that it names, functions' own imports included."""
    names = {name_of(p) for p in paths}
    known = lambda m: m if m in names else m.rpartition(".")[0]  # noqa: E731  (the last part may be a function)
    return {name_of(p): {known(m) for m in imports(p)} & names - {name_of(p)} for p in paths}


def circle(graph):
    """One circle of a graph, None where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


@pytest.mark.parametrize("top", OURS)
def test_no_module_imports_itself_by_a_detour(top):
    found = circle(import_graph([p for p in modules() if p.relative_to(ROOT).parts[0] == top]))
    assert found is None, " → ".join(found)


def reached(graph, start):
    """All modules that importing one runs: packages' own files and detours included."""
    found, left = set(), [start]
    while left:
        module = left.pop()
        if module not in found:
            found.add(module)
            left += [*graph.get(module, ()), *filter(None, [module.rpartition(".")[0]])]
    return found


def test_only_filming_knows_the_test_person():
    graph = import_graph(modules())
    knows = {name for name, used in graph.items() if any(room_of(m) in MADE_UP for m in used)}
    assert {name for name in knows if room_of(name) not in MADE_UP} <= FILMING
    for program in INFERENCE:
        assert program in graph, f"{program} is no module; mend this list"
        assert not {m for m in reached(graph, program) if room_of(m) in MADE_UP}, program


def test_detours_are_found():
    assert reached({"a": {"b.c"}, "b": {"d"}}, "a") == {"a", "b.c", "b", "d"}


def rooms_graph():
    """Room → the rooms that its modules import, without EVERYONE; the programs are one room."""
    place = lambda module: "programs" if is_program(room_of(module)) else room_of(module)  # noqa: E731
    graph = {}
    for module, used in import_graph(modules()).items():
        for a, b in ((place(module), place(u)) for u in used):
            if a != b and not {a, b} & EVERYONE:
                graph.setdefault(a, set()).add(b)
    return graph


def shortest(graph):
    """The arrows of a graph without circles that no detour replaces, as (from, to)."""
    return {
        (a, b)
        for a, following in graph.items()
        for b in following
        if not any(b in reached(graph, c) for c in following if c != b)
    }


def test_the_picture_of_the_imports_is_the_codes():
    graph = rooms_graph()
    found = circle(graph)
    assert found is None, " → ".join(found)
    arrows = {tuple(room.removeprefix("jax_talker.") for room in arrow) for arrow in shortest(graph)}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = page.partition("```mermaid\n")[2].partition("```")[0]
    wanted = "\n".join(f"  {a} --> {b}" for a, b in sorted(arrows))
    assert drawn.strip() == f"graph LR\n{wanted}".strip(), f"docs/architecture.md should draw\n{wanted}"


def test_detours_need_no_arrow():
    assert shortest({"a": {"b", "c"}, "b": {"c"}}) == {("a", "b"), ("b", "c")}


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) is not None
    assert circle({"a": {"b", "c"}, "b": {"c"}}) is None


def test_priors_have_only_the_harmonics_of_the_kernels():
    for path in (ROOT / "jax_talker" / "priors").rglob("*.py"):
        used = {module for module in imports(path) if module.split(".")[0] == "kernels"}
        assert {module.rsplit(".", 1)[0] for module in used} <= {"kernels.spherical_harmonics"}, path


def test_rules_are_about_rooms_that_exist():
    rooms = {room_of(name_of(path)) for path in modules()}
    assert set(MAY_IMPORT) <= rooms
    assert {f"jax_talker.{name}" for name in PROGRAMS} <= rooms
    for places in ONE_IMPORTER.values():
        assert all((ROOT / place).exists() for place in places)


def test_the_rules_can_fail():
    """The checker sees relative and nested imports; otherwise every test above is vacuous."""
    source = ROOT / "jax_talker" / "data" / "clip" / "clip.py"
    assert "jax_talker.errors.UserError" in set(imports(source))
    assert room_of("jax_talker.data.clip.clip") == "jax_talker.data.clip"
    assert room_of("jax_talker.models.talker") == "jax_talker.models"
    assert is_program("jax_talker.train")
    assert not is_program("jax_talker.training")
