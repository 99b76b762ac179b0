"""The truth about every texel of a generator's plane: where it is, which colour, which way it faces, how open it lies."""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np

from jax_talker.people.figure import Figure, Lit, Posed
from jax_talker.people.layout import Layout
from jax_talker.people.raster import shaded
from jax_talker.procedural.compiled import njit


@dataclass(frozen=True)
class Planes:
    """One person in one expression under one light, [S, S, …]; 0 where the layout has nothing."""

    position: np.ndarray  # [S, S, 3] world
    normal: np.ndarray  # [S, S, 3] unit
    color: np.ndarray  # [S, S, 3] sRGB as pictures show it
    openness: np.ndarray  # [S, S] share of all directions that the texel sees, 0 hidden … 1


def planes(layout: Layout, figure: Figure, posed: Posed, lit: Lit) -> Planes:
    """Read them off a lit figure; its brows, lashes and hair are no part of the plane."""
    count = layout.mesh.vertex_count
    normal = layout.interpolate(posed.normals[:count])
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return Planes(
        layout.interpolate(lit.vertices[:count]),
        normal / np.where(length > 0, length, 1),
        _colors(
            layout.face, layout.weights, layout.level, figure.faces, figure.face_uv, figure.uv, figure.face_texture,
            figure.textures.texels, figure.textures.table, lit.light, lit.shine, lit.normals, lit.mirrors,
        ),
        layout.interpolate(posed.seen[:count].mean(1, keepdims=True))[..., 0],
    )  # fmt: skip


@njit(nogil=True, fastmath=True)
@no_type_check
def _colors(face, weights, level, faces, face_uv, uv, textures_of, texels, table, light, shine, normals, mirrors):
    """sRGB [S, S, 3] of the texels, shaded as the rasteriser shades."""
    out = np.zeros((*face.shape, 3), np.float32)
    sample = np.empty(4, np.float32)
    for row in range(face.shape[0]):
        for col in range(face.shape[1]):
            f = face[row, col]
            if f >= 0:
                shaded(
                    weights[row, col], faces[f], face_uv[f], uv, texels, table, textures_of[f], level[row, col], light,
                    shine, normals, mirrors, sample,
                )  # fmt: skip
                out[row, col] = sample[:3]
    return out
