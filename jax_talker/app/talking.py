"""Sound in, video out: a trained head speaks any sound, seen from any camera."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from jax_talker import geometry
from jax_talker.app import builders
from jax_talker.app.camera_files import read_path
from jax_talker.app.speaking import Speaker, smoothed
from jax_talker.audio.hearing import hear
from jax_talker.blinking import blinks
from jax_talker.data.batches.dataset import neighbourhoods
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE, Clip
from jax_talker.data.read.audio import num_video_frames
from jax_talker.data.read.boundaries import boundaries_within
from jax_talker.errors import UserError
from jax_talker.models.navigator import Coefficients
from jax_talker.types import RenderOutput

ANGLES = re.compile(r"yaw=(?P<yaw>-?\d+(\.\d+)?)(,pitch=(?P<pitch>-?\d+(\.\d+)?))?$|pitch=(?P<only>-?\d+(\.\d+)?)$")


@dataclass(frozen=True)
class Script:
    """What a video shows, frame by frame."""

    sound: np.ndarray  # [samples] 16 kHz
    label: np.ndarray  # [T, 25] of the camera that looks
    held: np.ndarray  # [T, 25] under which the head is held: the filming camera's, or the person's usual one
    blink: np.ndarray  # [T]
    boundaries: Sequence[int] = ()  # frames with which another recording begins, where it is a piece of a joined clip
    truth: np.ndarray | None = None  # frame numbers [T] of the clip to show beside, where there is one
    coefficients: Coefficients | None = None  # [T, ·], where the face's motion is known and not heard


def camera_path(spec: str, frames: int, clip: Clip | None = None) -> np.ndarray:
    """EG3D labels [frames, 25] of ``front``, ``yaw=30,pitch=20``, ``spiral``, ``clip`` (the clip's own head motion), or
    the path in a .json file (camera_files.py).

    The clip's cameras, and a file's, go forth and back when the sound is longer.
    """
    if spec == "front":
        spec = "yaw=0"
    if spec == "spiral":
        return geometry.make_label(geometry.spiral(frames))
    if spec == "clip":
        if clip is None:
            raise UserError("--camera clip needs the clip of the run, which was not found")
        return clip.arrays["label"][forth_and_back(clip.frames, frames)]
    if spec.lower().endswith(".json"):
        path = read_path(spec)
        return path[forth_and_back(len(path), frames)]
    match = ANGLES.match(spec)
    if match is None:
        raise UserError(
            f"--camera {spec!r}: use front, spiral, clip, a .json file, or angles in degrees such as yaw=30,pitch=20"
        )
    yaw, pitch = float(match["yaw"] or 0), float(match["pitch"] or match["only"] or 0)
    return np.tile(geometry.make_label(geometry.orbit(yaw, pitch)), (frames, 1))


def forth_and_back(there: int, frames: int) -> np.ndarray:
    """Numbers [frames] of ``there`` pictures that are shown forth and back as long as it takes."""
    forth = np.arange(there)
    loop = np.concatenate([forth, forth[-2:0:-1]]) if there > 2 else forth
    return np.resize(loop, frames)


def script_for(
    sound: np.ndarray, camera: str, *, held: Float32[np.ndarray, "25"], clip: Clip | None, seed: int
) -> Script:
    """Speech of anyone: a camera path and natural blinks, which do not depend on the sound.

    The head is held as under the label ``held`` (Speaker.usual), with ``camera='clip'`` as in the clip.
    """
    frames = num_video_frames(len(sound))
    label = camera_path(camera, frames, clip).astype(np.float32)
    return Script(
        sound=sound,
        label=label,
        held=label if camera == "clip" else np.resize(held, label.shape),
        blink=blinks(frames, np.random.default_rng(seed)).astype(np.float32),
    )


def script_of_clip(clip: Clip, indices: np.ndarray, camera: str) -> Script:
    """Frames of the clip itself (contiguous): its sound and blinks; its own cameras and truth for ``camera='clip'``."""
    first, last = (round(i * SAMPLE_RATE / FPS) for i in (indices[0], indices[-1] + 1))
    own = camera == "clip"
    return Script(
        sound=clip.audio()[first:last],
        held=clip.arrays["label"][indices].astype(np.float32),
        label=clip.arrays["label"][indices] if own else camera_path(camera, len(indices), clip).astype(np.float32),
        blink=clip.arrays["blink"][indices].astype(np.float32),
        boundaries=boundaries_within(clip.boundaries, int(indices[0]), len(indices)),
        truth=indices if own else None,
    )


def frames(config: Any, speaker: Speaker, script: Script, size: int) -> Iterator[np.ndarray]:
    """The video's frames [size, size, 3] uint8, in order; exactly one for each 1/25 s of sound."""
    for shown, own in rendered(speaker, moving(config, speaker, script), script, size):
        yield from np.asarray(jnp.round(jnp.clip(shown.image, 0, 1) * 255).astype(jnp.uint8))[:own]


def moving(config: Any, speaker: Speaker, script: Script) -> Coefficients:
    """Coefficients [T, ·] of all the script's frames: those that it has, or what is heard in its sound."""
    if script.coefficients is not None:
        return script.coefficients
    windows = hear(
        builders.extractor(config), builders.level(config), script.sound, len(script.label), script.boundaries
    )
    return spoken(config, speaker, windows, script.blink, tuple(script.boundaries))


def rendered(
    speaker: Speaker, coefficients: Coefficients, script: Script, size: int
) -> Iterator[tuple[RenderOutput, int]]:
    """What is seen of the script's frames, in batches of one size; the number says how many of a batch count."""
    for indices, own in batches_of(np.arange(len(script.label)), speaker.batch):
        part = jax.tree.map(lambda x, i=indices: jnp.asarray(x[i]), coefficients)
        held, label = jnp.asarray(script.held[indices]), jnp.asarray(script.label[indices])
        yield speaker.shown(part, held, label, size), own


def layers(
    speaker: Speaker, coefficients: Coefficients, script: Script, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The head alone, frame by frame, to be put before anything: (its colour times alpha [size, size, 3], alpha [size,
    size]), both in [0, 1]."""
    behind = np.asarray(speaker.head.prior.background, np.float32)
    for shown, own in rendered(speaker, coefficients, script, size):
        images, alphas = np.asarray(shown.image), np.clip(np.asarray(shown.alpha), 0, 1)
        for image, alpha in zip(images[:own], alphas[:own], strict=True):
            yield np.clip(image - (1 - alpha[..., None]) * behind, 0, alpha[..., None]), alpha


def spoken(
    config: Any, speaker: Speaker, windows: np.ndarray, blink: np.ndarray, boundaries: tuple[int, ...] = ()
) -> Coefficients:
    """Coefficients [T, ·] of successive frames that hear ``windows`` [T, S, F], smoothed as the configuration says."""
    audio_of = neighbourhoods(windows, speaker.reach, boundaries)
    found = []
    for indices, own in batches_of(np.arange(len(blink)), speaker.batch):
        heard = speaker.heard(jnp.asarray(audio_of(indices)), jnp.asarray(blink[indices], jnp.float32))
        found.append(jax.tree.map(lambda x, n=own: np.asarray(x[:n]), heard))
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
    return smoothed(joined, config.render.smoothing, boundaries)


def batches_of(indices: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """All ``indices`` in order in batches of one size, so that one compiled program serves all; the last is filled up
    with its last one, the number says how many count."""
    for start in range(0, len(indices), size):
        part = indices[start : start + size]
        yield np.concatenate([part, np.repeat(part[-1:], size - len(part))]), len(part)


def beside_truth(made: Iterator[np.ndarray], clip: Clip, truth: np.ndarray) -> Iterator[np.ndarray]:
    """Truth on the left, the model on the right."""
    for index, frame in zip(truth, made, strict=True):
        yield np.concatenate([clip.image(int(index)), frame], 1)
