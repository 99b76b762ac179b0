"""What is not skin: eyeballs, the mouth's inside, ears, neck. Each part is a small grid with its own colours.

Colours here are albedos (sRGB in [0, 1]) before shading; ``surface`` turns a grid of points into triangles.
"""

import numpy as np

from jax_talker.procedural import colors
from jax_talker.procedural.face import GRID, Face, bell, smoothstep
from jax_talker.procedural.identity import Identity, Motion


def grid_faces(rows: int, columns: int, *, closed: bool = False, flip: bool = False) -> np.ndarray:
    """Triangles of a rows × columns grid of vertices; ``closed`` joins the last column to the first."""
    index = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(index, -1, 1)
    if not closed:
        index, right = index[:, :-1], right[:, :-1]
    a, b, c, d = index[:-1], right[:-1], index[1:], right[1:]
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    return (faces[:, ::-1] if flip else faces).astype(np.int32)


# ---------------------------------------------------------------------------------------------------------------------
# Eyeballs

EYE_RINGS, EYE_SPOKES = 22, 28


def eyeball(face: Face, side: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces and albedos of one eye (side +1: the person's left), looking straight ahead."""
    # Rings around the line of sight, dense where pupil and iris end.
    polar = np.radians(np.concatenate([np.linspace(0, 34, 16), np.linspace(40, 110, EYE_RINGS - 16)]))
    spin = np.linspace(0, 2 * np.pi, EYE_SPOKES, endpoint=False)
    r = face.eyeball_radius
    ring = np.sin(polar)[:, None]
    points = np.stack(
        [
            side * face.eye_x + r * ring * np.cos(spin),
            face.eye_y + 0.004 + r * ring * np.sin(spin),
            face.eyeball_z + r * np.cos(polar)[:, None] * np.ones_like(spin),
        ],
        -1,
    ).reshape(-1, 3)
    degrees = np.degrees(polar)[:, None] * np.ones_like(spin)
    albedo = colors.eye(face.person, degrees, spin[None])
    # The upper lid's shadow.
    shade = 1 - 0.35 * smoothstep(0.004, 0.020, points[:, 1] - face.eye_y)
    return points, grid_faces(EYE_RINGS, EYE_SPOKES, closed=True), albedo.reshape(-1, 3) * shade[:, None]


# ---------------------------------------------------------------------------------------------------------------------
# Inside of the mouth

BAG_ROWS = 12


def mouth_bag(skin: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A pouch from the upper lip's edge to the lower lip's: dark red, darker the deeper."""
    upper, lower = (skin[i] for i in GRID.slits["mouth"])
    around = np.linspace(0, 1, BAG_ROWS)[:, None, None]
    depth = np.sin(np.pi * around) ** 0.6
    points = (1 - around) * upper + around * lower
    room = 1 - np.linspace(-1, 1, len(upper)) ** 2  # 0 at the corners, where the pouch closes
    points[..., 2] -= depth[..., 0] * 0.075 * room**0.3
    points[..., 1] += (0.5 - around[..., 0]) * depth[..., 0] * 0.03 * room
    albedo = colors.MOUTH_INSIDE * (1 - 0.8 * depth) + 0 * points
    return points.reshape(-1, 3), grid_faces(BAG_ROWS, len(upper), flip=True), albedo.reshape(-1, 3)


def teeth(face: Face, motion: Motion, *, upper: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row of teeth on an arc behind the lips; the lower row goes with the jaw."""
    columns, rows = 61, 4
    s = np.linspace(-1, 1, columns)
    arc_x = 0.70 * face.mouth_half * s
    lip_z = face.neutral[GRID.slits["mouth"][0]][:, 2].max()
    arc_z = lip_z - 0.020 - 0.045 * s**2
    crown = face.mouth_y + (np.linspace(0.018, -0.013, rows) if upper else np.linspace(-0.013, -0.028, rows))
    # Rounded ends: teeth get shorter towards the side.
    edge = 0.004 * s**2 * (1 if upper else -1)
    points = np.stack(
        [
            np.broadcast_to(arc_x, (rows, columns)),
            crown[:, None] + edge * np.linspace(0, 1, rows)[:: 1 if upper else -1, None],
            np.broadcast_to(arc_z - (0.0 if upper else 0.005), (rows, columns)),
        ],
        -1,
    )
    tooth = np.abs(((s * 4.5 + 0.5) % 1) - 0.5)  # nine teeth; 0.5 in the gaps
    tint = 1 - 0.35 * smoothstep(0.42, 0.5, tooth) - 0.45 * s**2
    albedo = colors.TEETH * tint[None, :, None] + 0 * points
    flat = points.reshape(-1, 3)
    if not upper:
        flat = face.swing_jaw(flat, motion)
    return flat, grid_faces(rows, columns), albedo.reshape(-1, 3)


def tongue(face: Face, motion: Motion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A low dome behind the lower teeth."""
    rows, columns = 7, 13
    u, v = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(0, 1, rows))
    lip_z = face.neutral[GRID.slits["mouth"][0]][:, 2].max()
    points = np.stack(
        [
            0.50 * face.mouth_half * u * np.sqrt(1 - 0.6 * v),
            face.mouth_y - 0.026 + 0.012 * (1 - u**2) * np.sin(np.pi * (0.25 + 0.6 * v)),
            lip_z - 0.034 - 0.045 * v - 0.01 * u**2,
        ],
        -1,
    ).reshape(-1, 3)
    albedo = np.broadcast_to(colors.TONGUE, points.shape) * (1 - 0.5 * v.reshape(-1, 1))
    return face.swing_jaw(points, motion), grid_faces(rows, columns, flip=True), albedo


# ---------------------------------------------------------------------------------------------------------------------
# Ears and neck


def ear(face: Face, side: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An ear: an oval dish with a rim, hinged at the head's side."""
    person = face.person
    rings, spokes = 12, 28
    r = np.linspace(0, 1, rings)[:, None]
    t = np.linspace(0, 2 * np.pi, spokes, endpoint=False)[None]
    size = 1 + 0.10 * person.ear_size
    # In the ear's own plane: up, backward, and outward relief.
    outline = 1 + 0.10 * np.sin(t) - 0.10 * np.cos(2 * t)
    up = 0.062 * size * r * outline * np.sin(t) + 0.010 * r
    back = 0.034 * size * r * outline * np.cos(t)
    relief = 0.012 * bell(r - 0.88, 0.14) - 0.010 * bell(r - 0.35, 0.25) + 0.004
    relief = relief * (1 - 0.5 * bell(np.cos(t) + 1, 0.5)) - 0.006 * (r == 1)
    tilt = np.radians(24)  # the rear edge stands off the head
    anchor = _side_of_head(face, 0.03)
    out = anchor[0] - 0.004 + relief + (back + 0.030) * np.sin(tilt)
    points = np.stack([side * out, 0.034 + up, anchor[1] - 0.018 - (back + 0.010) * np.cos(tilt) - 0.12 * up], -1)
    albedo = colors.skin(person) * (1 - 0.30 * bell(r - 0.35, 0.25) * np.ones_like(t))[..., None]
    faces = grid_faces(rings, spokes, closed=True, flip=side > 0)
    return points.reshape(-1, 3), faces, albedo.reshape(-1, 3)


def _side_of_head(face: Face, height: float) -> tuple[float, float]:
    """x and z of the skin where the ear stands: beside the axis, at ``height``."""
    azimuth = np.degrees(GRID.azimuths[GRID.column])
    side = np.flatnonzero((np.abs(azimuth - 92) < 4) & (GRID.elevations[GRID.row] == 0))
    nearest = side[np.argmin(np.abs(face.neutral[side, 1] - height))]
    return float(face.neutral[nearest, 0]), float(face.neutral[nearest, 2])


def neck(person: Identity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tube from inside the head to below every picture, a little darker under the chin."""
    rows, columns = 18, 48
    y = np.linspace(-0.06, -0.50, rows)[:, None]
    t = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    radius = 0.098 * (1 + 0.08 * person.neck_width) + 0.012 * smoothstep(-0.30, -0.50, y)
    slope = -0.115 + 0.16 * (y + 0.10)  # the neck leans forward: lower is further back
    throat = 1 + 0.06 * bell(t - np.pi / 2, 0.3) * bell(y + 0.30, 0.05)
    points = np.stack(
        [radius * np.cos(t) + 0 * y, y + 0 * t, slope + 0.95 * radius * throat * np.sin(t)],
        -1,
    )
    shade = 1 - 0.40 * smoothstep(-0.34, -0.19, y) * smoothstep(-0.5, 0.8, np.sin(t))
    albedo = colors.skin(person) * shade[..., None]
    return points.reshape(-1, 3), grid_faces(rows, columns, closed=True, flip=True), albedo.reshape(-1, 3)
