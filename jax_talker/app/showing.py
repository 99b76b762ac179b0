"""A script's frames as they are shown: on the run's background or another, or back in the video they come from."""

from collections.abc import Iterator

import numpy as np

from jax_talker.app import compositing, pasting, talking
from jax_talker.app.scripting import Opened
from jax_talker.errors import UserError


def frames(opened: Opened, background: str | None, paste_back: str | None) -> Iterator[np.ndarray]:
    """Frames [H, W, 3] uint8, or [H, W, 4] where ``background`` is transparent; ``paste_back`` is the source video.

    Beside the truth, where the script has one and nothing else is behind the head. What cannot be shown is refused
    here, before anything is rendered.
    """
    config, speaker, script, size, clip = opened.config, opened.speaker, opened.script, opened.size, opened.clip
    if paste_back is None and background is None:
        made = talking.frames(config, speaker, script, size)
        beside = clip is not None and script.truth is not None and size == clip.size
        return talking.beside_truth(made, clip, script.truth) if beside else made  # type: ignore[arg-type]
    if paste_back is not None:
        if clip is None:
            raise UserError("--paste-back needs the run's clip; say with --clip where it is")
        place = pasting.find_place(paste_back, clip)
        count = len(script.label)
        indices = script.truth if script.truth is not None else talking.forth_and_back(clip.frames, count)
        return pasting.pasted(_layers(opened), place, indices)
    return compositing.composed(_layers(opened), compositing.composer(background or "white", size))


def _layers(opened: Opened) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    coefficients = talking.moving(opened.config, opened.speaker, opened.script)
    yield from talking.layers(opened.speaker, coefficients, opened.script, opened.size)
