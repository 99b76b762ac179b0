"""Where each texel of a generator's plane lies on the head: charts for skin, neck, mouth, eyes, teeth, tongue, lashes.

One square plane holds all charts. The skin's atlas is stretched towards lids and lips: a head seen from the front would
spend two thirds of its texels on what nobody looks at. Eyes show their discs, teeth the arch as seen from outside, the
tongue its upper side. The layout is the same for everybody; only vertices and textures differ.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np

from jax_talker.people.figure import COMMON, PARTS, Joined, common_pieces, join
from jax_talker.people.pack import SKINS, Pack
from jax_talker.people.raster import corner_weights, levels_of, nearest
from jax_talker.procedural.compiled import njit

# name → left, top, right, bottom in the plane's [0, 1]²
CHARTS = {
    "skin": (0.00, 0.00, 1.00, 0.68),
    "neck": (0.00, 0.69, 0.34, 0.89),
    "mouth": (0.35, 0.69, 0.55, 0.89),
    "eye_left": (0.56, 0.69, 0.77, 0.89),
    "eye_right": (0.78, 0.69, 0.99, 0.89),
    "teeth_upper": (0.00, 0.90, 0.36, 1.00),
    "teeth_lower": (0.37, 0.90, 0.70, 1.00),
    "tongue": (0.71, 0.90, 0.84, 1.00),
    "lashes": (0.85, 0.90, 1.00, 1.00),
}
CHART_NAMES = ("none", *CHARTS)

# The atlas's density of texels: (centre, width, how many times the ground) along u and v.
SKIN_SPAN = ((0.034, 0.966), (0.005, 0.519))
STRETCH_U = (
    *((0.455, 0.030, 2.0), (0.545, 0.030, 2.0), (0.5, 0.035, 1.5)),
    *((0.5, 0.10, 2.0), (0.305, 0.02, 1.0), (0.695, 0.02, 1.0)),
)
STRETCH_V = ((0.294, 0.016, 2.0), (0.396, 0.024, 2.0), (0.335, 0.075, 2.2))

TEETH_MIDDLE, TEETH_ANGLE = -0.030, np.radians(72)  # metres along z: the middle of the arch; how far round it is shown
TEETH_HEIGHTS = {"teeth_upper": (-0.0560, -0.0725), "teeth_lower": (-0.0575, -0.0740)}  # top, bottom; base head, metres
TONGUE_SPAN = ((-0.024, 0.024), (0.0145, -0.030))  # metres along x, and along z from the tip
EYE_CENTERS, EYE_REACH = {"eye_left": (0.290, 0.710), "eye_right": (0.706, 0.296)}, 0.20  # in the eyes' texture


@dataclass(frozen=True)
class Layout:
    """What each texel [S, S] of the plane shows; indices are those of ``join(common_pieces(pack))``."""

    chart: np.ndarray  # uint8 into CHART_NAMES; 0: nothing
    face: np.ndarray  # int32 triangle, −1: nothing
    weights: np.ndarray  # [S, S, 3] float32 of the triangle's corners
    level: np.ndarray  # int64: the texture pyramid's level whose texels are about as large
    mesh: Joined

    @property
    def valid(self) -> np.ndarray:
        return self.face >= 0

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """Vertex values [n, C] on the plane [S, S, C]; 0 where nothing is."""
        corners = values[self.mesh.topology.faces[np.maximum(self.face, 0)]]
        return np.einsum("ijk,ijkc->ijc", self.weights, corners).astype(np.float32)

    def texture_coordinates(self) -> np.ndarray:
        """[S, S, 2] in the texture of the texel's piece."""
        corners = self.mesh.topology.uv[self.mesh.topology.face_uv[np.maximum(self.face, 0)]]
        return np.einsum("ijk,ijkc->ijc", self.weights, corners)


def make_layout(pack: Pack, size: int) -> Layout:
    """The layout of a size² plane."""
    mesh = join(common_pieces(pack))
    chart = np.zeros((size, size), np.uint8)
    face = np.full((size, size), -1, np.int32)
    weights = np.zeros((size, size, 3), np.float32)
    level = np.zeros((size, size), np.int64)
    table = np.array([[[0, *pack.picture(_any_texture(pack, name)).shape[:2]]] * 6 for name in COMMON], np.int64)
    for k, (name, rect) in enumerate(CHARTS.items(), 1):
        left, top, right, bottom = (round(size * edge) for edge in rect)
        corners, priority, faces = _coordinates(pack, mesh, name)
        width, height = right - left, bottom - top
        flat = (corners * [width, height]).reshape(-1, 2).astype(np.float32)
        own = np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3)  # charts cut the mesh: every corner for itself
        front, _ = nearest(flat, priority.ravel().astype(np.float32), own, np.arange(len(own)), max(width, height))
        front = front[:height, :width]
        found = np.argwhere(front >= 0).astype(np.int64)
        at = (found[:, 0] + top, found[:, 1] + left)
        chosen = front[front >= 0]
        chart[at], face[at] = k, faces[chosen]
        weights[at] = _weights(flat, own, chosen, found)
        fine = levels_of(flat, own, mesh.topology.uv, mesh.topology.face_uv[faces], mesh.texture[faces], table)
        level[at] = fine[chosen]
    return Layout(chart, face, weights, level, mesh)


