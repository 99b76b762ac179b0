"""A picture of a lit figure by the camera of an EG3D label, with what is true in it."""

from dataclasses import dataclass

import numpy as np

from jax_talker.people.figure import PARTS, Figure, Lit
from jax_talker.people.raster import composite, levels_of, nearest
from jax_talker.procedural.render import project

FINE = 3  # fine pixels along a pixel's side


@dataclass(frozen=True)
class Picture:
    """What a camera sees of a person, and the truth behind each pixel."""

    image: np.ndarray  # [H, W, 3] float32 sRGB, premultiplied: add (1 − alpha) · background
    alpha: np.ndarray  # [H, W] float32: the head's mask, soft at edges and hair
    depth: np.ndarray  # [H, W] float32 world units along the camera's axis; 0 where nothing is
    part: np.ndarray  # [H, W] uint8 into figure.PARTS: what covers most of the pixel
    landmarks: np.ndarray  # [68, 2] pixels
    landmarks_world: np.ndarray  # [68, 3]

    def on(self, background: float | np.ndarray = 1.0) -> np.ndarray:
        """The image [H, W, 3] uint8 on a background, white unless given."""
        whole = self.image + (1 - self.alpha[..., None]) * background
        return (np.clip(whole, 0, 1) * 255 + 0.5).astype(np.uint8)


def _behind(figure: Figure, pixels: np.ndarray) -> np.ndarray:
    """Which opaque faces are seen from the wrong side and would come through the skin: the mouth's and the sockets'."""
    a, b, c = (pixels[figure.faces[figure.opaque, k]] for k in range(3))
    turned = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] > 0
    return turned & (figure.parts[figure.opaque] == PARTS.index("mouth"))


def take(figure: Figure, lit: Lit, label: np.ndarray, size: int, *, fine: int = FINE) -> Picture:
    """Render at size² with fine² samples a pixel."""
    whole = size * fine
    pixels, depth = project(lit.vertices, label, whole)
    pixels, inverse = pixels.astype(np.float32), (1 / depth).astype(np.float32)
    levels = levels_of(pixels, figure.faces, figure.uv, figure.face_uv, figure.face_texture, figure.textures.table)
    front, near = nearest(pixels, inverse, figure.faces, figure.opaque[~_behind(figure, pixels)], whole)
    order = np.argsort(depth[figure.faces[figure.soft]].mean(1), kind="stable")
    image, distance, part = composite(
        pixels, inverse, figure.faces, figure.face_uv, figure.uv, figure.parts, figure.face_texture, levels,
        figure.textures.texels, figure.textures.table, lit.light, lit.shine, lit.normals, lit.mirrors, front, near,
        figure.soft[order], size, fine, len(PARTS),
    )  # fmt: skip
    flat, _ = project(lit.landmarks, label, size)
    return Picture(image[..., :3], image[..., 3], distance, part, flat.astype(np.float32), lit.landmarks)
