"""The one training loop: every stage hands it a step and batches."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jax_talker.training import stopping
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.devices import ALONE, Devices
from jax_talker.training.growing import GrowingStep
from jax_talker.training.input import Input
from jax_talker.training.log import Log
from jax_talker.training.profiling import DATA, LOGGING, SAVING, STEP
from jax_talker.training.record import Record
from jax_talker.training.state import TrainState
from jax_talker.training.stopping import Stopped

Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]
LOOK = 100  # steps after which overflow is looked for where no scalars are kept


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
    batch: Callable[[int], Any],
    *,
    log: Log,
    every: Every = Every(),
    checkpoints: Checkpoints | None = None,
    config: Mapping[str, Any] | None = None,
    sample: Callable[[TrainState], Mapping[str, np.ndarray]] | None = None,
    devices: Devices = ALONE,
) -> TrainState:
    """Train from ``state.step`` to ``steps``. ``batch(k)``, of host arrays, is what the step after k others is shown.

    ``step`` is compiled here, for all ``devices``, and its state donated; batches are made ahead by several threads,
    as functions of k alone (training/input.py), and sent to them.
    ``sample(state)`` gives pictures to log (Log.image). Scalars are means since the last record (of ``overflow``, what
    did not fit the rasteriser's capacity, the most; ``input_wait`` is the share of time in which the loop waited for a
    batch); overflow and skipped steps are said aloud, and a growing step gets more room. Diverged is raised, soon, when
    no gradient is finite any more (record.SKIPS_ALLOWED in a row); the state, to which none of those was
    applied, is saved first. Stopped is raised between two steps when the process is asked to end
    (stopping.listening), after saving.
    """
    started = time.monotonic()
    first = int(state.step)
    if isinstance(step, GrowingStep):
        step.begin(stage, first)
    compiled = _compile(step, devices)
    state = devices.spread(state)
    record = Record(log, stage, first)
    with (
        stopping.patient(),
        Input(batch, devices.put, first, steps) as ahead,
        log.clock(stage) as clock,
        log.bar(stage, first, steps) as bar,
    ):
        for number in range(first + 1, steps + 1):
            _end_if_asked(stage, state, steps, checkpoints, config)
            clock.begin()
            shown = next(ahead)
            clock.tick(DATA)
            clock.look_at(compiled, state, shown)
            with jax.transfer_guard_host_to_device("disallow"):  # all that a step needs is on its devices by now
                state, measured = compiled(state, shown)
            clock.tick(STEP, measured)
            if number == first + 1:
                log.say(f"{stage}: first step after {time.monotonic() - started:.1f} s")
            record.add(measured, shown)
            last = number == steps
            if last or record.suspicious or _due(number, every.scalars or LOOK):
                values = record.tell(number, keep=last or every.scalars > 0, input_wait=ahead.share_waited())
                bar.set_postfix({k: f"{values[k]:.3g}" for k in ("loss", "psnr", "psnr_lower") if k in values})
                if record.diverged(number, last=last):
                    if checkpoints is not None and record.learnt(number):
                        checkpoints.save(state, dict(config or {}))
                        raise record.divergence(number, saved=True)
                    raise record.divergence(number, saved=False)
                if values.get("overflow", 0) > 0:
                    compiled = _more_room(log, stage, number, step, values["overflow"], devices) or compiled
            if sample is not None and (last or _due(number, every.images)):
                for name, pixels in sample(devices.gathered(state)).items():
                    log.image(stage, number, name, pixels)
            clock.tick(LOGGING)
            if checkpoints is not None and (last or _due(number, every.checkpoint)):
                checkpoints.save(state, dict(config or {}))
            bar.update()
            clock.tick(SAVING)
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


def _more_room(
    log: Log, stage: str, number: int, step: Step | GrowingStep, lost: float, devices: Devices
) -> Step | None:
    said = f"{stage}: {lost:.0f} (tile, Gaussian) pairs of one step did not fit the rasteriser's capacity"
    if not isinstance(step, GrowingStep):
        log.say(f"{said}; raise it")
        return None
    log.say(f"{said}, which is {step.grow(lost, number)} from here on")
    return _compile(step, devices)


def _due(number: int, interval: int) -> bool:
    return interval > 0 and number % interval == 0
