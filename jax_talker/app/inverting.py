"""One picture → the latent whose head looks like it: what a prior alone knows of a person, before anything is tuned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32

from jax_talker import priors
from jax_talker.data.batches.expression_units import is_upper
from jax_talker.priors.base import Prior, Variables
from jax_talker.priors.encoder import Encoder
from jax_talker.rendering import render
from jax_talker.training import invert_step
from jax_talker.training.head_step import latent_spread
from jax_talker.training.objective import ImageLoss
from jax_talker.training.state import adam, create
from jax_talker.types import FrameBatch, Latent

INVERSION = invert_step.InversionWeights()
STEPS, RATE = 400, 0.03  # of Adam; the rate in units of the prior's spread


@dataclass(frozen=True)
class Portrait:
    """One camera's picture of a person: sRGB on the prior's background, what is head, what is known; the EG3D label."""

    image: Float32[np.ndarray, "S S 3"]
    head: Float32[np.ndarray, "S S"]
    label: Float[np.ndarray, "25"]
    valid: Float32[np.ndarray, "S S"] | None = None


class Inverter:
    """Inverts portraits of one size; its programs are compiled once."""

    def __init__(
        self,
        prior: Prior,
        variables: Variables,
        loss: ImageLoss,
        *,
        size: int,
        weights: invert_step.InversionWeights = INVERSION,
        steps: int = STEPS,
        rate: float = RATE,
        expressions: Mapping[str, np.ndarray] | None = None,
        encoder: str | None = None,
    ):
        """``expressions`` are the prior's units (``priors.expressions``), where it knows any. ``encoder`` names the
        prior whose encoder says where to start (``FirstGuess``); without one that is the mean face."""
        self.prior, self.variables, self.steps = prior, variables, steps
        self._spread = float(latent_spread(prior, variables, jax.random.key(0)))
        self._guess = FirstGuess.of(encoder, prior, variables) if encoder is not None else None
        self._directions = jnp.asarray(np.stack([*expressions.values()])) if expressions else None
        self._optimiser = adam(rate * self._spread, steps, warmup=0.05, floor=0.02)
        how: dict[str, Any] = {"spread": self._spread, "directions": self._directions}
        self._step = jax.jit(invert_step.make_inversion_step(prior, self._optimiser, loss, weights, **how))

        @jax.jit
        def seen(variables: Variables, w: Any, label: Any) -> Any:
            gaussians = prior.gaussians(variables, Latent(w))
            return render(gaussians, prior.camera(label, size), size=size, background=prior.background)

        self._seen = seen

    def __call__(self, portrait: Portrait) -> Float32[np.ndarray, "L D"]:
        """The anchor [L, D]. ValueError where the rasteriser had too little room for it."""
        batch = _frame(portrait)
        mean = self.prior.mean_latent(self.variables)
        params = {"anchor": mean if self._guess is None else jnp.asarray(self._guess([batch]))}
        if self._directions is not None:
            params["units"] = jnp.zeros(len(self._directions))
        state = create(params, self._optimiser, 0)
        lost = jnp.zeros((), jnp.int32)
        for _ in range(self.steps):
            state, measured = self._step(state, self.variables, batch)
            lost = jnp.maximum(lost, measured["overflow"])
        if int(lost):
            raise ValueError(f"the rasteriser left out {int(lost)} intersections; it needs more room")
        return np.asarray(invert_step.whole(state.params, self._spread, self._directions))

    def pictures(
        self, anchor: Float32[np.ndarray, "L D"], labels: Float[np.ndarray, "V 25"]
    ) -> Float32[np.ndarray, "V S S 3"]:
        """The anchor's head from cameras, in [0, 1]."""
        w = jnp.broadcast_to(jnp.asarray(anchor)[None], (len(labels), *anchor.shape))
        found = self._seen(self.variables, w, jnp.asarray(labels, jnp.float32))
        if lost := int(found.overflow.max()):
            raise ValueError(f"the rasteriser left out {lost} intersections; it needs more room")
        return np.asarray(jnp.clip(found.image, 0, 1))


class FirstGuess:
    """What a prior's encoder finds in frames of one person: the median of each number, which hair in a face or a wrong
    mask does not turn.

    Units of the upper face stay those of the mean face, whose eyes are open: an encoder that sees eyes of a few pixels
    guesses them half shut in everybody.
    """

    def __init__(self, encoder: Encoder, params: Any, variables: Variables, upper: Float32[np.ndarray, "U L D"]):
        """``upper`` are the prior's directions of the upper face's units, where it knows any."""
        prior = encoder.prior
        self._params, self._variables = params, variables
        self._mean = np.asarray(prior.mean_latent(variables))
        self._upper = upper.reshape(len(upper), self._mean.size).T

        @jax.jit
        def found(params: Any, variables: Variables, frames: FrameBatch) -> Any:
            there = frames.valid[..., None]  # what was not filmed looks as if nothing were there
            image = there * frames.image + (1 - there) * jnp.asarray(prior.background)[None, None, None]
            return encoder(params, variables, image, frames.label).w

        self._found = found

    @classmethod
    def of(cls, path_or_name: str, prior: Prior, variables: Variables) -> "FirstGuess | None":
        """That of a prior; None where it has no encoder."""
        if (known := priors.load_encoder(path_or_name, prior)) is None:
            return None
        directions = priors.expressions(path_or_name, prior)
        upper = [along for unit, along in directions.items() if is_upper(unit)]
        nothing = np.zeros((0, prior.num_ws, prior.w_dim), np.float32)
        return cls(*known, variables, np.stack(upper) if upper else nothing)

    def __call__(self, batches: Iterable[FrameBatch]) -> Float32[np.ndarray, "L D"]:
        """The latent of batches of frames."""
        each = [np.asarray(self._found(self._params, self._variables, frames)) for frames in batches]
        guess = np.median(np.concatenate(each), axis=0)
        by, *_ = np.linalg.lstsq(self._upper, (guess - self._mean).ravel())
        return guess - (self._upper @ by).reshape(guess.shape)


def _frame(portrait: Portrait) -> FrameBatch:
    """A batch of one; nobody speaks in it."""
    head = jnp.asarray(portrait.head)[None]
    return FrameBatch(
        image=jnp.asarray(portrait.image)[None],
        upper=head,
        lower=head,
        head=head,
        valid=jnp.ones_like(head) if portrait.valid is None else jnp.asarray(portrait.valid)[None],
        label=jnp.asarray(portrait.label, jnp.float32)[None],
        audio=jnp.zeros((1, 1, 1, 1)),
        blink=jnp.zeros(1),
        expression=jnp.zeros((1, 1)),
        lips=jnp.zeros((1, 1)),
        index=jnp.zeros(1, jnp.int32),
    )
