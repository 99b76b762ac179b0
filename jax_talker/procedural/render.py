"""A z-buffer for vertex-coloured triangles: the camera of the procedural head.

Supersampled and box-filtered, so that edges are soft; no dependency on a graphics driver.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np

from jax_talker import geometry
from jax_talker.procedural.compiled import njit


@dataclass(frozen=True)
class Mesh:
    """Triangles with what each vertex carries."""

    vertices: np.ndarray  # [n, 3] world
    faces: np.ndarray  # [m, 3] int32, counter-clockwise seen from outside
    values: np.ndarray  # [n, C] float32, interpolated over each triangle: shaded colour, masks, …


def join(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + start for m, start in zip(meshes, starts, strict=True)]).astype(np.int32),
        np.concatenate([m.values for m in meshes]),
    )


@njit(nogil=True)
@no_type_check
def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals, [n, 3]."""
    normals = np.zeros_like(vertices)
    for a, b, c in faces:
        ux, uy, uz = vertices[b] - vertices[a]
        vx, vy, vz = vertices[c] - vertices[a]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for i in (a, b, c):
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz
    for i in range(len(normals)):
        length = np.sqrt((normals[i] ** 2).sum())
        normals[i] /= max(length, 1e-12)
    return normals


def project(points: np.ndarray, label: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [n, 2] (centre of the top-left one at (0.5, 0.5)) and depths [n] of world points [n, 3]."""
    world_from_cam, intrinsics = geometry.split_label(np.asarray(label, np.float64))
    cam_from_world = geometry.invert_rigid(world_from_cam)
    cam = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    pixels = cam[:, :2] / cam[:, 2:] * size * np.array([intrinsics[0, 0], intrinsics[1, 1]])
    return pixels + size * intrinsics[:2, 2], cam[:, 2]


def render(mesh: Mesh, label: np.ndarray, size: int, *, supersample: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """What the camera of an EG3D label sees: values [size, size, C] (0 where nothing is), coverage [size, size]."""
    fine = size * supersample
    pixels, depth = project(mesh.vertices, label, fine)
    pixels, depth = pixels.astype(np.float32), depth.astype(np.float32)
    front = _front_face(pixels, depth, mesh.faces, fine)
    return _averaged(pixels, mesh.faces, np.ascontiguousarray(mesh.values, np.float32), front, size, supersample)


@njit(nogil=True)
@no_type_check
def _front_face(pixels, depth, faces, size):
    """The face that each fine pixel's centre (i + 0.5, j + 0.5) shows, −1 where there is none."""
    front = np.full((size, size), np.int32(-1))
    nearest = np.full((size, size), np.float32(1e9))
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay = pixels[a, 0], pixels[a, 1]
        bx, by = pixels[b, 0], pixels[b, 1]
        cx, cy = pixels[c, 0], pixels[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        left = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
        right = min(int(np.floor(max(ax, bx, cx) - 0.5)), size - 1)
        top = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
        bottom = min(int(np.floor(max(ay, by, cy) - 0.5)), size - 1)
        inverse = 1.0 / area
        for row in range(top, bottom + 1):
            y = row + 0.5
            for col in range(left, right + 1):
                x = col + 0.5
                wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse
                wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse
                wc = 1.0 - wa - wb
                if wa < -1e-6 or wb < -1e-6 or wc < -1e-6:
                    continue
                z = wa * depth[a] + wb * depth[b] + wc * depth[c]
                if z < nearest[row, col]:
                    nearest[row, col] = z
                    front[row, col] = f
    return front


@njit(nogil=True)
@no_type_check
def _averaged(pixels, faces, values, front, size, supersample):
    """Interpolated values [size, size, C] and coverage [size, size], each the mean over a pixel's fine ones."""
    channels = values.shape[1]
    image = np.zeros((size, size, channels), np.float32)
    hit = np.zeros((size, size), np.float32)
    share = np.float32(1.0 / (supersample * supersample))
    for row in range(size * supersample):
        for col in range(size * supersample):
            f = front[row, col]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            x, y = col + 0.5, row + 0.5
            ax, ay = pixels[a, 0], pixels[a, 1]
            bx, by = pixels[b, 0], pixels[b, 1]
            cx, cy = pixels[c, 0], pixels[c, 1]
            inverse = 1.0 / ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
            wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse
            wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse
            wc = 1.0 - wa - wb
            i, j = row // supersample, col // supersample
            hit[i, j] += share
            for k in range(channels):
                image[i, j, k] += share * (wa * values[a, k] + wb * values[b, k] + wc * values[c, k])
    return image, hit
