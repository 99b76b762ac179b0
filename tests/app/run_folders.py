"""Runs begun with a made-up clip and prior, shared by the tests of a run's folder."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from motions import no_motion

from jax_talker.app.person import Person
from jax_talker.app.run_inputs import Input
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.clip.clip_writer import ClipWriter
from jax_talker.models.deformation import Poses
from jax_talker.models.detail import as_they_are, nothing
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.state import adam, create

CONFIG = {"task": "talker", "seed": 1, "data": {"clip": "a"}, "prior": {"path": "small"}}
CLIP, PRIOR = Input("clip", "a", "a" * 64, 32), Input("prior", "small", "b" * 64)
FIRST = ["invert", "tune"]
ALL = [*FIRST, "navigate"]


def begin(folder, stages=ALL, *, config=CONFIG, inputs=(CLIP, PRIOR), saves=(), then=None, resume=False, **how):
    """Begin, leave a checkpoint of the stages ``saves``, and end, with an error ``then``. Returns the warnings."""
    with folder.alone(), folder.begun(config, inputs, stages, resume=resume, **how) as warnings:
        for stage in saves:
            save(folder, stage)
        if then is not None:
            raise then
    return warnings


def save(folder, stage, step=2):
    optimiser = adam(1e-3, 4)
    state = replace(create({"x": jnp.zeros(1)}, optimiser, 0), step=jnp.asarray(step))
    with Checkpoints(folder.checkpoints(stage)) as checkpoints:
        checkpoints.save(state, {})


def personalise(folder):
    folder.personal.mkdir()
    (folder.personal / "config.json").write_text("{}")
    params = {"anchor": jnp.zeros((1, 2)), "camera": jnp.zeros(6), "detail": nothing(3)}
    Person(params, as_they_are(3), Poses(jnp.zeros(25), jnp.ones(3)), no_motion(), 0.5).save(folder.personal)


def everything(folder):
    """Content of all files but the lock."""
    return {p.relative_to(folder.root): p.read_bytes() for p in folder.root.rglob("*") if p.is_file() and p.suffix}


def make_clip(root, frames=4, shade=100, masked=(0, 1, 2)):
    """A clip folder of flat pictures whose masks are drawn in the given channels."""
    masks = np.zeros((16, 16, 3), np.uint8)
    masks[4:12, 4:12, list(masked)] = 255
    arrays = {"label": np.zeros((frames, 25)), "blink": np.zeros(frames), "landmarks": np.zeros((frames, 5, 2))}
    with ClipWriter(root, size=16, source={}) as writer:
        for _ in range(frames):
            writer.add(np.full((16, 16, 3), shade, np.uint8), masks)
        writer.finish(arrays, np.zeros(frames * 640))
    return open_clip(root)
