"""SyncNet (Chung and Zisserman 2016, "Out of time"), version 2: how far a mouth and a sound are apart.

Inference only; batch norms are folded when the weights are converted (``python -m converters syncnet``). What it hears
is made by ``audio/mfcc.py``, what it sees by ``metrics/sync.py``.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_talker.networks import weights_file

FILE = "syncnet_v2.safetensors"
ORIGIN = (
    "get syncnet_v2.model from www.robots.ox.ac.uk/~vgg/software/lipsync (github.com/joonson/syncnet_python, "
    "download_model.sh), then python -m converters syncnet syncnet_v2.model"
)
SIZE = 224  # px
FRAMES = 5  # video frames that one embedding sees
STEPS = 20  # of 10 ms that one embedding hears, 4 a video frame
PER_FRAME = STEPS // FRAMES
CEPSTRA = 13
FEATURES = 1024
# (name, features, (frames, rows, columns), stride, pad, pool behind it: (window, stride, pad)) of what sees lips
LIPS = (
    ("lip0", 96, (FRAMES, 7, 7), 2, 0, (3, 2, 0)),
    ("lip1", 256, (1, 5, 5), 2, 1, (3, 2, 1)),
    ("lip2", 256, (1, 3, 3), 1, 1, None),
    ("lip3", 256, (1, 3, 3), 1, 1, None),
    ("lip4", 256, (1, 3, 3), 1, 1, (3, 2, 0)),
    ("lip5", 512, (1, 6, 6), 1, 0, None),
)
# (name, features, (cepstra, steps), pad, stride of the 3 × 3 pool behind it) of what hears
SOUND = (
    ("sound0", 64, (3, 3), 1, None),
    ("sound1", 192, (3, 3), 1, (1, 2)),
    ("sound2", 384, (3, 3), 1, None),
    ("sound3", 256, (3, 3), 1, None),
    ("sound4", 256, (3, 3), 1, (2, 2)),
    ("sound5", 512, (5, 4), 0, None),
)


class Lips(nn.Module):
    """Five frames in BGR, 0 … 255, not standardised → an embedding."""

    @nn.compact
    def __call__(self, x: Float[Array, "B 5 224 224 3"]) -> Float[Array, "B 1024"]:
        for name, features, size, stride, pad, pool in LIPS:
            borders = ((0, 0), (pad, pad), (pad, pad))
            x = nn.relu(nn.Conv(features, size, (1, stride, stride), borders, name=name)(x))
            if pool is not None:
                window, step, edge = pool
                around: Any = ((0, 0), (edge, edge), (edge, edge))  # flax annotates names alone
                x = nn.max_pool(x, (1, window, window), (1, step, step), around)
        x = nn.relu(nn.Dense(512, name="lip_hidden")(x.reshape(len(x), -1)))
        return nn.Dense(FEATURES, name="lip_embed")(x)


class Sound(nn.Module):
    """0.2 s of cepstra → an embedding."""

    @nn.compact
    def __call__(self, x: Float[Array, "B 13 20 1"]) -> Float[Array, "B 1024"]:
        for name, features, size, pad, pool in SOUND:
            x = nn.relu(nn.Conv(features, size, 1, ((pad, pad), (pad, pad)), name=name)(x))
            if pool is not None:
                x = nn.max_pool(x, (3, 3), pool)
        x = nn.relu(nn.Dense(512, name="sound_hidden")(x.reshape(len(x), -1)))
        return nn.Dense(FEATURES, name="sound_embed")(x)


def shapes() -> dict[str, tuple[int, ...]]:
    """Every array of the converted weights by its path."""
    lips = weights_file.shapes_of(Lips(), (1, FRAMES, SIZE, SIZE, 3))
    return lips | weights_file.shapes_of(Sound(), (1, CEPSTRA, STEPS, 1))


def part(params: dict, name: str) -> dict:
    """The parameters of ``Lips`` or ``Sound`` out of both."""
    return {key: value for key, value in params.items() if key.startswith(name)}


# ---------------------------------------------------------------------------------------------------------------------
# What it hears

RATE = 16_000  # Hz


def heard(cepstra: Float[np.ndarray, "steps 13"], first: int, count: int) -> Float[np.ndarray, "count 13 20 1"]:
    """What ``count`` embeddings hear, of the video frames from ``first`` on."""
    at = PER_FRAME * (first + np.arange(count))[:, None] + np.arange(STEPS)
    return cepstra[at].swapaxes(1, 2)[..., None].astype(np.float32)


def windows(total: int, samples: int) -> int:
    """Embeddings of ``total`` video frames with ``samples`` of sound: the original leaves the last possible one out."""
    return max(0, min(total, samples // (RATE // 25)) - FRAMES)


def embed_lips(params: dict, frames: Float[Array, "B 5 224 224 3"]) -> Float[Array, "B 1024"]:
    """See ``Lips``."""
    out = Lips().apply({"params": part(params, "lip")}, frames)
    assert isinstance(out, jax.Array)
    return out


def embed_sound(params: dict, cepstra: Float[Array, "B 13 20 1"]) -> Float[Array, "B 1024"]:
    """See ``Sound``."""
    out = Sound().apply({"params": part(params, "sound")}, jnp.asarray(cepstra))
    assert isinstance(out, jax.Array)
    return out
