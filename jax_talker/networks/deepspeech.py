"""DeepSpeech 0.1.0 (Mozilla; Hannun et al. 2014, arXiv 1412.5567): MFCC with context → logits of letters at 50 Hz.

Three dense layers, an LSTM in each direction, two dense layers. Weights come from ``python -m converters deepspeech``;
sizes are read off them (the published ones: 494 → 2048 → 2048 → 4096 → LSTM 2 × 2048 → 2048 → 29). Inference only.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jax_talker.errors import UserError
from jax_talker.networks.weights_file import Shapes, WeightsFile, check_shapes, open_weights

FILE, WHAT, CONVERT = "deepspeech.safetensors", "DeepSpeech 0.1.0", "deepspeech"
ORIGIN = "deepspeech-0_1_0-b90017e8.pb (MPL-2.0; release v0.0.1 of github.com/osmr/deepspeech_features)"
CLIP = 20.0  # of the rectified linear units
FORGET_BIAS = 1.0  # TensorFlow adds it to what the forget gate was trained with
DENSE = ("dense1", "dense2", "dense3", "dense5", "dense6")  # as the original counts; the LSTM is its fourth layer
DIRECTIONS = ("forward", "backward")

State = tuple[Array, Array]
"""An LSTM's cell and hidden state, [width] each."""


class Sizes(NamedTuple):
    """Channels in front of each layer and behind the last."""

    inputs: int = 494  # 19 frames of 26 coefficients
    first: int = 2048
    second: int = 2048
    third: int = 4096
    cell: int = 2048  # of the LSTM, in each direction
    fifth: int = 2048
    letters: int = 29


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Every array of the converted weights by its path; LSTM kernels stand as TensorFlow's, gates i, j, f, o."""
    s = sizes
    dense = ((s.inputs, s.first), (s.first, s.second), (s.second, s.third), (2 * s.cell, s.fifth), (s.fifth, s.letters))
    lstm = (s.third + s.cell, 4 * s.cell)
    found = {f"{name}/kernel": shape for name, shape in zip(DENSE, dense, strict=True)}
    found |= {f"{name}/kernel": lstm for name in DIRECTIONS}
    return found | {f"{name.removesuffix('kernel')}bias": shape[1:] for name, shape in found.items()}


def sizes_of(found: Shapes) -> Sizes | None:
    """The sizes that arrays under ``shapes()``' names speak of; None where they are no such network's."""
    kernels = [found.get(f"{name}/kernel", ()) for name in (*DENSE, DIRECTIONS[0])]
    if any(len(shape) != 2 for shape in kernels):
        return None
    one, two, three, five, six, lstm = kernels
    return Sizes(one[0], one[1], two[1], three[1], lstm[1] // 4, five[1], six[1])


def open_deepspeech(given: str | Path) -> tuple[Sizes, WeightsFile]:
    """The sizes of converted weights (a folder or a file), and the weights."""
    file = open_weights(given, FILE, what=WHAT, convert=CONVERT, origin=ORIGIN)
    sizes = sizes_of(file.shapes)
    if sizes is None:
        raise UserError(f"{file.path}: holds no {WHAT}; python -m converters {CONVERT} FILE OUT makes such a file")
    check_shapes(file, shapes(sizes), what=WHAT, convert=CONVERT)
    return sizes, file


def logits(weights: dict[str, Any], inputs: Float[Array, "T I"], there: Bool[Array, " T"]) -> Float[Array, "T L"]:
    """Letters' logits; steps that are not ``there`` stand at the end and fill up a shape that was compiled before."""
    return logits_onward(weights, inputs, there, silent(weights), len(inputs))[1]


def silent(weights: dict[str, Any]) -> State:
    """The forward LSTM before anything was heard."""
    zeros = jnp.zeros(weights["forward"]["bias"].shape[0] // 4)
    return zeros, zeros


def logits_onward(
    weights: dict[str, Any], inputs: Float[Array, "T I"], there: Bool[Array, " T"], before: State, kept: int
) -> tuple[State, Float[Array, "kept L"]]:
    """Logits of the first ``kept`` steps of a part of a sound, and the forward LSTM's state behind them.

    ``before`` is that state in front of the part; the steps that are not kept are what the backward LSTM hears ahead.
    """
    with jax.default_matmul_precision("highest"):
        x = inputs
        for name in DENSE[:3]:
            x = _clipped(_dense(weights[name], x))
        after, forward = _lstm(weights["forward"], x[:kept], there[:kept], before)
        _, backward = _lstm(weights["backward"], x, there, silent(weights), reverse=True)
        x = _clipped(_dense(weights["dense5"], jnp.concatenate([forward, backward[:kept]], -1)))
        return after, _dense(weights["dense6"], x)


def _dense(layer: dict[str, Array], x: Float[Array, "T I"]) -> Float[Array, "T O"]:
    return x @ layer["kernel"] + layer["bias"][None]


def _clipped(x: Array) -> Array:
    return jnp.clip(x, 0, CLIP)


def _lstm(
    layer: dict[str, Array], x: Float[Array, "T I"], there: Bool[Array, " T"], before: State, *, reverse: bool = False
) -> tuple[State, Array]:
    """TensorFlow's BasicLSTMCell along time; backwards it begins with the last step that is there."""
    kernel_x, kernel_h = jnp.split(layer["kernel"], [x.shape[1]])
    given = x @ kernel_x + layer["bias"][None]

    def step(state: State, now: tuple[Array, Array]) -> tuple[State, Array]:
        cell, hidden = state
        own, real = now
        i, j, f, o = jnp.split(own + hidden @ kernel_h, 4)
        new_cell = cell * jax.nn.sigmoid(f + FORGET_BIAS) + jax.nn.sigmoid(i) * jnp.tanh(j)
        new_hidden = jnp.tanh(new_cell) * jax.nn.sigmoid(o)
        state = (jnp.where(real, new_cell, cell), jnp.where(real, new_hidden, hidden))
        return state, state[1]

    return jax.lax.scan(step, before, (given, there), reverse=reverse)
