"""The one training loop: every stage hands it a step and batches."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jax_talker.errors import UserError
from jax_talker.training import stopping
from jax_talker.training.ahead import Ahead
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.devices import ALONE, Devices
from jax_talker.training.growing import GrowingStep
from jax_talker.training.log import Log
from jax_talker.training.profiling import DATA, LOGGING, SAVING, STEP
from jax_talker.training.skipped import frames_of, skipped_steps
from jax_talker.training.state import TrainState
from jax_talker.training.stopping import Stopped

Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]
SKIPS_ALLOWED = 20  # non-finite steps in a row after which a run is called diverged
LOOK = 100  # steps after which a run that keeps no scalars is looked at all the same


class Diverged(UserError):
    """Gradients stayed non-finite; says in which steps, and where the last good state is."""


@dataclass(frozen=True)
class Every:
    """How often, in steps, a run speaks and saves; 0 means never (but always at the end)."""

    scalars: int = 20
    images: int = 250
    checkpoint: int = 500


def run(
    stage: str,
    state: TrainState,
    steps: int,
    step: Step | GrowingStep,
    batches: Iterator[Any],
    *,
    log: Log,
    every: Every = Every(),
    checkpoints: Checkpoints | None = None,
    config: Mapping[str, Any] | None = None,
    sample: Callable[[TrainState], Mapping[str, np.ndarray]] | None = None,
    devices: Devices = ALONE,
) -> TrainState:
    """Train from ``state.step`` to ``steps``. ``batches``, of host arrays, must start at the state's step.

    ``step`` is compiled here, for all ``devices``, and its state donated; batches are made ahead and sent to them.
    ``sample(state)`` gives pictures [H, W, 3] to log. Scalars are means since the last record (of ``overflow``, what
    did not fit the rasteriser's capacity, the most; ``input_wait`` is the share of time in which the loop waited for a
    batch); overflow and skipped steps are said aloud, and a growing step gets more room. Diverged is raised when no
    gradient is finite any more; the state, to which none of those was applied, is saved first. Stopped is raised
    between two steps when the process is asked to end (stopping.listening), after saving.
    """
    started = time.monotonic()
    compiled = _compile(step, devices)
    first = int(state.step)
    state = devices.spread(state)
    waiting: list[dict[str, jax.Array]] = []
    shown: list[list[jax.Array]] = []  # frames of the waiting steps' batches
    unmeasured: set[str] = set()
    in_a_row = 0
    clock = log.clock(stage)
    with stopping.patient(), Ahead(batches, devices.put) as ahead, log.bar(stage, first, steps) as bar:
        for number in range(first + 1, steps + 1):
            _end_if_asked(stage, state, steps, checkpoints, config)
            clock.begin()
            batch = next(ahead)
            clock.tick(DATA)
            clock.look_at(compiled, state, batch)
            with jax.transfer_guard_host_to_device("disallow"):  # all that a step needs is on its devices by now
                state, measured = compiled(state, batch)
            clock.tick(STEP, measured)
            if number == first + 1:
                log.say(f"{stage}: first step after {time.monotonic() - started:.1f} s")
            waiting.append(measured)
            shown.append(frames_of(batch))
            last = number == steps
            if last or _due(number, every.scalars or LOOK):
                values, skipped = _mean(waiting)
                values["input_wait"] = ahead.share_waited()
                if last or every.scalars:
                    _say_unmeasured(log, stage, number, values, unmeasured)
                    log.scalars(stage, number, values)
                bar.set_postfix({k: f"{values[k]:.3g}" for k in ("loss", "psnr", "psnr_lower") if k in values})
                in_a_row = in_a_row + len(skipped) if all(skipped) else skipped[::-1].index(False)
                if any(skipped):
                    log.say(
                        f"{stage}: {sum(skipped)} steps with non-finite gradients to step {number} were not applied"
                    )
                    for step_number, frames in skipped_steps(number, skipped, shown):
                        log.skipped(stage, step_number, frames)
                waiting, shown = [], []
                learnt = in_a_row < number - first
                if in_a_row >= SKIPS_ALLOWED or (last and in_a_row and not learnt):
                    if learnt and checkpoints is not None:
                        checkpoints.save(state, dict(config or {}))
                    raise _diverged(stage, number, in_a_row, saved=learnt and checkpoints is not None)
                if values.get("overflow", 0) > 0:
                    compiled = _more_room(log, stage, step, values["overflow"], devices) or compiled
            if sample is not None and (last or _due(number, every.images)):
                for name, pixels in sample(devices.gathered(state)).items():
                    log.image(stage, number, name, pixels)
            clock.tick(LOGGING)
            if checkpoints is not None and (last or _due(number, every.checkpoint)):
                checkpoints.save(state, dict(config or {}))
            bar.update()
            clock.tick(SAVING)
        clock.end()
        _end_if_asked(stage, state, steps, checkpoints, config)
    return devices.gathered(state)


def _end_if_asked(
    stage: str, state: TrainState, steps: int, checkpoints: Checkpoints | None, config: Mapping[str, Any] | None
) -> None:
    number = stopping.asked()
    if number is None:
        return
    done = int(state.step)
    if not done:  # a checkpoint of nothing would be taken for a beginning
        raise Stopped(f"{stage}: stopped before its first step", number)
    if checkpoints is not None:
        checkpoints.save(state, dict(config or {}))
    saved = "nothing is saved" if checkpoints is None else "it is saved"
    raise Stopped(f"{stage}: stopped after step {done} of {steps}; {saved}", number)


def _compile(step: Step | GrowingStep, devices: Devices) -> Step:
    return step.compiled(devices) if isinstance(step, GrowingStep) else devices.compile(step)


def _more_room(log: Log, stage: str, step: Step | GrowingStep, lost: float, devices: Devices) -> Step | None:
    said = f"{stage}: {lost:.0f} (tile, Gaussian) pairs of one step did not fit the rasteriser's capacity"
    if not isinstance(step, GrowingStep):
        log.say(f"{said}; raise it")
        return None
    log.say(f"{said}, which is {step.grow(lost)} from here on")
    return _compile(step, devices)


def _due(number: int, interval: int) -> bool:
    return interval > 0 and number % interval == 0


def _mean(waiting: list[dict[str, jax.Array]]) -> tuple[dict[str, float], list[bool]]:
    """Means over the waiting steps, and for each whether it was skipped; NaN for what none of them could measure.

    Skipped steps do not spoil the means, nor do those that had nothing to measure (PSNR of an empty mask).
    """
    fetched = jax.device_get(waiting)
    skipped = [bool(m["skipped"]) for m in fetched]
    good = [m for m, s in zip(fetched, skipped, strict=True) if not s] or fetched
    values = {}
    for name in (n for n in fetched[0] if n != "skipped"):
        measured = [float(m[name]) for m in good if np.isfinite(m[name])]
        values[name] = float(np.mean(measured)) if measured else math.nan
    if "overflow" in values:
        values["overflow"] = float(np.max([m["overflow"] for m in fetched]))
    return values | {"skipped": float(sum(skipped))}, skipped


def _say_unmeasured(log: Log, stage: str, number: int, values: Mapping[str, float], said: set[str]) -> None:
    new = {name for name, value in values.items() if math.isnan(value)} - said
    if new and not values["skipped"]:
        log.say(f"{stage}: {', '.join(sorted(new))} could not be measured in the steps to {number}")
        said |= new


def _diverged(stage: str, number: int, in_a_row: int, *, saved: bool) -> Diverged:
    lower = "a lower learning rate"
    saved_state = f"the state before them is saved; go on from it with --resume --allow-changes and {lower}"
    return Diverged(
        f"{stage}: every gradient of the last {in_a_row} steps (to step {number}) was non-finite; "
        f"{saved_state if saved else f'start again with {lower}'}"
    )
