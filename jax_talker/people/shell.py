"""Hair as one shell around the head: how far out it lies, its colour and how dense it is, in every direction.

The shell's plane is the sphere of directions around the head's middle, in Lambert's equal-area projection; its middle
is the back of the crown, and the chin's side, where no hair grows, lies beyond its rim.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from jax_talker.people.figure import HEAD_MIDDLE, PARTS, SKIN, Figure, Lit, Posed, numbers
from jax_talker.people.raster import composite, levels_of, nearest

AXIS = np.array([0.0, 0.55, -0.835])  # the direction in the plane's middle
RIM = 1.93  # of 2: the projection's radius that the plane shows, 150° from its middle
FINE = 3
FILLED = 0.02  # alpha from which a texel has hair of its own


@dataclass(frozen=True)
class Shell:
    """[S, S, …]: where there is no hair, alpha is 0 and the position is the skin's."""

    position: np.ndarray  # [S, S, 3] world
    color: np.ndarray  # [S, S, 3] sRGB
    alpha: np.ndarray  # [S, S]
    valid: np.ndarray  # [S, S] bool: inside the rim


def axes() -> np.ndarray:
    """Rows right, down and out of the plane's middle, [3, 3]; x is the person's left."""
    out = AXIS / np.linalg.norm(AXIS)
    right = np.array([1.0, 0.0, 0.0])
    return np.stack([right, np.cross(right, out), out])


def project(points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Texels [n, 2] and distances from the head's middle [n] (metres) of points [n, 3] in metres."""
    away = points - HEAD_MIDDLE
    radius = np.linalg.norm(away, axis=-1)
    x, y, z = axes() @ (away / np.maximum(radius, 1e-9)[:, None]).T
    scale = np.sqrt(2 / np.maximum(1 + z, 1e-4))
    return (np.stack([x, y], -1) * scale[:, None] / (2 * RIM) + 0.5) * size, radius


def ways(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions [S, S, 3] of the texels' centres and which lie inside the rim [S, S]."""
    side = ((np.arange(size) + 0.5) / size - 0.5) * 2 * RIM
    x, y = np.meshgrid(side, side)
    squared = x * x + y * y
    scale = np.sqrt(np.maximum(1 - squared / 4, 0))
    flat = np.stack([x * scale, y * scale, 1 - squared / 2], -1)
    return flat @ axes(), squared < RIM**2


def hair_shell(figure: Figure, posed: Posed, lit: Lit, size: int) -> Shell:
    """The shell of a lit figure; people without a hair mesh have an empty one on their skin."""
    towards, valid = ways(size)
    texels, radius = project(posed.vertices, size * FINE)
    texels, radius = texels.astype(np.float32), radius.astype(np.float32)
    span = np.ptp(texels[figure.faces], axis=1).max(-1)
    whole = span < size * FINE / 3  # others straddle the direction beyond the rim
    skin = np.isin(figure.parts, numbers(SKIN))
    _, far = nearest(texels, radius, figure.faces, np.flatnonzero(skin & whole), size * FINE)
    far = cv2.resize(far, (size, size), interpolation=cv2.INTER_AREA)
    hair = np.flatnonzero((figure.parts == PARTS.index("hair")) & whole)
    order = hair[np.argsort(-radius[figure.faces[hair]].mean(1), kind="stable")]
    levels = levels_of(texels, figure.faces, figure.uv, figure.face_uv, figure.face_texture, figure.textures.table)
    fine = size * FINE
    image, inverse, _ = composite(
        texels, radius, figure.faces, figure.face_uv, figure.uv, figure.parts, figure.face_texture, levels,
        figure.textures.texels, figure.textures.table, lit.light, lit.shine, lit.normals, lit.mirrors,
        np.full((fine, fine), -1, np.int32), np.zeros((fine, fine), np.float32), order, size, FINE, len(PARTS),
    )  # fmt: skip
    alpha = image[..., 3] * valid
    color = np.where(alpha[..., None] > 0, image[..., :3] / np.maximum(image[..., 3:], 1e-6), 0).astype(np.float32)
    known = (inverse > 0).astype(np.float32)
    out = np.where(known > 0, 1 / np.maximum(inverse, 1e-6), 0).astype(np.float32)
    near = cv2.GaussianBlur(known, (0, 0), 1.5)  # thin hair has no surface of its own: it lies where its neighbours do
    spread = cv2.GaussianBlur(out, (0, 0), 1.5) / np.maximum(near, 1e-6)
    out = np.where(known > 0, out, np.where((alpha > FILLED) & (near > 1e-3), spread, far))
    metres = HEAD_MIDDLE + towards * out[..., None]
    return Shell(figure.shape.frame(metres), color, alpha.astype(np.float32), valid)