def _any_texture(pack: Pack, piece: str) -> str:
    kind = {"skin": SKINS, "lashes": "eyelashes"}.get(piece, piece)
    return f"{kind}/{pack.pictures(kind)[0]}"


def _coordinates(pack: Pack, mesh: Joined, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chart coordinates [m, 3, 2] in [0, 1]² of faces' corners, which lies in front [m, 3] (> 0), and the faces [m]."""
    uv = mesh.topology.uv[mesh.topology.face_uv]
    if name in ("skin", "neck", "mouth"):
        wanted = {"skin": "head", "neck": "neck_torso", "mouth": "mouth_inside"}[name]
        faces = np.flatnonzero(pack.skin_region == wanted)  # the skin's faces are the joined mesh's first
        uv = uv[faces]
        if name == "skin":
            uv = np.stack(
                [_stretch(uv[..., a], *w) for a, w in enumerate(zip(SKIN_SPAN, (STRETCH_U, STRETCH_V), strict=True))],
                -1,
            )
        else:
            uv = (uv - uv.min((0, 1))) / np.ptp(uv, axis=(0, 1))
        return uv, np.ones(uv.shape[:2]), faces
    if name in EYE_CENTERS:
        of_side = pack["eyes/high-poly.vertex_is_left"] == (name == "eye_left")
        faces = np.flatnonzero(mesh.parts == PARTS.index("eyes"))
        faces = faces[of_side[mesh.topology.faces[faces, 0] - mesh.start["eyes"]]]
        return (uv[faces] - EYE_CENTERS[name]) / (2 * EYE_REACH) + 0.5, np.ones((len(faces), 3)), faces
    if name == "lashes":
        faces = np.flatnonzero(mesh.parts == PARTS.index("lashes"))
        return uv[faces], np.ones((len(faces), 3)), faces
    base = pack["vertex"]
    piece = "tongue/tongue01" if name == "tongue" else "teeth/teeth_base"
    vertices = pack.attachment(piece).fit(base, base)
    kind = name.split("_")[0]
    faces = np.flatnonzero(mesh.parts == PARTS.index(kind))
    if kind == "teeth":
        upper = pack["teeth/teeth_base.vertex_is_upper"] == (name == "teeth_upper")
        faces = faces[upper[mesh.topology.faces[faces, 0] - mesh.start["teeth"]]]
    x, y, z = np.moveaxis(vertices[mesh.topology.faces[faces] - mesh.start[kind]], -1, 0)
    if kind == "tongue":
        (left, right), (tip, root) = TONGUE_SPAN
        return np.stack([(x - left) / (right - left), (z - root) / (tip - root)], -1), y + 1, faces
    top, bottom = TEETH_HEIGHTS[name]
    angle = np.arctan2(x, z - TEETH_MIDDLE)
    flat = np.stack([0.5 + 0.5 * angle / TEETH_ANGLE, (y - top) / (bottom - top)], -1)
    return flat, np.hypot(x, z - TEETH_MIDDLE) + 1e-3, faces


def _stretch(values: np.ndarray, span: tuple[float, float], bumps) -> np.ndarray:
    """Coordinates in [0, 1] by a monotone map whose slope is 1 + Σ height · exp(−½ ((t − centre) / width)²)."""
    nodes = np.linspace(*span, 1024)
    slope = np.ones(len(nodes))
    for center, width, height in bumps:
        slope += height * np.exp(-0.5 * ((nodes - center) / width) ** 2)
    total = np.concatenate([[0], np.cumsum(0.5 * (slope[1:] + slope[:-1]))])
    return np.interp(values, nodes, total / total[-1])


@njit(nogil=True)
@no_type_check
def _weights(flat, own, chosen, found):
    """Corner weights [k, 3] at the centres of the found texels (row, column) in their chosen faces."""
    out = np.empty((len(chosen), 3), np.float32)
    even = np.ones(len(flat), np.float32)
    for n in range(len(chosen)):
        corner_weights(flat, even, own, chosen[n], found[n, 1] + np.float32(0.5), found[n, 0] + np.float32(0.5), out[n])
    return out
