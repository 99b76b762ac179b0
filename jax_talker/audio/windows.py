"""What each video frame hears of the feature steps: the windows of AD-NeRF (arXiv 2103.11078)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from jax_talker.data.clip.clip import FPS
from jax_talker.data.read.boundaries import recordings

WINDOW = 16  # feature steps that one video frame hears, at 50 Hz: 0.32 s


def frame_windows(
    features: Float32[np.ndarray, "steps F"], num_frames: int, boundaries: Sequence[int] = (), *, rate: int = 50
) -> Float32[np.ndarray, "num_frames S F"]:
    """What each 25 fps frame hears: at 50 Hz the 16 steps 2i − 8 … 2i + 7 for frame i, zero rows outside the sound.

    Row 8 of window i is the step at exactly the frame's own time, i/25 s; rows 0–7 are the 160 ms before it. Rows of
    another recording are zero as well: ``boundaries`` are the frames with which one begins. ``rate`` is that of the
    steps, a multiple of 25 Hz; other rates than 50 Hz hear the same 0.32 s. Windows of one recording are a view, which
    costs no memory of its own.
    """
    if rate % FPS:
        raise ValueError(f"feature steps at {rate} Hz do not fall on frames of {FPS} Hz")
    stride = rate // FPS
    size = WINDOW * stride // 2
    half = size // 2
    if boundaries:
        parts = recordings(num_frames, boundaries)
        own = [features[stride * r.start : stride * r.stop] for r in parts[:-1]]
        own.append(features[stride * parts[-1].start :])
        windows = [frame_windows(f, r.stop - r.start, rate=rate) for f, r in zip(own, parts, strict=True)]
        return np.concatenate(windows)
    missing = max(0, stride * num_frames + half - len(features))
    padded = np.pad(features, ((half, missing), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=0)  # [steps, F, S]
    return windows[: stride * num_frames : stride].swapaxes(1, 2)
