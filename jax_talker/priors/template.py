"""From a mesh with texture coordinates to the fixed points of a GGHead generator (host side, NumPy, done once).

A GGHead draws its attributes as an image in the texture space of a template head. This file decides which points of
that image become Gaussians and where on the head each of them rests: gghead_spec section 5.

Texture coordinates: (u, v) in [0, 1]², u along columns, v along rows, *not* flipped; points are given in [-1, 1]².
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from jax_talker.errors import UserError

# FLAME space → the world of EG3D's cameras: p' = A p + t (fitted by GGHead's author, see spec section 5).
FLAME_TO_WORLD = np.array(
    [
        [2.682716929557429, 0.010446918125791843, 0.04746649927210553, 0.0030014961233934233],
        [-0.009421598630294275, 2.682515580606053, -0.05790466856909523, 0.04740944787628047],
        [-0.047680604263683285, 0.05772857372357329, 2.682112266656848, -0.0024605516344398115],
    ]
)
VALID = 0.99  # a point counts when its bilinear lookup touches covered texels only (up to rounding)


@dataclass(frozen=True)
class Mesh:
    """Triangles with texture coordinates; positions and coordinates have their own indices, as in an OBJ file."""

    vertices: Float[np.ndarray, "V 3"]
    uvs: Float[np.ndarray, "T 2"]
    faces: Int[np.ndarray, "F 3"]
    face_uvs: Int[np.ndarray, "F 3"]


@dataclass(frozen=True)
class Template:
    """What a generator keeps of its mesh: ``G`` points and the image that they were read from."""

    uv: Float[np.ndarray, "G 2"]  # in [-1, 1]
    base_position: Float[np.ndarray, "G 3"]  # world units
    position_map: Float[np.ndarray, "R R 3"]  # world position of each texel; the transform of 0 where uncovered
    valid: Bool[np.ndarray, "R R"]


def read_obj(path: str | Path) -> Mesh:
    """Positions, texture coordinates and faces of an OBJ file; polygons are cut into fans. UserError when unusable."""
    path = Path(path)
    vertices: list[list[float]] = []
    uvs: list[list[float]] = []
    corners: list[list[tuple[int, int]]] = []  # one list of (vertex, uv) per triangle, zero-based
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot read the template mesh ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        kind, *rest = line.split("#")[0].split() or [""]
        try:
            if kind == "v":
                vertices.append([float(x) for x in rest[:3]])
            elif kind == "vt":
                uvs.append([float(x) for x in rest[:2]])
            elif kind == "f":
                polygon = [_corner(word, len(vertices), len(uvs)) for word in rest]
                corners += [[polygon[0], polygon[i], polygon[i + 1]] for i in range(1, len(polygon) - 1)]
        except (ValueError, IndexError) as error:
            raise UserError(f"{path}:{number}: cannot read {line.strip()!r} ({error})") from None
    if not corners:
        raise UserError(f"{path}: no faces found; a template needs v, vt and f v/vt lines")
    if any(len(row) != 3 for row in vertices) or any(len(row) != 2 for row in uvs):
        raise UserError(f"{path}: every v needs three numbers and every vt two")
    index = np.array(corners)
    mesh = Mesh(np.array(vertices), np.array(uvs), index[..., 0], index[..., 1])
    for name, used, have in (("vertex", mesh.faces, len(vertices)), ("vt", mesh.face_uvs, len(uvs))):
        if used.min() < 0 or used.max() >= have:
            raise UserError(f"{path}: a face names a {name} that does not exist; the file has {have}")
    return mesh


def bake(
    mesh: Mesh, *, plane_resolution: int, uv_samples: int, register: bool = True, align_corners: bool = False
) -> Template:
    """Choose the points of an N × N grid (``uv_samples``) that the mesh covers and place them on it.

    ``register`` applies FLAME_TO_WORLD; leave it off for meshes that are in world units already.
    """
    position_map, valid = rasterise(mesh, plane_resolution)
    axis = np.linspace(-1, 1, uv_samples)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    uv = np.stack([u, v], -1).reshape(-1, 2).astype(np.float32)
    keep = sample_image(valid[..., None].astype(np.float64), uv, align_corners=align_corners)[:, 0] > VALID
    uv = uv[keep]
    if not len(uv):
        raise UserError(
            f"the template's texture coordinates cover none of the {uv_samples}² samples; they must lie in [0, 1]²"
        )
    base = sample_image(position_map, uv, align_corners=align_corners)
    if register:
        base, position_map = (p @ FLAME_TO_WORLD[:, :3].T + FLAME_TO_WORLD[:, 3] for p in (base, position_map))
    return Template(uv, base.astype(np.float32), position_map.astype(np.float32), valid)


def rasterise(mesh: Mesh, resolution: int) -> tuple[Float[np.ndarray, "R R 3"], Bool[np.ndarray, "R R"]]:
    """Position image and coverage: each texel centre takes the lowest-numbered triangle whose UV contains it."""
    positions = np.zeros((resolution, resolution, 3))
    valid = np.zeros((resolution, resolution), bool)
    centers = (np.arange(resolution) + 0.5) / resolution
    for corner_uvs, corner_positions in zip(mesh.uvs[mesh.face_uvs], mesh.vertices[mesh.faces], strict=True):
        (u0, v0), (u1, v1), (u2, v2) = corner_uvs
        area = (v1 - v2) * (u0 - u2) + (u2 - u1) * (v0 - v2)
        if area == 0:
            continue
        columns = slice(*np.searchsorted(centers, _bounds(corner_uvs[:, 0])))
        rows = slice(*np.searchsorted(centers, _bounds(corner_uvs[:, 1])))
        u, v = centers[None, columns], centers[rows, None]
        first = ((v1 - v2) * (u - u2) + (u2 - u1) * (v - v2)) / area
        second = ((v2 - v0) * (u - u2) + (u0 - u2) * (v - v2)) / area
        weights = np.stack([first, second, 1 - first - second], -1)
        new = (weights >= 0).all(-1) & ~valid[rows, columns]
        positions[rows, columns][new] = weights[new] @ corner_positions
        valid[rows, columns] |= new
    return positions, valid


def sample_image(
    image: Float[np.ndarray, "R R C"], uv: Float[np.ndarray, "G 2"], *, align_corners: bool = False
) -> Float[np.ndarray, "G C"]:
    """Bilinear lookup in float64, zero outside the image; the host-side twin of ``attributes.sample_plane``."""
    resolution = image.shape[0]
    uv = uv.astype(np.float64)
    place = (uv + 1) / 2 * (resolution - 1) if align_corners else ((uv + 1) * resolution - 1) / 2
    corner = np.floor(place).astype(int)
    part = place - corner
    padded = np.pad(image, ((1, 2), (1, 2), (0, 0)))  # indices −1 … R+1 are all readable
    column, row = np.clip(corner, -1, resolution).T + 1
    along_u, along_v = part[:, :1], part[:, 1:]
    above = padded[row, column] * (1 - along_u) + padded[row, column + 1] * along_u
    below = padded[row + 1, column] * (1 - along_u) + padded[row + 1, column + 1] * along_u
    return above * (1 - along_v) + below * along_v


def ellipsoid(
    *,
    radii: Sequence[float] = (0.2, 0.26, 0.22),
    center: Sequence[float] = (0.0, 0.0, 0.0),
    reach: tuple[float, float] = (2.0, 1.2),
    cells: int = 24,
) -> Mesh:
    """A head-sized patch of an ellipsoid in world units that faces +z: the template where no mesh is given.

    ``reach`` is how far the patch goes from the middle of the face in longitude and latitude, in radians. Texture row 0
    is the top of the head; the texture leaves a margin so that no point touches the border.
    """
    grid = np.linspace(-1, 1, cells + 1)
    up, side = np.meshgrid(-grid, grid, indexing="ij")
    longitude, latitude = side * reach[0], up * reach[1]
    direction = np.stack(
        [np.sin(longitude) * np.cos(latitude), np.sin(latitude), np.cos(longitude) * np.cos(latitude)], -1
    )
    vertices = (np.asarray(center) + np.asarray(radii) * direction).reshape(-1, 3)
    uvs = (0.5 + 0.48 * np.stack([side, -up], -1)).reshape(-1, 2)
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).reshape(-1)
    quads = np.stack([corner, corner + 1, corner + cells + 2, corner + cells + 1], -1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return Mesh(vertices, uvs, faces, faces)


def _corner(word: str, vertices: int, uvs: int) -> tuple[int, int]:
    """Zero-based indices of one face corner ``v/vt`` or ``v/vt/vn``; negative numbers count from the end."""
    parts = word.split("/")
    if len(parts) < 2 or not parts[1]:
        raise ValueError("faces need texture coordinates: f v/vt …")
    vertex, uv = int(parts[0]), int(parts[1])
    if vertex == 0 or uv == 0:
        raise ValueError("indices start at 1")
    return (vertex - 1 if vertex > 0 else vertices + vertex), (uv - 1 if uv > 0 else uvs + uv)


def _bounds(values: np.ndarray) -> tuple[float, float]:
    """An interval a little larger than the values, so that rounding drops no texel centre on an edge."""
    return values.min() - 1e-9, values.max() + 1e-9
