"""The head back in the video that it was learnt from: a person in their room, who says something else.

Under the camera of each source frame the head is held as it was filmed, so the crop's transform, inverted, puts it in
its place. It ends softly at the neck, where the filmed body goes on; its colours are matched to the filmed face, frame
by frame; and where the filmed head was larger than the new one (a chin that was lower, hair that blew), the wall behind
is put, as other frames show it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from jax_talker.app.compositing import as_bytes
from jax_talker.data.camera.crop import Crop
from jax_talker.data.clip.clip import FPS, Clip
from jax_talker.data.read.video import probe, read_frames
from jax_talker.errors import UserError

BLOCK = 24  # source pictures that are held at once; a video is played backwards block by block
WALL_FRAMES = 24  # from which the wall behind the head is learnt
NECK = (0.0, 0.12)  # of the crop's side below the chin: where the head begins and ends to fade
RIM = 0.03  # of the crop's side, over which the head fades at the crop's own edge
GROWN = 0.02  # of the crop's side, by which the filmed head is taken for larger than its matte
REACH = 0.06  # of the crop's side, by which a head may be larger than the filmed one: its chin drops, its hair is soft
GAIN = (0.8, 1.25)  # of a colour channel
SETTLE = 0.2  # share by which gains follow a frame's own; light changes slowly, lips do not


@dataclass(frozen=True)
class Place:
    """Where the clip's frames lie in the source video."""

    video: Path
    start: float  # s of the source at the clip's first frame
    crops: list[Crop]
    clip: Clip


def find_place(video: str | Path, clip: Clip) -> Place:
    """UserError where ``video`` is not the one that the clip was cut from, or the clip does not say from where."""
    info, known = probe(video), clip.source
    if "crop" not in clip.arrays or "start" not in known:
        raise UserError(f"{clip.root}: does not say where in a video its frames lie; prepare it from a video")
    if list(info.size) != list(known.get("size", info.size)):  # type: ignore[arg-type]
        raise UserError(f"{video}: is {info.size[0]}×{info.size[1]}, the video of {clip.root} was another size")
    crops = [Crop(crop[:2].astype(np.float64), float(crop[2])) for crop in clip.arrays["crop"]]
    start = float(known["start"])  # type: ignore[arg-type]
    if info.duration and start + clip.frames / FPS > info.duration + 2 / FPS:
        raise UserError(f"{video}: ends before the frames of {clip.root} do; it is another video")
    return Place(Path(video), start, crops, clip)


