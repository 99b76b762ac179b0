"""Head poses refined on pixels: what landmarks leave over (half a pixel, a hundredth of the size) blurs a learnt face.

Landmarkers draw something like the mean face, and expressions move it. But skin carries its colour along: the surface
that the landmarks span has one brightness at each point, and each frame's camera is moved until its picture shows it.
Light stands still while a head turns, so brightness changes by yaw and pitch, but smoothly over the surface: free at
each point, that change could imitate a motion. This is Lucas and Kanade's alignment
(1981) of a rigid surface in 3D, whose appearance is learnt at the same time. A point counts by how well it is
foretold, so lips, lids and brows say little; landmarks keep what no pixel tells, such as the world's own turn.
"""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8
from scipy.spatial import Delaunay

from jax_talker.data.camera.bundle import geman_mcclure
from jax_talker.data.camera.crop import Crop
from jax_talker.data.camera.pose_fit import Fit
from jax_talker.data.camera.projection import linearised, turned
from jax_talker.data.camera.smoothing import smooth_in_time
from jax_talker.data.read.boundaries import by_recording

SIZE = 128  # px of the crops that are compared
BLUR = 0.8  # px of those
POINTS = 1500  # on the surface
LEARNT_FROM = 400  # frames at most, evenly spread, whose poses and the appearance are found together
ROUNDS, STEPS = 8, 6  # of that, and of aligning one frame to what was learnt
AT_ONCE = 64  # frames; bounds memory
NEIGHBOURS = 10.0  # points whose errors are alike: they count as one
LEAST_NOISE = 0.01  # of brightness in [0, 1]
FACING = (0.25, 0.55)  # cosine of view and normal from which a point begins to count, and counts fully
# Standard deviations of what landmarks are wrong by: turn (rad), shift (crop sides), logarithm of the size.
TRUST = np.array([*[np.radians(2.0)] * 3, 0.01, 0.01, 0.03])


@dataclass(frozen=True)
class Surface:
    """Points spread evenly over the part of a face that landmarks span, world units, with outward normals."""

    points: Float64[np.ndarray, "N 3"]
    normals: Float64[np.ndarray, "N 3"]

    @property
    def smooth(self) -> Float64[np.ndarray, "N 8"]:
        """Functions of which a change of light is a sum: the normal, and parabolas across the face."""
        x, y = (self.points[:, :2] - self.points[:, :2].mean(0)).T / self.points[:, :2].std()
        return np.column_stack([self.normals, x, y, x * x, x * y, y * y])


@dataclass(frozen=True)
class Appearance:
    """What a surface looks like."""

    brightness: Float64[np.ndarray, " N"]  # at the clip's usual yaw and pitch
    light: Float64[np.ndarray, "2 8"]  # its slopes by yaw and pitch, as sums of ``Surface.smooth``
    noise: Float64[np.ndarray, " N"]  # how wrong that usually is

    def foretell(
        self, turns: Float64[np.ndarray, "F 2"], smooth: Float64[np.ndarray, "N 8"]
    ) -> Float64[np.ndarray, "F N"]:
        """The brightness of each point in frames whose head is turned so (rad)."""
        return self.brightness + turns @ self.light @ smooth.T


def spanned(landmarks: Float64[np.ndarray, "P 3"], count: int = POINTS, seed: int = 0) -> Surface:
    """The surface through landmarks, which must be seen one beside the other from the front (+z)."""
    corners = landmarks[Delaunay(landmarks[:, :2]).simplices]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(across, axis=1)
    normals = across / area[:, None] * np.sign(across[:, 2:])
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(area), count, p=area / area.sum())
    share = rng.dirichlet(np.ones(3), count)  # even over a triangle
    return Surface(np.einsum("nk,nkd->nd", share, corners[chosen]), normals[chosen])


