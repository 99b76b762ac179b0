"""Rows of those who have not learnt to speak (app/yardsticks.py), beside the heads that have.

*Mean frame* and *Nearest pose* show what the heads were trained on, so they stand once; every head has a still anchor
of its own. From views that nobody filmed a copy of a filmed picture says nothing: there the still anchor stands alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from jax_talker.app import talking, yardsticks
from jax_talker.app.judging.head import Camera, Head, video_name
from jax_talker.app.judging.judge import Bar
from jax_talker.app.judging.pictures import Pictures
from jax_talker.app.judging.tables import Row
from jax_talker.data.batches.dataset import FrameStore
from jax_talker.data.clip.clip import Clip

MEAN, NEAREST = "Mean frame", "Nearest pose"


def anchor_name(head: Head) -> str:
    """What the row of a head without motion is called."""
    return f"Still anchor of {head.name}"


def yardstick_rows(
    heads: Sequence[Head], cameras: Callable[[Head], Mapping[str, Camera]], names: Sequence[str], bar: Bar
) -> list[Row]:
    """All that mean something from these cameras, whose clips are those that the heads were trained on."""
    seen = cameras(heads[0])
    rows = []
    if all(camera.masks for camera in seen.values()):
        filmed = {name: camera.truth for name, camera in seen.items()}
        rows = [mean_row(heads[0], seen, filmed, names, bar), nearest_row(heads[0], seen, names, bar)]
    return rows + [anchor_row(head, cameras(head), names, bar) for head in heads]


def mean_row(
    head: Head, cameras: Mapping[str, Camera], filmed: Mapping[str, Clip], names: Sequence[str], bar: Bar
) -> Row:
    """``filmed`` is what a camera saw of the training; cameras that saw nothing of it have no mean frame."""
    _, train = head.trained
    found = {}
    for name in (name for name in cameras if name in filmed):
        mean = yardsticks.mean_frame(FrameStore(filmed[name], limit=0), train, bar)
        picture = np.round(mean * 255).astype(np.uint8)
        shown = _pictures(head, MEAN, name, lambda p=picture: (p for _ in head.test))
        found[name] = _judged(head, shown, name, cameras[name], names, bar)
    return Row(MEAN, found)


def nearest_row(head: Head, cameras: Mapping[str, Camera], names: Sequence[str], bar: Bar) -> Row:
    """Copies of what the head's own camera saw in training."""
    clip, train = head.trained
    found = {}
    for name, camera in cameras.items():
        copied = train[yardsticks.nearest_pose(camera.label, clip.arrays["label"][train])]
        shown = _pictures(head, NEAREST, name, lambda c=copied: (clip.image(int(i)) for i in c))
        found[name] = _judged(head, shown, name, camera, names, bar)
    return Row(NEAREST, found)


def anchor_row(head: Head, cameras: Mapping[str, Camera], names: Sequence[str], bar: Bar) -> Row:
    """The head without motion, held as it was filmed."""
    still = at_rest(head, talking.script_of_clip(head.clip, head.test, "clip"))
    found = {}
    for name, camera in cameras.items():
        script = replace(still, label=camera.label.astype(np.float32))
        shown = _pictures(head, anchor_name(head), name, head.shown(name, script).frames)
        found[name] = _judged(head, shown, name, camera, names, bar)
    return Row(anchor_name(head), found)


def at_rest(head: Head, script: talking.Script) -> talking.Script:
    """The same without motion."""
    return replace(script, coefficients=yardsticks.at_rest(head.speaker, len(script.label)))


def _pictures(head: Head, row: str, name: str, frames: Callable[[], Iterator[np.ndarray]]) -> Pictures:
    title = f"{row}, {name}".rstrip(", ")
    return Pictures(title, frames, len(head.test), head.filmed("", head.clip).sound, video_name(row, name))


def _judged(head: Head, shown: Pictures, name: str, camera: Camera, names: Sequence[str], bar: Bar) -> list:
    masks = camera.truth if camera.masks else None
    return head.judged(shown, head.truth_of(name, camera), names, bar, camera=masks)
