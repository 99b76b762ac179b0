"""One way to measure: programs take turns in one process; medians, ratios within each round, and peak memory apart.

After warming up, all programs of a workload take turns in each round, so that a change of the machine's load meets all
of them. Medians over the rounds are reported, and ratios are medians of each round's ratio to the first one named.
compile_s is what the first calls took longer than later ones. peak_mb is measured in a process of its own: on an
accelerator the most that was allocated, on a CPU the growth of resident memory by a warm forward+backward and all that
led to it.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np


class Program(NamedTuple):
    """How to run one contender on one workload."""

    forward: Callable[[], Any]  # both return when the device has finished
    both: Callable[[], Any]  # forward and backward
    picture: Callable[[], np.ndarray] | None  # what contenders must agree on
    peak_mb: Callable[[], float | None]  # of one forward+backward, once both have run
    notes: dict[str, Any]  # further fields of the result
    packages: tuple[str, ...] = ()  # whose versions belong to the result


class Cannot(Exception):
    """This contender cannot run here, and says why."""


Make = Callable[[str, int, argparse.Namespace], Program]  # workload, batch, options → program; raises Cannot


def common_options(parser: argparse.ArgumentParser, contenders: Mapping[str, Any]) -> None:
    """What every bench takes."""
    parser.add_argument("--of", type=_names(contenders), required=True, help=f"who takes part: {', '.join(contenders)}")
    parser.add_argument("--batch", type=_sizes, default=[1], help="copies of the workload at once, e.g. 1,8")
    parser.add_argument("--repeat", type=int, default=9, help="rounds that are timed")
    parser.add_argument("--warmup", type=int, default=2, help="rounds that are not, after the first calls")
    parser.add_argument("--threads", type=int, help="of everyone; default: as many as the process may use")
    parser.add_argument("--no-memory", action="store_true", help="leave peak_mb empty (saves a process for each)")
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="stop with exit code 2 if there is none")
    parser.add_argument("--json", type=Path, help="write results here; in a folder: a file named after the device")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)  # measure one's peak memory, and nothing else


def _names(known: Mapping[str, Any]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; choose from {', '.join(known)}")
        return chosen

    return parse


def _sizes(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def run(kind: str, workloads: list[str], contenders: Mapping[str, Make], args: argparse.Namespace) -> int:
    """Measure, print and write; the exit code: 0 if there are results, 2 for mistakes and for none."""
    # Peers and a second process want memory of the same card. (Read when JAX first looks for devices.)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if args.threads:  # before JAX looks how many there are
        allowed = sorted(os.sched_getaffinity(0))
        if args.threads > len(allowed):
            print(f"benchmarks: {args.threads} threads wanted, {len(allowed)} processors here", file=sys.stderr)
            return 2
        os.sched_setaffinity(0, allowed[: args.threads])
    if args.device and jax.default_backend() != args.device:
        print(f"benchmarks: no {args.device} here, JAX found {jax.default_backend()!r}", file=sys.stderr)
        return 2
    if args.memory_of:
        print(json.dumps(_peak(contenders[args.memory_of], workloads[0], args)))
        return 0
    results, skipped = [], []
    for workload in workloads:
        for batch in args.batch:
            try:
                measured = _measure(kind, workload, batch, contenders, args, skipped)
            except ValueError as error:
                print(f"benchmarks: {error}", file=sys.stderr)
                return 2
            results += measured
            print(table(measured), flush=True)
    for what in skipped:
        print(f"not measured: {what['of']} on {what['workload']}: {what['reason']}")
    if args.json:
        print(f"wrote {_write(args.json, results, skipped)}")
    return 0 if results else 2


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _measure(
    kind: str,
    workload: str,
    batch: int,
    contenders: Mapping[str, Make],
    args: argparse.Namespace,
    skipped: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """The results of one workload and batch size; the first one's ratios are 1."""
    made: dict[str, Program] = {}
    first: dict[str, float] = {}
    for name in args.of:
        try:
            program = contenders[name](workload, batch, args)
            first[name] = _seconds(program.forward) + _seconds(program.both)
            made[name] = program
        except Cannot as reason:
            skipped.append({"of": name, "workload": Path(workload).stem, "batch": batch, "reason": str(reason)})
    pictures = {name: program.picture() for name, program in made.items() if program.picture}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for number in range(args.warmup + args.repeat):
        for name, program in made.items():
            both = _seconds(program.forward), _seconds(program.both)
            if number >= args.warmup:
                times[name].append(both)
    rows = []
    for name, program in made.items():
        steady = [statistics.median(column) for column in zip(*times[name], strict=True)]
        least = [min(column) for column in zip(*times[name], strict=True)]
        ratios = [
            statistics.median(mine[i] / theirs[i] for mine, theirs in zip(times[name], times[args.of[0]], strict=True))
            if args.of[0] in times
            else None
            for i in range(2)
        ]
        row: dict[str, Any] = {"of": name, "workload": Path(workload).stem, "batch": batch}
        row |= {"forward_ms": 1e3 * steady[0], "forward_backward_ms": 1e3 * steady[1]}
        row |= {"forward_ms_min": 1e3 * least[0], "forward_backward_ms_min": 1e3 * least[1]}
        row |= {"forward_ratio": ratios[0], "forward_backward_ratio": ratios[1]}
        row |= {"compile_s": max(first[name] - sum(steady), 0.0)}
        row |= {"peak_mb": None if args.no_memory else _peak_elsewhere(kind, name, workload, batch, args)}
        row |= {"device": device(), "threads": len(os.sched_getaffinity(0)), "repeat": args.repeat}
        row |= {"load_average": os.getloadavg()[0], "versions": versions(program.packages)}
        if pictures:
            first_picture = next(iter(pictures.values()))
            row |= {"unlike_the_first": unlike(pictures[name], first_picture)}
            row |= {"psnr_to_the_first": psnr(pictures[name], first_picture)}
        rows.append(row | program.notes)
    return rows


