"""One picture by which a person can judge a prepared clip at a glance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jax_talker import geometry
from jax_talker.data.camera.crop import Crop
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE, Clip
from jax_talker.data.track.landmarks import LandmarkScheme

CELL = 224  # px
PLOT_HEIGHT = 420  # px
AXES = 0.1  # world units: length of the drawn head axes
RED, GREEN, BLUE, VIOLET, WHITE = (230, 40, 40), (40, 200, 60), (40, 90, 240), (170, 0, 240), (255, 255, 255)
ROWS = ("source and crop", "landmarks and pose", "upper and lower mask", "head on white")
STRIPE = 12  # px; period of the hatching where nothing is known


@dataclass(frozen=True)
class SheetFrame:
    """What the sheet shows of one frame."""

    index: int
    source: UInt8[np.ndarray, "H W 3"]
    crop: Crop
    picture: UInt8[np.ndarray, "S S 3"]  # the crop as it was seen
    head: UInt8[np.ndarray, "S S 3"]  # on white
    masks: UInt8[np.ndarray, "S S 3"]  # upper, lower, head
    valid: UInt8[np.ndarray, "S S"]  # 255 where it is the truth
    landmarks: Float[np.ndarray, "P 2"]  # px of the crop
    axes: Float[np.ndarray, "4 2"]  # px of the crop: a point in the head, and the ends of its x, y and z axes
    view: str = ""  # name of a further camera


def contact_sheet(
    frames: Sequence[SheetFrame],
    scheme: LandmarkScheme,
    *,
    title: str,
    tracks: Mapping[str, Mapping[str, np.ndarray]],
    sound: Float[np.ndarray, " samples"],
) -> UInt8[np.ndarray, "H W 3"]:
    """Rows of pictures (source, landmarks with head axes, masks, head on white) above plots of every named track.

    ``tracks`` maps a plot's label to its curves, each one number per frame; the shown frames are marked in them.
    """
    columns = []
    for frame in sorted(frames, key=lambda f: f.index):
        first, *rest = cells(frame, scheme)
        text = f"{frame.view}  frame {frame.index}  {frame.index / FPS:.2f} s".strip()
        columns.append([_captioned(first, text, bottom=True), *rest])
    rows = []
    for name, row in zip(ROWS, zip(*columns, strict=True), strict=True):
        rows.append(np.hstack([_captioned(row[0], name), *row[1:]]))
    pictures = np.vstack(rows)
    plots = _plots(title, tracks, sound, [f.index for f in frames], pictures.shape[1])
    return np.vstack([pictures, plots])


def cells(frame: SheetFrame, scheme: LandmarkScheme) -> list[UInt8[np.ndarray, "H W 3"]]:
    """What ROWS names of one frame, as squares of CELL px."""
    return [_source(frame), _landmarks(frame, scheme), _masks(frame), _hatched(_fitted(frame.head), frame.valid)]


def clip_frames(clip: Clip, indices: Iterable[int]) -> list[SheetFrame]:
    """Frames of a clip folder alone: its pictures stand for the source, which is not at hand."""
    whole = Crop(np.full(2, clip.size / 2), float(clip.size))
    frames = []
    for index in indices:
        image = clip.image(index)
        world_from_cam, intrinsics = geometry.split_label(clip.arrays["label"][index].astype(np.float64))
        cam_from_world = geometry.invert_rigid(world_from_cam)
        axes = project_axes(cam_from_world, np.asarray(geometry.PIVOT), float(intrinsics[0, 0]), clip.size)
        points = clip.arrays["landmarks"][index].astype(np.float64)
        masks, valid = clip.masks(index), clip.valid(index)
        frames.append(SheetFrame(index, image, whole, image, image, masks, valid, points, axes))
    return frames


def project_axes(
    cam_from_world: Float[np.ndarray, "4 4"], origin: Float[np.ndarray, " 3"], focal: float, size: int
) -> Float[np.ndarray, "4 2"]:
    """Pixels of a point in the head and of the ends of its x, y and z axes in a ``size`` × ``size`` crop."""
    points = origin + AXES * np.concatenate([np.zeros((1, 3)), np.eye(3)])
    seen = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    return (seen[:, :2] / seen[:, 2:] * focal + 0.5) * size


# ---------------------------------------------------------------------------------------------------------------------


def _source(frame: SheetFrame) -> np.ndarray:
    height, width = frame.source.shape[:2]
    scale = CELL / max(height, width)
    small = cv2.resize(frame.source, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    cell = np.full((CELL, CELL, 3), 32, np.uint8)
    top, left = (CELL - small.shape[0]) // 2, (CELL - small.shape[1]) // 2
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    corners = (frame.crop.centre + frame.crop.side / 2 * np.array([[-1, -1], [1, 1]])) * scale + (left, top)
    first, last = np.round(corners).astype(int).tolist()
    cv2.rectangle(cell, first, last, GREEN, 1, cv2.LINE_AA)
    return cell


def _landmarks(frame: SheetFrame, scheme: LandmarkScheme) -> np.ndarray:
    cell, scale = _fitted(frame.picture), CELL / len(frame.picture)
    points = frame.landmarks * scale
    closed = [*(points[list(c)] for c in (*scheme.eyes_and_lips, *scheme.brows)), scheme.outline(points)]
    for contour in closed:
        _line(cell, contour, GREEN, closed=True)
    for end, colour in zip(frame.axes[1:] * scale, (RED, GREEN, BLUE), strict=True):
        _line(cell, np.stack([frame.axes[0] * scale, end]), colour, width=2)
    return cell


def _masks(frame: SheetFrame) -> np.ndarray:
    cell, shares = _fitted(frame.picture).astype(np.float32), _fitted(frame.masks).astype(np.float32) / 255
    for share, colour in ((shares[..., 0], GREEN), (shares[..., 1], VIOLET)):
        cell += 0.5 * share[..., None] * (np.array(colour, np.float32) - cell)
    cell = np.ascontiguousarray(cell.astype(np.uint8))
    edge, _ = cv2.findContours((shares[..., 2] > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(cell, edge, -1, BLUE, 1)
    return _hatched(cell, frame.valid)


def _hatched(cell: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Grey stripes where nothing is known: what is there is no truth."""
    unknown = cv2.resize(valid, (CELL, CELL), interpolation=cv2.INTER_NEAREST) < 255
    stripes = np.add(*np.indices((CELL, CELL))) % STRIPE < STRIPE // 2
    shades = np.where(stripes, np.uint8(150), np.uint8(190))[..., None]
    return np.where(unknown[..., None], shades, cell)


