"""One person's head while it is learnt: frames, the step that all stages share, and how a stage is run."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jax_talker.app import builders
from jax_talker.app.run_folder import RunFolder
from jax_talker.data.batches.dataset import ClipFrames, Split
from jax_talker.data.batches.selection import few, frame_weights
from jax_talker.models.detail import Layout
from jax_talker.priors.base import Prior, Variables
from jax_talker.rendering import Rasteriser
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.drawn import DrawnFrames
from jax_talker.training.growing import GrowingStep
from jax_talker.training.head_step import Control, make_head_step
from jax_talker.training.log import Log
from jax_talker.training.loop import run
from jax_talker.training.shares import Batch, batch_of
from jax_talker.training.state import TrainState, cosine, create, direction
from jax_talker.training.talking_head import Fixed, Params, TalkingHead
from jax_talker.types import FrameBatch

DRAWING = "drawing frames"  # what a bar says while the generator does
WALK = 0.15  # a typical walk from the anchor, as a share of the distance between a random latent and the centre


@dataclass(frozen=True)
class Stage:
    """What distinguishes a stage. ``rates``: of each entry of Params, at its height."""

    name: str
    steps: int
    rates: Mapping[str, float]
    hear: bool  # sound leads; otherwise motion as landmarks show it
    cross: int  # couples of a batch whose lips follow another frame than the upper face
    focus: bool = True  # whether the face's pixels weigh more

    @property
    def draws_once(self) -> bool:
        """Whether the generator draws each frame alike in all steps, as long as landmarks lead."""
        return not self.hear and not any(self.rates.get(name) for name in ("anchor", "talker", "generator"))


class HeadTrainer:
    """Runs stages on one clip."""

    def __init__(
        self,
        config: Any,
        folder: RunFolder,
        log: Log,
        prior: Prior,
        variables: Variables,
        frames: ClipFrames,
        split: Split,
        *,
        num_gaussians: int,
        gain: float,
    ):
        self.config, self.folder, self.log, self.frames, self.split = config, folder, log, frames, split
        self.prior, self.variables, self.gain = prior, variables, gain
        builders.check_background(config, prior)
        head = builders.talking_head(config, prior, num_gaussians, gain)
        self.head: TalkingHead = replace(head, rasteriser=builders.rasteriser(config, folder.capacity()))
        self._weights = self._seen_weights = frame_weights(frames.clip.arrays, split.train)
        if config.personalize.frames is not None:
            self._seen_weights = few(self._weights, config.personalize.frames)
        self._loss, self._perceptual, self.loss_text = builders.image_loss(config)
        self._spread, self._num_gaussians = gain / _walk(prior), num_gaussians
        self.optimiser = direction()
        self.devices = builders.head_devices(config)
        self._steps: dict[int, GrowingStep] = {}

    @property
    def drawing_head(self) -> TalkingHead:
        """The head with as much room as any stage has needed."""
        used = [step.rasteriser for step in self._steps.values()]
        return replace(self.head, rasteriser=max([self.head.rasteriser, *used], key=lambda r: r.capacity or 0))

    def _step(self, stage: Stage) -> GrowingStep:
        """The stage's step; stages that differ only in what is traced share one."""
        cross = self._cross(stage)
        if cross not in self._steps:
            weights = builders.head_weights(self.config)

            def build(rasteriser: Rasteriser) -> Callable[..., Any]:
                head = replace(self.head, rasteriser=rasteriser)
                how = {"spread": self._spread, "cross": cross, "shares": self.devices.shares}
                return make_head_step(head, self.optimiser, self._loss, weights, **how)

            size = self.frames.clip.size
            self._steps[cross] = builders.growing_step(self.config, self._num_gaussians, size, build, self.folder)
        return self._steps[cross]

    def _cross(self, stage: Stage) -> int:
        """Couples that the stage's step can cross."""
        # With a pass through the generator, two views that nobody looks at cost less than compiling a second program.
        return 0 if stage.draws_once else builders.crossed(self.config)

    def init(self, anchor: jax.Array, layout: Layout) -> Params:
        """Fresh parameters."""
        some = self.frames.frames(self.split.train[:2])
        # It runs once: XLA's optimisations would take four times as long as all the rest.
        init = jax.jit(self.head.init, compiler_options={"xla_backend_optimization_level": 0})
        return init(jax.random.key(self.config.seed), anchor, layout, some)

    def run(
        self,
        stage: Stage,
        params: Params,
        fixed: Fixed,
        *,
        resume: bool,
        sample: Callable[[TrainState], Mapping[str, np.ndarray]] | None = None,
    ) -> Params:
        """Train ``params`` for a stage, or go on with it where it was interrupted."""
        seed, fixed = self.config.seed, replace(fixed, perceptual=self._perceptual)
        with Checkpoints(self.folder.checkpoints(stage.name), keep=self.config.log.keep) as checkpoints:
            state = checkpoints.resumed(self.devices.spread(create(params, self.optimiser, seed)), resume)
            state = run(
                stage.name,
                state,
                stage.steps,
                self._step(stage),
                self._batch(stage, state, fixed),
                log=self.log,
                every=builders.every(self.config),
                checkpoints=checkpoints,
                config=self.config.to_dict(),
                sample=sample,
                devices=self.devices,
            )
        return state.params

    def _batch(self, stage: Stage, state: TrainState, fixed: Fixed) -> Callable[[int], Batch]:
        """A function from a step to this process's rows of its batch, in the order in which devices get them."""
        names, batch = list(state.params), self.config.train.batch
        weights = self._weights if stage.hear else self._seen_weights
        rows = self.devices.deal(batch, together=2, apart=self._cross(stage))
        hear, crossed, focus = (_number(x) for x in (stage.hear, stage.cross > 0, stage.focus))
        couples = self.frames.couples(self.split.train, batch, stage.cross, self.config.seed, weights, rows)
        draw: Callable[[FrameBatch], Any] = lambda _: None  # noqa: E731
        if stage.draws_once:
            draw = DrawnFrames(self.head, state.params, fixed)
            shown = [couples.of(step)[0] for step in range(int(state.step), stage.steps)]
            if shown:  # nothing is left of a stage that is done
                self._draw_ahead(draw, np.unique(shown))
        fixed = self.devices.spread(fixed)

        def made(step: int) -> Batch:
            i, j = self.frames.pairs(couples, step)
            control = Control(self._rates(stage, step, names), hear, crossed, focus)
            return batch_of((i, j, draw(i)), (fixed, control), rows)

        return made

    def _draw_ahead(self, draw: DrawnFrames, shown: np.ndarray) -> None:
        """Draw what the stage will show, as much of it as is kept: no step then waits for the generator."""
        with self.log.bar(DRAWING, 0, len(shown), "frame") as bar:
            for at in range(len(shown)):
                if draw.full:
                    break
                draw(self.frames.heard_only(shown[at : at + 1]))
                bar.update()

    def _rates(self, stage: Stage, number: int, names: Iterable[str]) -> dict[str, Any]:
        share = cosine(number, stage.steps)
        return {name: _number(share * stage.rates.get(name, 0.0)) for name in names}


def _number(value: float) -> Any:
    """As an array of the host, which a step is sent; what it computes with is a device's."""
    return np.asarray(value, np.float32)


def typical_walk(prior: Prior, spread: float) -> float:
    """The unit of coefficients, a length in W+; as it is stored with the person, so that a run that is gone on with
    computes what it would have computed."""
    return float(np.float32(spread * _walk(prior)))


def _walk(prior: Prior) -> float:
    """A typical walk where the prior's spread is 1."""
    return WALK * math.sqrt(prior.num_ws * prior.w_dim)
