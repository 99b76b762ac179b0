"""``--profile``: where the time of a stage's steps goes, printed and kept in RUN/profile, and a trace for TensorBoard.

Of each stage some steps are timed (waiting for data, the step, logging, saving), then some more are traced, which says
what part of the step is the generator, the rasteriser, the loss and the optimiser.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from jax_talker.training.trace_parts import parts_of_program, seconds_of_parts

WARM, TIMED, TRACED = 3, 20, 3  # steps: of compilation and caches; of the clock; of the trace
DATA, STEP, LOGGING, SAVING = "data", "step", "logging", "saving"


class Clock:
    """What the loop tells the time to. This one looks at nothing and waits for nothing."""

    def begin(self) -> None:
        """A step's turn begins, with its data."""

    def look_at(self, step: Any, *arguments: Any) -> None:
        """``step``, compiled, is about to run with these arguments."""

    def tick(self, part: str, wait_for: Any = None) -> None:
        """All time since the last tick was spent in ``part``."""

    def end(self) -> None:
        """There are no more steps."""

    def __enter__(self) -> "Clock":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Profile(Clock):
    """The clock of one stage; ``folder`` is RUN/profile."""

    def __init__(self, folder: Path, stage: str, say: Callable[[str], None]):
        self._folder, self._stage, self._say = folder / stage, stage, say
        self._number, self._last = 0, time.perf_counter()  # the step's, in this stage and process
        self._spent: dict[str, float] = {}
        self._program: tuple[str, dict[str, str]] | None = None  # that is traced
        self._done = False

    def begin(self) -> None:
        self._number += 1
        if self._number == WARM + 1:
            self._spent = {}
        if self._number == WARM + TIMED + TRACED + 1:
            self.end()
        self._last = time.perf_counter()

    def look_at(self, step: Any, *arguments: Any) -> None:
        if self._number == WARM + TIMED + 1:
            self._start_trace(step, arguments)

    def tick(self, part: str, wait_for: Any = None) -> None:
        if self._done:
            return
        jax.block_until_ready(wait_for)
        now = time.perf_counter()
        if self._program is None:
            self._spent[part] = self._spent.get(part, 0.0) + now - self._last
        self._last = now

    def end(self) -> None:
        """Print and keep what was found; a stage that ended sooner has fewer steps, and perhaps no trace."""
        if self._done:
            return
        self._done = True
        parts: dict[str, float] = {}
        if self._program is not None:
            jax.profiler.stop_trace()
            parts = seconds_of_parts(self._folder, *self._program)
        timed = min(TIMED, self._number - WARM)
        if timed <= 0:
            self._say(f"{self._stage}: too few steps to say where their time goes")
            return
        report = {
            "stage": self._stage,
            "steps": timed,
            "ms": {part: 1000 * seconds / timed for part, seconds in self._spent.items()},
            "share_of_step": _shares(parts),
            **memory(),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report, indent=1) + "\n"
        (self._folder / "times.json").write_text(text, encoding="utf-8")
        self._say(told(report))

    def _start_trace(self, step: Any, arguments: tuple) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)  # traces of another program, whose times would be added
        hlo = step.lower(*arguments).compile().as_text()
        self._program = hlo.partition("HloModule ")[2].partition(",")[0], parts_of_program(hlo)
        jax.profiler.start_trace(str(self._folder))


def told(report: Mapping[str, Any]) -> str:
    """A report as lines for people."""
    each = report["ms"]
    whole = sum(each.values())
    shown = [f"{part} {ms:.1f} ms ({100 * ms / whole:.0f} %)" for part, ms in each.items()]
    lines = [f"{report['stage']}: {whole:.1f} ms a step, of {report['steps']}: {', '.join(shown)}"]
    if report["share_of_step"]:
        parts = [f"{part} {100 * share:.0f} %" for part, share in report["share_of_step"].items()]
        lines.append(f"  of the step: {', '.join(parts)}")
    held = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in report.items() if name.endswith("GiB")]
    return "\n".join([*lines, f"  memory: {', '.join(held)}"])


def memory() -> dict[str, float]:
    """Most memory that was in use until now: of this process, and of its first device where that tells."""
    found = {}
    if sys.platform != "win32":
        import resource  # not there on Windows

        unit = 1 if sys.platform == "darwin" else 1024
        found["process_peak_GiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        found["device_peak_GiB"] = stats["peak_bytes_in_use"] / 2**30
    return found


def _shares(parts: Mapping[str, float]) -> dict[str, float]:
    whole = sum(parts.values())
    return {part: seconds / whole for part, seconds in parts.items() if seconds} if whole else {}
