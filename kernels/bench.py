"""How fast the rasterisers are here, beside each other and beside their peers, in one process.

    python -m kernels.bench --scene ../shared/scenes/head_65k_256.npz --implementation numba,xla
    python -m kernels.bench --scene ../shared/scenes/*.npz --implementation pallas_triton --peer gsplat,splax \\
        --batch 1,8 --json benchmarks/results/

Forward is the image; forward+backward the gradients of means, quaternions, scales, opacities and colours for a given
cotangent of it. After warming up, all take turns in each round, so that a change of the machine's load meets all of
them; medians over the rounds are reported, and ratios are medians of each round's ratio to the first one named.
compile_s is what the first calls of both took longer than later ones, with nothing cached (unless NUMBA_CACHE_DIR is
set). peak_mb is measured in a process of its own: on a GPU the most that was allocated, on a CPU the growth of resident
memory by a warm forward+backward and all that led to it.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kernels import peers, programs
from kernels.api import IMPLEMENTATIONS
from kernels.constants import SETS
from kernels.dispatch import Unsupported
from kernels.programs import Options, Program, Workload

OWN_PACKAGES = ("jax", "jaxlib", "numba", "numpy")


def main(argv: list[str] | None = None) -> int:
    args = _parse(argv)
    # Peers and a second process want memory of the same card. (Read when JAX first looks for devices.)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if args.memory_of:
        print(json.dumps(_peak(args)))
        return 0
    if args.device and jax.default_backend() != args.device:
        print(f"bench: no {args.device} here, JAX found {jax.default_backend()!r}", file=sys.stderr)
        return 2
    results, skipped = [], []
    with _nothing_cached():
        for path in args.scene:
            for batch in args.batch:
                try:
                    measured = _measure(path, batch, args, skipped)
                except ValueError as error:
                    print(f"bench: {error}", file=sys.stderr)
                    return 2
                results += measured
                print(table(measured), flush=True)
    for what in skipped:
        print(f"not measured: {what['implementation']} on {what['scene']}: {what['reason']}")
    if args.json:
        print(f"wrote {_write(args.json, results, skipped)}")
    return 0 if results else 2


@contextlib.contextmanager
def _nothing_cached() -> Iterator[None]:
    """Numba keeps machine code between runs, but here first calls are timed. A NUMBA_CACHE_DIR of the user's stays."""
    if "NUMBA_CACHE_DIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["NUMBA_CACHE_DIR"] = fresh
        try:
            yield
        finally:
            del os.environ["NUMBA_CACHE_DIR"]


def _parse(argv: list[str] | None) -> argparse.Namespace:
    def names(known: Any) -> Callable[[str], list[str]]:
        def parse(text: str) -> list[str]:
            chosen = [name for name in text.split(",") if name]
            if unknown := [name for name in chosen if name not in known]:
                raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; choose from {', '.join(known)}")
            return chosen

        return parse

    def sizes(text: str) -> list[int]:
        return [int(number) for number in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, nargs="+", required=True, help=".npz files")
    parser.add_argument("--implementation", type=names(IMPLEMENTATIONS), default=[], help=", ".join(IMPLEMENTATIONS))
    parser.add_argument("--peer", type=names(peers.PACKAGES), default=[], help=", ".join(peers.PACKAGES))
    parser.add_argument("--batch", type=sizes, default=[1], help="copies of the scene at once, e.g. 1,8")
    parser.add_argument("--repeat", type=int, default=9, help="rounds that are timed")
    parser.add_argument("--warmup", type=int, default=2, help="rounds that are not, after the first calls")
    parser.add_argument("--constants", choices=sorted(SETS), default="gsplat-1.5", help="peers have gsplat's")
    parser.add_argument("--antialiased", action="store_true")
    parser.add_argument("--capacity", type=int, help="of xla and pallas_triton; default: measured")
    parser.add_argument("--no-memory", action="store_true", help="leave peak_mb empty (saves a process for each)")
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="stop with exit code 2 if there is none")
    parser.add_argument("--json", type=Path, help="write results here; in a folder: a file named after the device")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)  # measure one's peak memory, and nothing else
    args = parser.parse_args(argv)
    if not args.implementation and not args.peer:
        parser.error("name at least one --implementation or --peer")
    return args


def _options(args: argparse.Namespace) -> Options:
    return Options(args.constants, args.antialiased, args.capacity)


