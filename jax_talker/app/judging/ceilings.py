"""Rows between the truth and the heads: what could be reached at best.

The truth through the encoder that ``render`` uses bounds any delivered video; a head's pictures with coefficients
fitted to the held-out frames themselves (driven.py) bound what better hearing could bring to that head.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from jax_talker.app.judging import regions
from jax_talker.app.judging.catalogue import meters
from jax_talker.app.judging.driven import STEPS, Driven, drive
from jax_talker.app.judging.head import Camera, Head, video_name
from jax_talker.app.judging.judge import Bar
from jax_talker.app.judging.pictures import Pictures, of_video
from jax_talker.app.judging.score import Missing, Result, Score
from jax_talker.app.judging.tables import Row
from jax_talker.data.clip.clip import Clip
from jax_talker.data.read.video import write_video

ENCODED = "Truth, H.264 (crf 18)"  # what the delivered video's encoder alone costs
# Metrics of single frames, which a few frames out of many have as well.
OF_FRAMES = ("psnr", "ssim", "ssim_skimage", "lpips_alex", "lpips_vgg", "lmd", "expression", "identity_dlib")
OF_FRAMES += ("idsim", "idsim_irse50", "idsim_iresnet50", "idsim_iresnet100")


def encoded_row(head: Head, cameras: Mapping[str, tuple[Pictures, Clip | None]], names: Sequence[str], bar: Bar) -> Row:
    """The truth of each camera (its pictures, and its clip where masks count) through the encoder.

    No AUE: OpenFace sees the truth itself through an encoder only.
    """
    names = [name for name in names if name != "aue"]
    found = {}
    for camera, (truth, masks) in cameras.items():
        with tempfile.TemporaryDirectory() as folder:
            encoded = _encoded(truth, Path(folder) / "truth.mp4", head.clip.size)
            found[camera] = head.judged(encoded, truth, names, bar, camera=masks)
    return Row(ENCODED, found)


def _encoded(pictures: Pictures, path: Path, size: int) -> Pictures:
    """The same through the encoder of ``render``, which pads odd sizes."""
    write_video(path, pictures.frames())
    video = of_video(path)

    def frames() -> Iterator[np.ndarray]:
        return (frame[:size, :size] for frame in islice(video.frames(), pictures.expected))

    return Pictures(ENCODED, frames, pictures.expected, pictures.sound)


def driven_rows(
    heads: Sequence[Head], cameras: Callable[[Head], Mapping[str, Camera]], names: Sequence[str], bar: Bar
) -> list[Row]:
    """One row for each head whose ceiling is asked for. Of every second frame or fewer, only metrics of single frames
    are told; single frames' numbers stand where the tail has them."""
    rows = []
    for head in heads:
        if not head.ceiling:
            continue
        places = np.arange(0, len(head.test), head.ceiling)
        asked = [name for name in names if head.ceiling == 1 or name in OF_FRAMES]
        truth = head.filmed("truth", head.clip)
        setting = head.setting(truth, truth)
        if all(isinstance(meter, Missing) for meter in meters(asked, setting, setting.landmarker())):
            continue  # minutes of fitting for no number
        driven = drive(head.config, head.speaker, head.clip, head.test[places], bar)
        found = {}
        for name, camera in cameras(head).items():
            shown = _shown(head, driven, camera.label[places], video_name(driven_name(head), name))
            truth = head.truth_of(name, camera, driven.indices)
            masks = camera.truth if camera.masks else None
            results = head.judged(shown, truth, asked, bar, camera=masks, indices=driven.indices)
            found[name] = [_spread(result, places, len(head.test)) for result in results]
        rows.append(Row(driven_name(head), found))
    return rows


def driven_name(head: Head) -> str:
    """What the row is called: whose ceiling, of which frames, after how many steps."""
    frames = "" if head.ceiling == 1 else f" {_ordinal(head.ceiling)}"
    return f"{head.name}, fitted to every{frames} test frame ({STEPS} steps)"


def same_frames(heads: Sequence[Head], rows: Sequence[Row]) -> list[str]:
    """What the heads themselves get on the frames that their ceilings were fitted to, for a fair comparison."""
    lines = []
    by_name = {row.name: row for row in rows}
    for head in heads:
        ceiling, own = by_name.get(driven_name(head)), by_name.get(head.name)
        if head.ceiling < 2 or ceiling is None or own is None:
            continue
        for group, results in own.results.items():
            told = [r for r in results if isinstance(r, Score) and r.name in ("psnr", "psnr_lower", "lpips_alex")]
            pairs = [(r, r.per_frame[:: head.ceiling]) for r in told if r.per_frame is not None]
            numbers = ", ".join(f"{r.title} {np.nanmean(values):.{r.digits}f}" for r, values in pairs)
            where = f", {group}" if group else ""
            if numbers and any(r.name in (*OF_FRAMES, *regions.TITLES) for r in ceiling.results.get(group, ())):
                lines.append(f"{head.name}{where} on the frames of its ceiling: {numbers}")
    return lines


def _shown(head: Head, driven: Driven, label: np.ndarray, video: str) -> Pictures:
    held = head.clip.arrays["label"][driven.indices].astype(np.float32)
    frames = lambda: driven.frames(head.speaker, held, label.astype(np.float32), head.clip.size)  # noqa: E731
    sound = head.filmed("", head.clip).sound
    return Pictures(f"{head.name}, fitted", frames, len(driven.indices), sound, video)


def _spread(result: Result, places: np.ndarray, count: int) -> Result:
    """Numbers of single frames at their places in the tail; NaN between them."""
    if not isinstance(result, Score) or result.per_frame is None:
        return result
    whole = np.full(count, np.nan)
    whole[places] = result.per_frame
    return replace(result, per_frame=whole)


def _ordinal(number: int) -> str:
    last = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{last}"
