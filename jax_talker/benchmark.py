"""Benchmark: synthetic people whose every side is known, filmed, learnt and scored, method by method.

    python -m jax_talker.benchmark --out runs/benchmark --landmark-model face_landmarker.task
    python -m jax_talker.benchmark --out runs/reduced --reduced --at-most 3
    python -m jax_talker.benchmark --out runs/human --pack heads --landmark-model face_landmarker.task

Stopped, or with --at-most, the same command goes on with the next person or method; it ends with the table of what is
done (docs/benchmark.md).
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import flags
from tqdm import tqdm

from configs import benchmark as settings
from jax_talker import cli
from jax_talker.app import benchmarking, casting
from jax_talker.app.judging import angles, tables
from jax_talker.app.judging.figures import file_name
from jax_talker.app.judging.weights import FOLDER, Weights
from jax_talker.data.clip.clip import FPS
from jax_talker.errors import UserError, check_writable
from jax_talker.people.pack import Pack
from jax_talker.training.log import progress

READERS: dict[type, Callable[[str], Any]] = {bool: {"True": True, "False": False}.__getitem__, int: int, float: float}
BOUNDS = "bounds"  # among the names of methods' scores

OUT = flags.DEFINE_string("out", "runs/benchmark", "Where clips, runs and tables go.")
REDUCED = flags.DEFINE_bool("reduced", False, "Shorter films, smaller pictures, fewer steps: for 2 cores.")
PACK = flags.DEFINE_string(
    "pack", None, "Film people with human faces, from this folder of heads, not procedural ones."
)
PEOPLE = flags.DEFINE_list("people", None, "Seeds of the people (default: those of configs/benchmark.py).")
METHODS = flags.DEFINE_list(
    "methods", list(settings.METHODS), "Which methods, the one that others are held against first."
)
SECONDS = flags.DEFINE_list("seconds", None, "How long each person is filmed for training, test and another voice.")
SIZE = flags.DEFINE_integer("size", None, "Pixels on a side.", lower_bound=32)
SET = flags.DEFINE_multi_string("set", [], "Another number for all methods: train.steps=4000 (repeat).")
WEIGHTS = flags.DEFINE_string("weights", FOLDER, "The folder with metrics' networks (docs/evaluation.md).")
LANDMARK_MODEL = flags.DEFINE_string("landmark_model", None, "face_landmarker.task, for the lips' correlation.")
CEILING = flags.DEFINE_integer(
    "ceiling_every", 20, "As of evaluate, for the front camera; of 150 frames eight: one batch.", lower_bound=0
)
AT_MOST = flags.DEFINE_integer("at_most", None, "Train at most so many heads in this call.", lower_bound=0)


def main() -> None:
    out, methods = Path(OUT.value), METHODS.value
    seeds = [_seed(text) for text in PEOPLE.value or map(str, settings.PEOPLE[_kind()])]
    if unknown := [name for name in methods if name not in settings.METHODS]:
        raise UserError(f"--methods: there is no {unknown[0]!r}; choose from {', '.join(settings.METHODS)}")
    check_writable(out, out)
    wanted = [(method, seed) for seed in seeds for method in methods]  # one person tells something already
    learnt = 0
    for method, seed in wanted:
        # What no method changes is scored with a person's first head; earlier versions did not.
        scored = _scores(out, method, seed).is_file() and _scores(out, BOUNDS, seed).is_file()
        if not scored and (AT_MOST.value is None or learnt < AT_MOST.value):
            learn(out, method, seed)
            learnt += 1
            jax.clear_caches()  # the next head's programs are others, and these are kept on disk
    done = [tables.read(_scores(out, *pair)) for pair in wanted if _scores(out, *pair).is_file()]
    if not done:
        raise UserError(f"{out}: nothing is done yet, and --at_most=0 allows nothing")
    bounds = [tables.read(path) for seed in seeds if (path := _scores(out, BOUNDS, seed)).is_file()]
    tell(out, [*bounds, *done], methods)
    if len(done) < len(wanted):
        print(f"{len(done)} of {len(wanted)} heads are done; the same command goes on")


def learn(out: Path, method: str, seed: int) -> None:
    """Film a person, unless that was done, train a method's head and score it."""
    person = film(out / "people" / str(seed), seed)
    config: Any = settings.get_config(_kind())
    config.data.clip = str(person.train.root)
    config.data.test_fraction = 1e-6  # one frame: what is held out is another clip
    config.update_from_flattened_dict((settings.REDUCED if REDUCED.value else {}) | settings.METHODS[method])
    for text in SET.value:
        set_field(config, text)
    model = Path(LANDMARK_MODEL.value) if LANDMARK_MODEL.value else None
    judges = benchmarking.Judges(Weights(Path(WEIGHTS.value)), model, CEILING.value, _bar)
    speaker = benchmarking.trained(config, out / "runs" / _name(method, seed))
    if not (shared := _scores(out, BOUNDS, seed)).is_file():  # the same for all methods
        tables.write(benchmarking.bounded(config, speaker, person, judges), shared.with_suffix(""))
    table = benchmarking.scored(method, config, speaker, person, judges)
    tables.write(table, _scores(out, method, seed).with_suffix(""))


