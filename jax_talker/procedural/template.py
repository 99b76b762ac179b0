"""The average head as a UV-mapped mesh: the surface on which a prior's Gaussians rest before they are moved.

One chart: columns of the face's grid across, rows down, so that the face takes most of it. Where mouth and eyes are,
the chart opens: between the lips lies the inside of the mouth, between the lids the eyeball, each joined to its edges.
Below the jaw the chart goes on down the neck. Made here from our own head; no scanned or licensed model is involved.
"""

import numpy as np

from jax_talker.procedural import parts, skull
from jax_talker.procedural.face import AXIS_Z, GRID, THROAT_Y, Face
from jax_talker.procedural.identity import Identity, Motion

NECK = (0.0, -0.40, -0.150, 0.100, 0.60, 0.095, 0.14, 0.05)  # an ellipsoid as in skull.ellipsoids
NECK_FOOT_Y = -0.46
GAPS = {"mouth": 0.085, "left_eye": 0.035, "right_eye": 0.035}  # height of each opening in the chart


def template() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [n, 3] in EG3D's world, texture coordinates [n, 2] in [0, 1] (v downwards), triangles [m, 3] int32."""
    face = Face(Identity())
    points = face.vertices(Motion())
    _replace_throat(points)
    uv = _chart()
    seam = np.ptp(uv[GRID.faces, 0], axis=1) > 0.5  # triangles behind the head that would span the whole chart
    vertices, coordinates, faces = [points], [uv], [GRID.faces[~seam]]
    start = len(points)
    for name, (upper, lower) in GRID.slits.items():
        inner, inner_uv = _filling(face, name, points, uv, upper, lower)
        rows, columns = inner.shape[:2]
        vertices.append(inner.reshape(-1, 3))
        coordinates.append(inner_uv.reshape(-1, 2))
        faces.append(parts.grid_faces(rows, columns) + start)
        start += rows * columns
    return (
        skull.to_world(np.concatenate(vertices)),
        np.concatenate(coordinates),
        np.concatenate(faces).astype(np.int32),
    )


def _replace_throat(points: np.ndarray) -> None:
    """Rows below the jaw run down the neck instead of closing under the chin."""
    rows = np.flatnonzero(GRID.elevations < 0)
    steps = np.linspace(0, 1, len(rows) + 1)[1:]
    heights = THROAT_Y + (NECK_FOOT_Y - THROAT_Y) * steps**1.4  # denser at the chin
    solid = np.concatenate([skull.ellipsoids(Identity()), [NECK]])
    for row, height in zip(rows, heights, strict=True):
        inside = np.flatnonzero(GRID.row == row)
        azimuth = GRID.azimuths[GRID.column[inside]]
        direction = np.stack([np.sin(azimuth), 0 * azimuth, np.cos(azimuth)], -1)
        axis_z = AXIS_Z - 0.06 * max(0.0, (-0.25 - height) / 0.21)  # the neck leans back further down
        origin = np.tile([0.0, height, axis_z], (len(inside), 1))
        points[inside] = origin + skull.cast(origin, direction, solid)[:, None] * direction


def _chart() -> np.ndarray:
    """(u, v) of every grid vertex; rows above an opening move up by half its gap, rows below down, tapering off."""
    rows, columns = len(GRID.heights), len(GRID.azimuths)
    u = (GRID.column + 0.5) / columns
    v = (GRID.row + 0.5) / rows
    for name, (upper, lower) in GRID.slits.items():
        row = GRID.row[upper[0]]
        first, last = GRID.column[upper[0]], GRID.column[upper[-1]]
        across = (GRID.column - first) / (last - first)
        opening = 0.5 * GAPS[name] * np.sqrt(np.clip(4 * across * (1 - across), 0, 1))
        reach = 0.20 if name == "mouth" else 0.12
        away = (GRID.row - row) / rows / reach
        side = np.where(GRID.row == row, np.where(np.isin(np.arange(len(u)), lower[1:-1]), 1.0, -1.0), np.sign(away))
        v = v + side * opening * np.clip(1 - np.abs(away), 0, 1)
    return np.stack([u, v], -1)


def _filling(face, name, points, uv, upper, lower) -> tuple[np.ndarray, np.ndarray]:
    """What lies between the edges of a slit: [rows, columns, 3] points and [rows, columns, 2] chart coordinates."""
    rows = parts.BAG_ROWS
    down = np.linspace(0, 1, rows)[:, None, None]
    inner_uv = (1 - down) * uv[upper] + down * uv[lower]
    if name == "mouth":
        inner = parts.mouth_bag(points)[0].reshape(rows, len(upper), 3)
    else:
        inner = (1 - down) * points[upper] + down * points[lower]
        x0 = np.sign(inner[0, :, 0].mean()) * face.eye_x
        inside = face.eyeball_radius**2 - (inner[..., 0] - x0) ** 2 - (inner[..., 1] - face.eye_y - 0.004) ** 2
        inner[..., 2] = face.eyeball_z + np.sqrt(np.clip(inside, 0, None))
    return inner, inner_uv