def refine_on_pixels(
    pictures: Iterable[UInt8[np.ndarray, "H W 3"]],
    surface: Surface,
    fit: Fit,
    *,
    focal: float,
    smooth: float,
    boundaries: Sequence[int] = (),
) -> Fit:
    """Poses and crops of T frames under which the surface looks alike in all of them.

    What they are moved by is smoothed as ``pose.track_head`` says. ``pictures`` are read once; their crops lie in a
    file while they are compared (16 kB each), not in memory.
    """
    with tempfile.TemporaryFile() as file:
        crops = np.memmap(file, np.uint8, "w+", shape=(len(fit.side), SIZE, SIZE))
        for crop, picture, centre, side in zip(crops, pictures, fit.centre, fit.side, strict=False):
            crop[:] = _brightness(picture, Crop(centre, float(side)))
        moves = _moves(crops, surface, fit.rotation, focal)
    moves = by_recording(lambda own: smooth_in_time(own, smooth), moves, boundaries)
    return Fit(
        rotation=turned(moves[:, :3], fit.rotation),
        centre=fit.centre + fit.side[:, None] * moves[:, 3:5],
        side=fit.side * np.exp(moves[:, 5]),
    )


# ---------------------------------------------------------------------------------------------------------------------


def _brightness(picture: UInt8[np.ndarray, "H W 3"], crop: Crop) -> UInt8[np.ndarray, "S S"]:
    """Of the crop; 0 (which no other pixel is) beyond the picture."""
    grey = cv2.cvtColor(crop.cut(picture, SIZE), cv2.COLOR_RGB2GRAY)
    return np.where(crop.filmed(picture.shape, SIZE) > 0, np.maximum(grey, 1), 0).astype(np.uint8)


def _moves(
    crops: UInt8[np.ndarray, "T S S"], surface: Surface, rotation: Float64[np.ndarray, "T 3 3"], focal: float
) -> Float64[np.ndarray, "T 6"]:
    """How far each frame's camera is off: turn (rad), shift (crop sides), logarithm of the size."""
    frames = len(crops)
    learnt = np.unique(np.linspace(0, frames - 1, min(frames, LEARNT_FROM)).astype(int))
    moves, turns = np.zeros((frames, 6)), _turns(rotation)
    nothing, smooth = np.zeros(len(surface.points)), surface.smooth
    appearance = Appearance(nothing, np.zeros((2, smooth.shape[1])), nothing + 1)
    for _ in range(ROUNDS):
        looks = [_look(crops[some], surface, rotation[some], moves[some], focal) for some in _chunks(learnt)]
        brightness, weight = (np.concatenate([getattr(x, n) for x in looks]) for n in ("brightness", "weight"))
        appearance = _learn(brightness, weight, turns[learnt], smooth, appearance)
        for some, look in zip(_chunks(learnt), looks, strict=True):
            moves[some] += _step(look, appearance.foretell(turns[some], smooth), appearance.noise, moves[some])
    for some in _chunks(np.arange(frames)):
        foretold = appearance.foretell(turns[some], smooth)
        for _ in range(STEPS):
            look = _look(crops[some], surface, rotation[some], moves[some], focal)
            moves[some] += _step(look, foretold, appearance.noise, moves[some])
    return moves


@dataclass(frozen=True)
class _Look:
    """What F frames show of a surface."""

    brightness: Float32[np.ndarray, "F N"]
    slope: Float32[np.ndarray, "F N 6"]  # by a frame's turn, shift and logarithm of size
    weight: Float32[np.ndarray, "F N"]  # 0: turned away, or beyond the picture


def _chunks(frames: np.ndarray) -> list[np.ndarray]:
    return np.split(frames, range(AT_ONCE, len(frames), AT_ONCE))


def _turns(rotation: Float64[np.ndarray, "T 3 3"]) -> Float64[np.ndarray, "T 2"]:
    """Yaw and pitch (rad) from their medians."""
    view = -rotation[:, 2]
    turns = np.arctan2(view[:, :2], view[:, 2:])
    return turns - np.median(turns, 0)