def film(root: Path, seed: int) -> benchmarking.Person:
    """The person of a seed: a film for training, what they say next from all cameras, and another voice's words."""
    size = SIZE.value or (settings.REDUCED_SIZE if REDUCED.value else settings.SIZE)
    pack = Pack(PACK.value) if PACK.value else None
    takes = casting.takes(pack, seed, *_seconds())
    views = {"test": settings.CAMERAS}
    bar = functools.partial(tqdm, unit="frame", dynamic_ncols=True)
    clips = {
        name: take.filmed(
            root / name,
            size=size,
            views=views.get(name, {}),
            progress=functools.partial(bar, desc=f"film {root.name}, {name}"),
        )
        for name, take in takes.items()
    }
    return benchmarking.Person(str(seed), **clips)


def tell(out: Path, done: list[tables.Table], methods: list[str]) -> None:
    """Print the table of what is done; write it, the long one with every camera, and the curves by angle."""
    table = benchmarking.together(done, methods)
    short = benchmarking.shortened(table)
    print(tables.markdown(short, marked=methods))
    paths = [
        *tables.write(short, out / "table", marked=methods),
        *tables.write(table, out / "by_camera", marked=methods),
    ]
    print("wrote " + ", ".join(map(str, [*paths, *angles.write_plot(table, out / "by_camera")])))


def set_field(config: Any, text: str) -> None:
    """``train.steps=4000`` into a configuration. UserError where it has no such field, or one of another type."""
    name, _, value = text.partition("=")
    *path, last = name.split(".")
    try:
        for inner in path:
            config = getattr(config, inner)
        setattr(config, last, READERS.get(type(getattr(config, last)), str)(value))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"--set {text}: {error}") from None


def _seconds() -> tuple[float, float, float]:
    known = settings.REDUCED_SECONDS if REDUCED.value else settings.SECONDS
    try:
        seconds, tail, other = map(float, SECONDS.value or known)
    except ValueError:
        raise UserError("--seconds: give three numbers, of the films for training, test and another voice") from None
    if min(seconds, tail, other) * FPS < 2:
        raise UserError(f"--seconds: each film needs two frames at least, {2 / FPS} s")
    return seconds, tail, other


def _kind() -> str:
    return "human" if PACK.value else "procedural"


def _seed(text: str) -> int:
    if not text.strip().isdigit():
        raise UserError(f"--people: {text!r} is no seed; give whole numbers, with commas between")
    return int(text)


def _name(method: str, seed: int) -> str:
    return f"{seed}_{file_name(method)}"


def _scores(out: Path, method: str, seed: int) -> Path:
    return out / "scores" / f"{_name(method, seed)}.json"


def _bar(items, label: str, total: int | None):
    return progress(items, total=total, desc=label, unit="batch")


if __name__ == "__main__":
    cli.run(main)
