"""What a training run carries from step to step."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int, Key

from jax_talker.training.shares import WHOLE, Loss, Shares

PER_GAUSSIAN = ("detail", "deformation")  # params of a head with entries for each Gaussian
CALM = 0.1  # of an array's root mean square gradient: what has less moves in proportion to it
TINY = 1e-30


@struct.dataclass
class TrainState:
    """Everything that changes; saved and restored whole. Randomness at a step is ``fold_in(key, step)``."""

    step: Int[Array, ""]
    params: Any
    opt_state: Any
    key: Key[Array, ""]

    def step_key(self) -> Key[Array, ""]:
        """The key of this step: a resumed run repeats it, and no two steps share one."""
        return jax.random.fold_in(self.key, self.step)


def create(params: Any, optimiser: optax.GradientTransformation, seed: int) -> TrainState:
    """A state at step 0. ``params`` are copied, so that a donated state never deletes the caller's arrays; their types
    are made strong, as they come out of a step, which would be compiled once more for its own results otherwise."""
    params = jax.tree.map(lambda x: jnp.array(x, x.dtype, copy=True), params)
    return TrainState(
        step=jnp.zeros((), jnp.int32), params=params, opt_state=optimiser.init(params), key=jax.random.key(seed)
    )


def descend(
    state: TrainState,
    optimiser: optax.GradientTransformation,
    loss: Loss,
    batch: Any,
    rates: Any = None,
    shares: Shares = WHOLE,
) -> tuple[TrainState, dict[str, Any]]:
    """One optimiser step on ``loss(params, batch) → (value, measured)``; where either the value or its gradient is not
    finite, that is reported and nothing is applied. On several devices, or in several parts, the gradient and what is
    measured are the whole batch's.

    ``rates`` multiplies the updates: one number, or a dict of one for each entry of the params. Given with a step's
    batch, a schedule costs no compilation (``direction`` and ``cosine`` are made for it).
    ``measured`` gains ``loss``, ``grad_norm`` and ``skipped`` (1 where the step was not applied).
    """
    (value, measured), gradients = shares.slope(loss, state.params, batch)
    norm = optax.tree.norm(gradients)
    finite = jnp.isfinite(norm) & jnp.isfinite(value)
    keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)  # noqa: E731
    with jax.named_scope("optimiser"):
        updates, opt_state = optimiser.update(gradients, state.opt_state, state.params)
        if rates is not None:
            each = rates if isinstance(rates, dict) else dict.fromkeys(state.params, rates)
            scaled: Any = updates
            updates = {name: jax.tree.map(lambda x, n=name: each[n] * x, update) for name, update in scaled.items()}
        params = keep(optax.apply_updates(state.params, updates), state.params)
        opt_state = keep(opt_state, state.opt_state)
    state = replace(state, step=state.step + 1, params=params, opt_state=opt_state)
    return state, measured | {"loss": value, "grad_norm": norm, "skipped": 1.0 - finite}


def adam(
    learning_rate: float, steps: int, *, warmup: float = 0.02, floor: float = 0.05, b2: float = 0.99
) -> optax.GradientTransformation:
    """Adam, gradients clipped at 10: a short linear warm-up, then a cosine decay to ``floor`` times the rate."""
    warm = max(1, round(warmup * steps))
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, warm, max(steps, warm + 1), end_value=floor * learning_rate
    )
    return optax.chain(optax.clip_by_global_norm(10.0), optax.adam(schedule, b1=0.9, b2=b2))


def direction(b2: float = 0.99) -> optax.GradientTransformation:
    """Adam's step of length 1, gradients clipped at 10: the rate comes from outside (``descend``'s ``rates``).

    Of params named in ``PER_GAUSSIAN``, entries that hardly have a gradient hardly move. Adam moves by its full step
    what only noise reaches: Gaussians that few frames see then wander, and show as specks where a lid closes or lips
    part (docs/method.md).
    """

    def kinds(params: Any) -> dict[str, str]:
        return {name: "calm" if name in PER_GAUSSIAN else "plain" for name in params}

    calm = optax.chain(in_units_of_size(b2), optax.scale_by_adam(b1=0.9, b2=b2, eps=CALM))
    plain = optax.scale_by_adam(b1=0.9, b2=b2)
    each = optax.partition({"calm": calm, "plain": plain}, kinds)
    return optax.chain(optax.clip_by_global_norm(10.0), each, optax.scale(-1.0))


def in_units_of_size(decay: float) -> optax.GradientTransformation:
    """Gradients of each array in units of their root mean square over its entries and past steps."""

    def init(params: Any) -> tuple[Array, Any]:
        return jnp.zeros((), jnp.int32), jax.tree.map(lambda _: jnp.zeros(()), params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, tuple[Array, Any]]:
        del params
        count, squares = state[0] + 1, state[1]
        squares = jax.tree.map(lambda g, s: decay * s + (1 - decay) * (g**2).mean(), updates, squares)
        size = lambda s: jnp.sqrt(s / (1 - decay**count)) + TINY  # noqa: E731
        return jax.tree.map(lambda g, s: g / size(s), updates, squares), (count, squares)

    return optax.GradientTransformation(init, update)


def cosine(step: int, steps: int, *, warmup: float = 0.02, floor: float = 0.05) -> float:
    """The share of a rate that step ``step`` of ``steps`` gets: ``adam``'s schedule, on the host."""
    warm = max(1, round(warmup * steps))
    if step < warm:
        return (step + 1) / (warm + 1)
    done = min(1.0, (step - warm) / max(1, steps - warm))
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