def _make(name: str, workload: Workload, options: Options) -> Program:
    return (peers.make if name in peers.PACKAGES else programs.ours)(name, workload, options)


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _measure(path: Path, batch: int, args: argparse.Namespace, skipped: list[dict]) -> list[dict[str, Any]]:
    """The results of one scene and batch size; the first one's ratios are 1."""
    workload = programs.load(path, batch)
    made: dict[str, Program] = {}
    first: dict[str, float] = {}
    for name in args.implementation + args.peer:
        try:
            program = _make(name, workload, _options(args))
            seconds = _seconds(program.forward)
            program.picture()  # which must be whole
            first[name] = seconds + _seconds(program.both)
            made[name] = program
        except Unsupported as reason:
            skipped.append({"implementation": name, "scene": workload.name, "batch": batch, "reason": str(reason)})
    forward: dict[str, list[float]] = {name: [] for name in made}
    both: dict[str, list[float]] = {name: [] for name in made}
    for number in range(args.warmup + args.repeat):
        for name, program in made.items():
            times = _seconds(program.forward), _seconds(program.both)
            if number >= args.warmup:
                forward[name].append(times[0])
                both[name].append(times[1])
    return [_result(name, workload, batch, args, first[name], forward, both, made) for name in made]


def _result(
    name: str,
    workload: Workload,
    batch: int,
    args: argparse.Namespace,
    first: float,
    forward: dict[str, list[float]],
    both: dict[str, list[float]],
    made: dict[str, Program],
) -> dict[str, Any]:
    def ratio(times: dict[str, list[float]]) -> float:
        base = times[next(iter(times))]
        return statistics.median(mine / theirs for mine, theirs in zip(times[name], base, strict=True))

    base = made[next(iter(made))].picture()
    difference = np.abs(made[name].picture() - base).max(-1)
    steady = [statistics.median(times[name]) for times in (forward, both)]
    return {
        "implementation": name,
        "scene": workload.name,
        "batch": batch,
        "forward_ms": 1e3 * steady[0],
        "forward_backward_ms": 1e3 * steady[1],
        "forward_ms_min": 1e3 * min(forward[name]),
        "forward_backward_ms_min": 1e3 * min(both[name]),
        "forward_ratio": ratio(forward),
        "forward_backward_ratio": ratio(both),
        "compile_s": max(first - sum(steady), 0.0),
        "peak_mb": None if args.no_memory else _peak_elsewhere(name, workload.name, batch, args),
        "device": programs.device(),
        "versions": programs.versions(peers.PACKAGES.get(name, OWN_PACKAGES)),
        "gaussians": workload.gaussians.means.shape[1],
        "size": [workload.width, workload.height],
        "constants": args.constants,
        "repeat": args.repeat,
        "pixels_unlike_the_first": float((difference > 1e-4).mean()),
        **made[name].notes,
    }


def _peak_elsewhere(name: str, scene: str, batch: int, args: argparse.Namespace) -> float | None:
    path = next(path for path in args.scene if path.stem == scene)
    command = [sys.executable, "-m", "kernels.bench", "--memory-of", name, "--scene", str(path), "--batch", str(batch)]
    command += ["--peer" if name in peers.PACKAGES else "--implementation", name, "--constants", args.constants]
    command += ["--antialiased"] * args.antialiased
    command += ["--capacity", str(args.capacity)] if args.capacity else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"bench: no peak memory of {name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def _peak(args: argparse.Namespace) -> float | None:
    workload = programs.load(args.scene[0], args.batch[0])
    jax.block_until_ready(workload.gaussians)
    before = programs.resident_mb() if jax.default_backend() == "cpu" else 0.0
    program = _make(args.memory_of, workload, _options(args))
    program.forward()
    program.both()
    peak = program.peak_mb()
    return None if peak is None else peak - before


def table(results: list[dict[str, Any]]) -> str:
    """For people: a line for each, times in ms, ratios to the first."""
    if not results:
        return ""
    head = results[0]
    lines = [
        f"{head['scene']} ({head['gaussians']} Gaussians, {head['size'][0]}×{head['size'][1]}, batch {head['batch']}),"
        f" {head['device']}",
        f"  {'':<14}{'forward ms':>12}{'×':>7}{'+backward ms':>15}{'×':>7}{'compile s':>11}{'peak MB':>9}  differs",
    ]
    for one in results:
        peak = "–" if one["peak_mb"] is None else f"{one['peak_mb']:.0f}"
        lines.append(
            f"  {one['implementation']:<14}{one['forward_ms']:>12.2f}{one['forward_ratio']:>7.2f}"
            f"{one['forward_backward_ms']:>15.2f}{one['forward_backward_ratio']:>7.2f}{one['compile_s']:>11.1f}{peak:>9}"
            f"  {one['pixels_unlike_the_first']:.1e}"
        )
    return "\n".join(lines)


def _write(path: Path, results: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> Path:
    if path.is_dir() or path.suffix != ".json":
        name = "".join(letter if letter.isalnum() else "_" for letter in programs.device())
        path = path / f"{name.strip('_')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"results": results, "skipped": skipped}, indent=1) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
