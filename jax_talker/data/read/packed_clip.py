"""A clip folder as a few videos, twenty times as small: how the film of ``make demo`` is shipped.

    clip.json            size, frames, source and the names of the cameras; the first one is the clip's own
    <camera>.mp4         the head on white, H.264 in full chroma
    <camera>.masks.mp4   head, upper and lower face as the three planes of a picture
    arrays.npz           <camera>/<array>; landmarks in 1/32 of a pixel
    sound.flac           16 kHz mono

Pictures are compressed as those of any camera are; where a mask says that there is no head, they are white again.
A clip with more than that (valid, parts) is refused.

    python -m jax_talker.data.read.packed_clip CLIP FOLDER
"""

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import soundfile

from jax_talker.data.clip.clip import FPS, SAMPLE_RATE, Clip, open_clip
from jax_talker.data.clip.clip_writer import ClipWriter
from jax_talker.errors import UserError

FORMAT = 1
PICTURE_CRF, MASK_CRF = 15, 26
STEP = 32  # of landmarks, in a pixel
NONE, ALL = 8, 247  # levels of a mask that coding has made of 0 and 255
Progress = Callable[[Iterable, int], Iterable]


def pack(clip: Clip, folder: str | Path) -> None:
    """Write ``clip`` into a new ``folder``. UserError for a clip that has more than a packed one can hold."""
    if clip.has_parts or any(name.startswith("valid/") for name in clip.files.sums):
        raise UserError(f"{clip.root}: has parts or unknown pixels, which a packed clip does not hold")
    folder = Path(folder)
    folder.mkdir(parents=True)
    cameras = {"front": clip} | {name: clip.view(name) for name in clip.view_names}
    arrays = {}
    for name, camera in cameras.items():
        numbers = range(camera.frames)
        pictures = (av.VideoFrame.from_ndarray(camera.image(i), format="rgb24") for i in numbers)
        planes = (_planes(camera.masks(i)) for i in numbers)
        _encode(folder / f"{name}.mp4", pictures, clip.size, PICTURE_CRF)
        _encode(folder / f"{name}.masks.mp4", planes, clip.size, MASK_CRF)
        arrays |= {f"{name}/{key}": _small(key, values) for key, values in camera.arrays.items()}
    np.savez_compressed(folder / "arrays.npz", allow_pickle=False, **arrays)
    soundfile.write(folder / "sound.flac", clip.audio(), SAMPLE_RATE, subtype="PCM_16")
    told = {"format": FORMAT, "size": clip.size, "frames": clip.frames, "source": clip.source, "cameras": [*cameras]}
    (folder / "clip.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def unpack(
    folder: str | Path,
    root: str | Path,
    *,
    frames: int | None = None,
    size: int | None = None,
    overwrite: bool = False,
    progress: Progress = lambda cameras, total: cameras,
) -> Clip:
    """The clip folder ``root`` of a packed clip: its first ``frames`` (all), ``size`` × ``size`` (as it is)."""
    folder = Path(folder)
    told = json.loads((folder / "clip.json").read_text(encoding="utf-8"))
    filmed: int = told["size"]
    side, count = size or filmed, min(frames or told["frames"], told["frames"])
    if side > filmed:
        raise UserError(f"{folder}: was filmed at {filmed}², not at {side}²")
    cameras: list[str] = told["cameras"]
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        arrays = {name: _of_camera(stored, name, count, side / filmed) for name in cameras}
    sound, _ = soundfile.read(folder / "sound.flac", dtype="float32")
    with ClipWriter(root, size=side, source=told["source"], overwrite=overwrite) as writer:

        def write(name: str) -> None:
            for picture, masks in _shots(folder / name, count):
                writer.add(*_resized(picture, masks, side), view=None if name == cameras[0] else name)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in progress(pool.map(write, cameras), len(cameras)):
                pass
        writer.finish(arrays.pop(cameras[0]), sound[: count * SAMPLE_RATE // FPS], views=arrays)
    return open_clip(root)


def _planes(masks: np.ndarray) -> av.VideoFrame:
    """Masks [H, W, 3] (upper, lower, head) as a picture whose luma is the head."""
    upper, lower, head = masks.transpose(2, 0, 1)
    return av.VideoFrame.from_ndarray(np.stack([head, upper, lower]), format="yuv444p")


def _encode(path: Path, pictures: Iterable[av.VideoFrame], size: int, crf: int) -> None:
    # Not video.write_video: players want chroma at half size, which would blur lips and two of the three masks.
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "veryslow"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv444p"
        for count, picture in enumerate(pictures):
            frame = picture.reformat(format="yuv444p")
            frame.pts, frame.time_base = count, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _small(name: str, values: np.ndarray) -> np.ndarray:
    return np.rint(values * STEP).astype(np.int16) if name == "landmarks" else values


def _of_camera(stored, camera: str, count: int, scale: float) -> dict[str, np.ndarray]:
    found = {key.partition("/")[2]: stored[key][:count] for key in stored.files if key.startswith(f"{camera}/")}
    return found | {"landmarks": (found["landmarks"] / STEP * scale).astype(np.float32)}


def _shots(stem: Path, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures [H, W, 3] and masks [H, W, 3] of a camera's two videos."""
    with av.open(f"{stem}.mp4") as pictures, av.open(f"{stem}.masks.mp4") as masks:
        both = zip(pictures.decode(video=0), masks.decode(video=0), strict=True)
        for picture, planes in itertools.islice(both, count):
            head, upper, lower = planes.to_ndarray()
            head = np.where(head < NONE, 0, np.where(head > ALL, 255, head)).astype(np.uint8)
            faces = [((plane > 127) * 255).astype(np.uint8) for plane in (upper, lower)]
            image = np.where(head[..., None] > 0, picture.to_ndarray(format="rgb24"), 255).astype(np.uint8)
            yield image, np.stack([*faces, head], -1)


def _resized(picture: np.ndarray, masks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    if size == len(picture):
        return picture, masks
    picture, masks = (cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA) for x in (picture, masks))
    return picture, masks


if __name__ == "__main__":
    pack(open_clip(sys.argv[1]), sys.argv[2])