def _look(crops, surface: Surface, rotation, moves, focal: float) -> _Look:
    rotation = turned(moves[:, :3], rotation)
    image, _, by_turn = linearised(surface.points, rotation, focal)
    size = np.exp(moves[:, 5])[:, None, None]
    pixels = SIZE * (0.5 + size * image + moves[:, None, 3:5])
    facing = -np.einsum("fd,nd->fn", rotation[:, 2], surface.normals)
    weight = np.clip((facing - FACING[0]) / (FACING[1] - FACING[0]), 0, 1)
    values = np.empty((*weight.shape, 3), np.float32)
    for f, (crop, where) in enumerate(zip(crops, pixels, strict=True)):
        blurred = cv2.GaussianBlur(crop.astype(np.float32) / 255, (0, 0), BLUR)
        slopes = cv2.Scharr(blurred, cv2.CV_32F, 1, 0) / 32, cv2.Scharr(blurred, cv2.CV_32F, 0, 1) / 32
        x, y = (where - 0.5).astype(np.float32).T[..., None]
        values[f] = cv2.remap(cv2.merge((blurred, *slopes)), x, y, cv2.INTER_LINEAR)[:, 0]
        filmed = cv2.erode((crop > 0).astype(np.float32), np.ones((5, 5)))
        weight[f] *= cv2.remap(filmed, x, y, cv2.INTER_LINEAR)[:, 0]
    by_pixel = SIZE * values[..., 1:]
    slope = np.concatenate(
        [
            np.einsum("fnk,fnkl->fnl", by_pixel, size[..., None] * by_turn),
            by_pixel,
            np.einsum("fnk,fnk->fn", by_pixel, size * image)[..., None],
        ],
        -1,
    )
    return _Look(values[..., 0], slope.astype(np.float32), weight.astype(np.float32))


def _residual(
    brightness: np.ndarray, weight: np.ndarray, foretold: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Seen − foretold, after each frame's own exposure, and robust weights; all [F, N]."""
    residual, robust = brightness - foretold, weight
    for _ in range(2):
        total = np.maximum(robust.sum(1, keepdims=True), 1e-3)
        residual = residual - (robust * residual).sum(1, keepdims=True) / total
        robust = weight * geman_mcclure((residual / noise) ** 2)[0]
    return residual, robust


def _learn(
    brightness: np.ndarray, weight: np.ndarray, turns: np.ndarray, smooth: np.ndarray, before: Appearance
) -> Appearance:
    """The appearance that F frames share. ``before`` says how each is exposed, and what is strange in it."""
    found, size = before, 2 * smooth.shape[1]
    for _ in range(2):
        residual, counted = _residual(brightness, weight, found.foretell(turns, smooth), before.noise)
        away = (counted * residual).sum(0) / np.maximum(counted.sum(0), 1e-3)
        within = smooth.T @ (counted[..., None] * smooth)  # [F, 8, 8]
        normal = np.einsum("fk,fl,fab->kalb", turns, turns, within, optimize=True).reshape(size, size)
        pull = np.einsum("fk,fa->ka", turns, (counted * (residual - away)) @ smooth).reshape(size)
        light = np.linalg.solve(normal + 1e-3 * np.eye(size), pull).reshape(2, -1)
        found = replace(found, brightness=found.brightness + away, light=found.light + light)
    off = np.abs(_residual(brightness, weight, found.foretell(turns, smooth), before.noise)[0])
    off[weight < 0.3] = np.nan
    seen = np.flatnonzero(np.isfinite(off).any(0))
    noise = np.ones(off.shape[1])
    noise[seen] = 1.4826 * np.nanmedian(off[:, seen], 0)
    return replace(found, noise=noise + LEAST_NOISE)


def _step(look: _Look, foretold: np.ndarray, noise: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Gauss–Newton: how each frame's pose moves, landmarks' own opinion counted in."""
    residual, weight = _residual(look.brightness, look.weight, foretold, noise)
    weight = weight / (NEIGHBOURS * noise**2)
    mean = (weight[..., None] * look.slope).sum(1) / np.maximum(weight.sum(1), 1e-9)[:, None]
    slope = look.slope - mean[:, None]  # exposure takes up what all points share
    normal = np.einsum("fn,fna,fnb->fab", weight, slope, slope, optimize=True) + np.diag(TRUST**-2.0)
    pull = -np.einsum("fn,fna,fn->fa", weight, slope, residual, optimize=True) - moves / TRUST**2
    return np.linalg.solve(normal, pull[..., None])[..., 0]