def pasted(
    layers: Iterable[tuple[np.ndarray, np.ndarray]], place: Place, indices: np.ndarray
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Full pictures with the heads of ``layers`` (talking.layers) in them, each held as in its frame of ``indices``."""
    wall = _Wall(place)
    gain = None
    for (colour, alpha), index, picture in zip(layers, indices.tolist(), _pictures(place, indices), strict=True):
        size = len(alpha)
        filmed, masks = (_sized(x, size) for x in (place.clip.image(index), place.clip.masks(index)))
        own = matching_gain(colour, alpha, filmed, masks[..., 0])
        gain = own if gain is None else (1 - SETTLE) * gain + SETTLE * own
        fade = fading(masks[..., 1], masks[..., 2], size)
        yield _joined(colour * gain, alpha, masks[..., 2], fade, picture, place.crops[index], wall)


def matching_gain(
    colour: Float[np.ndarray, "S S 3"],
    alpha: Float[np.ndarray, "S S"],
    filmed: Float[np.ndarray, "S S 3"],
    face: Float[np.ndarray, "S S"],
) -> Float[np.ndarray, "3"]:
    """By what the head's channels are multiplied so that its upper face is as bright and as warm as the filmed one."""
    weight = (face * (alpha > 0.9))[..., None]
    if weight.sum() < 1:
        return np.ones(3)
    return np.clip((weight * filmed).sum((0, 1)) / np.maximum((weight * colour).sum((0, 1)), 1e-6), *GAIN)


def fading(
    lower_face: Float[np.ndarray, "S S"], filmed_head: Float[np.ndarray, "S S"], size: int
) -> Float32[np.ndarray, "S S"]:
    """How much of the head is shown: all of it above the chin, as far as a head can be there; of the neck what the
    filmed matte has, for below it a head on white is white; nothing at the crop's lower edge."""
    rows = np.flatnonzero((lower_face > 0.5).any(1))
    chin = rows[-1] if len(rows) else 0.75 * size
    place = np.arange(size)
    below = _smooth((place - chin - NECK[0] * size) / ((NECK[1] - NECK[0]) * size))
    edge = np.minimum(place + 0.5, size - place - 0.5) / (RIM * size)
    rim = np.minimum(_smooth(edge)[:, None], _smooth(edge)[None])
    near = _grown(filmed_head, REACH * size)
    neck = _smooth((place - chin + 0.02 * size) / (0.04 * size))[:, None]
    return ((1 - below)[:, None] * rim * ((1 - neck) * near + neck * filmed_head)).astype(np.float32)


def _grown(mask: Float[np.ndarray, "S S"], radius: float) -> Float32[np.ndarray, "S S"]:
    """The mask, larger by so many pixels, with a soft edge."""
    reach = max(1, round(radius))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    return cv2.GaussianBlur(cv2.dilate(mask.astype(np.float32), disc), (0, 0), reach / 3)


def _smooth(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and a soft step between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _joined(
    colour: np.ndarray,
    alpha: np.ndarray,
    filmed_head: np.ndarray,
    fade: np.ndarray,
    picture: UInt8[np.ndarray, "H W 3"],
    crop: Crop,
    wall: "_Wall",
) -> UInt8[np.ndarray, "H W 3"]:
    size = len(alpha)
    larger = _grown(filmed_head, GROWN * size)
    both = np.dstack([colour * fade[..., None], alpha * fade, np.clip(larger, 0, 1) * fade]).astype(np.float32)
    rows, columns, layer = _placed(both, crop, picture.shape)
    head, cover, old = layer[..., :3], layer[..., 3:4], layer[..., 4:5]
    under = picture[rows, columns].astype(np.float32) / 255
    bare = np.clip(old - cover, 0, 1)  # of what was filmed of the old head and the new one leaves free
    under = under * (1 - bare) + wall.picture[rows, columns] * bare
    out = picture.copy()
    out[rows, columns] = as_bytes(np.clip(head, 0, 1) + (1 - np.clip(cover, 0, 1)) * under)
    return out


def _placed(
    layer: Float32[np.ndarray, "S S C"], crop: Crop, shape: tuple[int, ...]
) -> tuple[slice, slice, Float32[np.ndarray, "h w C"]]:
    """The crop's pixels where they lie in the source: the inverse of Crop.cut, within the picture."""
    step = crop.side / len(layer)  # px of the source
    corner = crop.centre - crop.side / 2
    left, top = np.maximum(np.floor(corner), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corner + crop.side), shape[1::-1]).astype(int)
    if right <= left or bottom <= top:
        return slice(0, 0), slice(0, 0), np.zeros((0, 0, layer.shape[2]), np.float32)
    fine = max(1, round(1 / step))  # of a crop that is larger than its place, means over areas
    if fine > 1:
        layer = cv2.GaussianBlur(layer, (0, 0), 0.5 / step)
    # Pixel j of the source has its centre at left + j + 0.5; in the crop that is index (… − corner)/step − 0.5.
    shift = (np.array([left, top]) + 0.5 - corner) / step - 0.5
    matrix = np.array([[1 / step, 0, shift[0]], [0, 1 / step, shift[1]]])
    kind = cv2.INTER_LINEAR if step < 1 else cv2.INTER_CUBIC
    shape = (int(right - left), int(bottom - top))
    flags = kind | cv2.WARP_INVERSE_MAP
    shown = [
        cv2.warpAffine(np.ascontiguousarray(layer[..., c]), matrix, shape, flags=flags) for c in range(layer.shape[2])
    ]
    return slice(top, bottom), slice(left, right), np.dstack(shown)


class _Wall:
    """What is behind the head, as far as some frame shows it; what none shows is filled in from around."""

    def __init__(self, place: Place):
        chosen = np.unique(np.linspace(0, place.clip.frames - 1, WALL_FRAMES).astype(int))
        total, weight = np.zeros(1), np.zeros(1)
        for index, picture in zip(chosen.tolist(), _pictures(place, chosen), strict=True):
            mask = place.clip.masks(index)[..., 2].astype(np.float32) / 255
            grown = max(1, round(2 * GROWN * len(mask)))
            mask = cv2.dilate(mask, np.ones((2 * grown + 1,) * 2))
            free = np.ones(picture.shape[:2], np.float32)
            rows, columns, placed = _placed(mask[..., None], place.crops[index], picture.shape)
            free[rows, columns] = placed[..., 0] < 0.02
            total, weight = total + free[..., None] * picture, weight + free
        unseen = (weight == 0).astype(np.uint8)
        mean = np.round(total / np.maximum(weight, 1)[..., None]).astype(np.uint8)
        small = min(1.0, 480 / max(mean.shape[:2]))  # filling in takes long, and nothing sharp comes of it
        thumb, hole = (cv2.resize(x, None, fx=small, fy=small, interpolation=cv2.INTER_NEAREST) for x in (mean, unseen))
        filled = cv2.inpaint(thumb, hole, 5, cv2.INPAINT_TELEA)
        filled = cv2.resize(filled, mean.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        self.picture: Float32[np.ndarray, "H W 3"] = (
            np.where(unseen[..., None] > 0, filled, mean).astype(np.float32) / 255
        )


def _pictures(place: Place, indices: np.ndarray) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The source's pictures of the clip's frames, in any order that goes forth or back; a few are held at once."""
    held: dict[int, np.ndarray] = {}
    for index in indices.tolist():
        if index not in held:
            begin = index // BLOCK * BLOCK
            stream = read_frames(place.video, start=place.start, first=begin)
            held = {begin + n: picture for n, picture in zip(range(BLOCK), stream, strict=False)}
            if index not in held:
                raise UserError(f"{place.video}: has no picture for frame {index} of {place.clip.root}")
        yield held[index]


def _sized(picture: UInt8[np.ndarray, "H W 3"], size: int) -> Float32[np.ndarray, "S S 3"]:
    kind = cv2.INTER_AREA if len(picture) > size else cv2.INTER_LINEAR
    return cv2.resize(picture, (size, size), interpolation=kind).astype(np.float32) / 255