def _fitted(picture: np.ndarray) -> np.ndarray:
    shrinks = len(picture) > CELL
    return cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _line(image: np.ndarray, points: np.ndarray, colour, *, closed: bool = False, width: int = 1) -> None:
    cv2.polylines(image, [np.round((points - 0.5) * 16).astype(np.int32)], closed, colour, width, cv2.LINE_AA, shift=4)


def _captioned(cell: np.ndarray, text: str, *, bottom: bool = False) -> np.ndarray:
    place = (5, CELL - 6) if bottom else (5, 14)
    for colour, width in (((0, 0, 0), 3), (WHITE, 1)):
        cv2.putText(cell, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, width, cv2.LINE_AA)
    return cell


def _plots(title: str, tracks, sound: np.ndarray, marked: list[int], width: int) -> np.ndarray:
    figure = Figure(figsize=(width / 100, PLOT_HEIGHT / 100), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    shown = title.encode("utf-8", "replace").decode()  # names of files may hold anything
    figure.suptitle(shown, parse_math=False, fontsize=10, x=0.01, ha="left")
    axes = figure.subplots(2, (len(tracks) + 2) // 2, squeeze=False).ravel()
    for axis, (label, curves) in zip(axes, tracks.items(), strict=False):
        for name, values in curves.items():
            axis.plot(np.arange(len(values)) / FPS, values, linewidth=1, label=name)
        axis.set_ylabel(label, fontsize=8)
        if len(curves) > 1:
            axis.legend(fontsize=7, loc="upper right", ncols=len(curves))
    peaks = np.abs(sound[: len(sound) // 160 * 160]).reshape(-1, 160).max(1)
    time = np.arange(len(peaks)) * 160 / SAMPLE_RATE
    axes[len(tracks)].fill_between(time, -peaks, peaks, linewidth=0)
    axes[len(tracks)].set_ylabel("sound", fontsize=8)
    for axis in axes[: len(tracks) + 1]:
        for index in marked:
            axis.axvline(index / FPS, color="0.8", linewidth=0.6, zorder=0)
        axis.tick_params(labelsize=7)
        axis.margins(x=0)
        axis.set_xlabel("s", fontsize=7)
    for axis in axes[len(tracks) + 1 :]:
        axis.set_visible(False)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