def unlike(picture: np.ndarray, first: np.ndarray) -> float:
    """Share of the pixels that differ by more than 1e-4."""
    return float((np.abs(picture - first).max(-1) > 1e-4).mean())


def psnr(picture: np.ndarray, first: np.ndarray) -> float | None:
    """Of colours in [0, 1], dB; None for equal ones."""
    mse = float(((picture.astype(np.float64) - first) ** 2).mean())
    return -10 * math.log10(mse) if mse else None


def _peak_elsewhere(kind: str, name: str, workload: str, batch: int, args: argparse.Namespace) -> float | None:
    command = [sys.executable, "-m", "benchmarks", kind, *args.same, "--workload", workload]
    command += ["--of", name, "--batch", str(batch), "--memory-of", name]
    command += ["--threads", str(args.threads)] if args.threads else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"benchmarks: no peak memory of {name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def _peak(make: Make, workload: str, args: argparse.Namespace) -> float | None:
    program = make(workload, args.batch[0], args)
    before = resident_mb() if jax.default_backend() == "cpu" else 0.0
    program.forward()
    program.both()
    peak = program.peak_mb()
    return None if peak is None else peak - before


def peak_memory(run: Callable[[], Any]) -> float | None:
    """MiB: on an accelerator what JAX's allocator held at most since the process began; on a CPU the peak of resident
    memory during ``run`` (Linux; None elsewhere)."""
    if jax.default_backend() != "cpu":
        run()
        stats = jax.local_devices()[0].memory_stats() or {}
        return stats["peak_bytes_in_use"] / 2**20 if "peak_bytes_in_use" in stats else None
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    except OSError:
        return None
    run()
    return resident_mb("VmHWM")


def resident_mb(field: str = "VmRSS") -> float:
    """Of this process, MiB; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def device() -> str:
    """The card's name, or the processor's."""
    first = jax.local_devices()[0]
    if first.platform != "cpu":
        return first.device_kind
    info = Path("/proc/cpuinfo")
    names = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in names if line.startswith("model name")), platform.processor())
    return f"{model or platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Of installed packages, and of Python."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def table(results: list[dict[str, Any]]) -> str:
    """For people: a line for each, times in ms, ratios to the first."""
    if not results:
        return ""
    head = results[0]
    lines = [
        f"{head['workload']}, batch {head['batch']}, {head['device']}, load {head['load_average']:.1f}",
        f"  {'':<14}{'forward ms':>12}{'×':>7}{'+backward ms':>15}{'×':>7}{'compile s':>11}{'peak MB':>9}"
        f"{'differs':>9}{'dB':>7}",
    ]
    for one in results:
        peak = "–" if one["peak_mb"] is None else f"{one['peak_mb']:.0f}"
        ratios = [
            "–" if one[f"{mode}_ratio"] is None else f"{one[f'{mode}_ratio']:.2f}"
            for mode in ("forward", "forward_backward")
        ]
        differs = f"{one['unlike_the_first']:.1e}" if "unlike_the_first" in one else "–"
        level = one.get("psnr_to_the_first")
        decibels = "–" if level is None else f"{level:.1f}"
        lines.append(
            f"  {one['of']:<14}{one['forward_ms']:>12.2f}{ratios[0]:>7}{one['forward_backward_ms']:>15.2f}"
            f"{ratios[1]:>7}{one['compile_s']:>11.1f}{peak:>9}  {differs}{decibels:>7}"
        )
    return "\n".join(lines)


def _write(path: Path, results: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> Path:
    if path.is_dir() or path.suffix != ".json":
        name = "".join(letter if letter.isalnum() else "_" for letter in device())
        path = path / f"{name.strip('_')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"results": results, "skipped": skipped}, indent=1) + "\n", encoding="utf-8")
    return path
