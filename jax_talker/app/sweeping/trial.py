"""One trial: ``train`` and ``evaluate`` as processes in a run folder of its own, gone on with where it was."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jax_talker.app.run_folder import LOCK
from jax_talker.errors import UserError
from jax_talker.training.log import read_scalars

RECORD, STOPPED_EARLY, RUN = "trial.json", "stopped_early", "run"
LOOK = 0.5  # s between two looks at a process
TRIES = 3  # processes of one trial that may die
GRACE = 120.0  # s that a process gets to save when it is asked to end
# Runs the module that is named first. On Linux (PR_SET_PDEATHSIG) it is asked to end when the process that started it
# is gone, however that went: a launcher that was killed leaves nobody behind.
STARTER = """
import ctypes, runpy, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
EXIT_USER_ERROR = 2  # of our programs: trying again would not help
SCORES = {  # what is told of a trial, and where metrics.json of ``evaluate`` has it
    "psnr": ("whole", "psnr"),
    "ssim": ("whole", "ssim"),
    "psnr_lower": ("lower", "psnr"),
    "ssim_lower": ("lower", "ssim"),
}


class Died(Exception):
    """A process of a trial ended as none should: killed, out of memory, or by an error of ours. Worth another try."""


@dataclass(frozen=True)
class Plan:
    """What all trials of a sweep have in common."""

    root: Path  # the sweep's folder, absolute
    flags: tuple[str, ...]  # of ``train``: --config and what was changed in it
    stages: Mapping[str, int]  # steps of each stage, in their order, where a trial does not change them
    cwd: Path = field(default_factory=Path.cwd)  # where relative paths begin
    starter: tuple[str, ...] = (sys.executable, "-c", STARTER)  # what starts a program by its module's name


class Trial:
    """Iterate over ``reports``; ``close`` ends it before its end, after it has saved."""

    def __init__(self, plan: Plan, name: str, values: Mapping[str, Any]):
        self.plan, self.name, self.values = plan, name, dict(values)
        self.folder = plan.root / "trials" / name
        self._process: subprocess.Popen | None = None
        self._known = read_record(self.folder) or {}

    def reports(self) -> Generator[dict[str, float], None, None]:
        """``progress`` in percent and ``seen`` (PSNR of training frames, dB) while it trains, in the end its SCORES.

        Died where a process was killed, UserError where the program refused; both are kept in the record.
        """
        if self._known.get("status") == "finished":  # a launcher that was killed did not hear of it
            yield {"progress": 100.0, **{name: self._known[name] for name in SCORES if name in self._known}}
            return
        begun, before = time.monotonic(), self._known.get("seconds", 0.0)
        told: dict[str, Any] = {}

        def record(status: str, **more: Any) -> None:
            told.update(more, status=status, seconds=round(before + time.monotonic() - begun, 1))
            write_record(self.folder, {"name": self.name, "values": self.values, **told})

        try:
            record("running")
            _wait_until_free(self.folder / RUN)
            self._start("train", *self.plan.flags, *self._changes(), "--workdir", str(self.folder / RUN), "--resume")
            for report in self._watched():
                record("running", **report)
                yield report
            self._check_done()
            self._start("evaluate", "--run", str(self.folder / RUN))
            self._wait()
            scores = read_scores(self.folder / RUN)
            record("finished", progress=100.0, **scores)
        except (Died, UserError) as error:
            record("failed", error=str(error))
            raise
        except BaseException:  # closed from outside (GeneratorExit), Ctrl-C, SIGTERM
            record("interrupted")
            raise
        finally:
            self.close()
        yield {"progress": 100.0, **scores}

    def close(self) -> None:
        """End the process, if one runs: asked first, so that it saves."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _changes(self) -> list[str]:
        return [f"--config.{name}={as_flag(value)}" for name, value in self.values.items()]

    def _start(self, program: str, *flags: str) -> None:
        command = [*self.plan.starter, f"jax_talker.{program}", *flags]
        with (self.folder / f"{program}.log").open("a", encoding="utf-8") as out:
            out.write(f"$ python -m jax_talker.{program} {shlex.join(flags)}\n")
            out.flush()
            self._log = Path(out.name)
            self._process = subprocess.Popen(
                command,
                cwd=self.plan.cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is for us, who then ask it to end, once
            )

    def _watched(self) -> Iterator[dict[str, float]]:
        """A report whenever training has logged something new, until it ends."""
        last = None
        while self._process is not None and self._process.poll() is None:
            time.sleep(LOOK)
            report = self._report()
            if report and report != last:
                last = report
                yield report
        self._wait()

    def _report(self) -> dict[str, float]:
        logged = read_scalars(self.folder / RUN)
        done, steps = self._steps(logged)
        seen = [logged[name]["psnr"][1][-1] for name in self.plan.stages if "psnr" in logged.get(name, {})]
        if not done:
            return {}
        # The end is reached when it is scored.
        return {"progress": round(min(99.0, 100 * done / steps), 1), "seen": float(seen[-1])}

    def _steps(self, logged: Mapping[str, Any]) -> tuple[int, int]:
        """How many steps are done, and of how many."""
        steps = {name: self.values.get(_STEPS[name], count) for name, count in self.plan.stages.items()}
        done = sum(min(int(logged[name]["loss"][0][-1]), steps[name]) for name in steps if name in logged)
        return done, sum(steps.values())

    def _check_done(self) -> None:
        """Died where training ended well and is not done: somebody else asked its process to end, and it saved."""
        done, steps = self._steps(read_scalars(self.folder / RUN))
        if done < steps:
            raise Died(f"train was asked to end after {done} of {steps} steps; see {self._log}")

    def _wait(self) -> None:
        if self._process is None:
            return
        code = self._process.wait()
        if code == EXIT_USER_ERROR:
            said = [line for line in self._log.read_text(encoding="utf-8").splitlines() if line.startswith("error: ")]
            raise UserError(said[-1].removeprefix("error: ") if said else f"see {self._log}")
        if code:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            raise Died(f"{self._log.stem} {how}; see {self._log}")


_STEPS = {
    "invert": "personalize.invert_steps",
    "tune": "personalize.tune_steps",
    "hear": "train.hear_steps",
    "navigate": "train.steps",
}


def steps_of(config: Mapping[str, Any]) -> dict[str, int]:
    """Stage → its steps, of a configuration."""
    parts = {stage: name.split(".") for stage, name in _STEPS.items()}
    return {stage: int(config[group][name]) for stage, (group, name) in parts.items()}


def as_flag(value: Any) -> str:
    """A value as ml_collections reads it from a command line."""
    return repr(value) if isinstance(value, tuple | list) else str(value)


def read_scores(run: Path) -> dict[str, float]:
    """SCORES of a run that was evaluated, without what could not be measured."""
    model = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["model"]
    found = {name: model[region][kind] for name, (region, kind) in SCORES.items()}
    return {name: float(value) for name, value in found.items() if value is not None}


def read_record(folder: Path) -> dict[str, Any] | None:
    """What is known of a trial; None where there is none yet."""
    path = folder / RECORD
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    found["values"] = {n: tuple(v) if isinstance(v, list) else v for n, v in found["values"].items()}  # JSON's lists
    if found["status"] != "finished" and (folder / STOPPED_EARLY).exists():
        found["status"] = "stopped early"
    return found


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{RECORD}.partial"
    beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(beside, folder / RECORD)


def _wait_until_free(run: Path) -> None:
    """Until the process of an attempt before has saved and let go of the run's folder."""
    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / LOCK, timeout=GRACE):
            pass
    except Timeout:
        raise Died(f"{run}: another process is still working there") from None
