"""The outer head as a grid of quads with three slits (mouth, eyes) that open: topology, neutral shape and motion.

Rows run from crown to throat, columns around the head. In the face a row lies at one height, so that the closed mouth
and the closed eyes are rows; their vertices between the corners are doubled, one copy for either lip or lid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jax_talker.procedural import skull
from jax_talker.procedural.identity import Identity, Motion

# Heights of the grid's rows for an average head. Between CAP and THROAT rays leave the axis horizontally; above and
# below they fan out from its ends. The mouth's row and the eyes' row must be among them.
AXIS_Z = skull.CENTER[2]
CAP_Y, THROAT_Y = 0.16, -0.15
EYE_Y, MOUTH_Y = 0.080, -0.097
# Azimuths (degrees) of the slits' corners in the grid, before they move to where a person's eyes and mouth are.
EYE_INNER, EYE_OUTER, MOUTH_CORNER = 19.0, 36.0, 17.0

EYE_HALF_WIDTH = 0.034
EYEBALL_RADIUS = 0.036
MOUTH_HALF_WIDTH = 0.064
JAW_HINGE = np.array([0.0, 0.0, -0.10])
JAW_ANGLE = np.radians(15.0)  # at jaw = 1


def smoothstep(low: float, high: float, x: ArrayLike) -> np.ndarray:
    """0 at ``low``, 1 at ``high`` (which may be the smaller), smooth between."""
    t = np.clip((np.asarray(x) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def bell(x: ArrayLike, width: float) -> np.ndarray:
    """exp(−(x/width)²)."""
    return np.asarray(np.exp(-((np.asarray(x) / width) ** 2)))


@dataclass(frozen=True)
class Grid:
    """Topology shared by all heads. Vertices: rows × columns, then the lower copies of mouth, left eye, right eye."""

    heights: np.ndarray  # [rows] row heights (cap and throat rows: the axis' end)
    elevations: np.ndarray  # [rows] radians
    azimuths: np.ndarray  # [columns] radians, 0 in front, rising to the person's left
    faces: np.ndarray  # [m, 3] int32
    row: np.ndarray  # [n] of every vertex
    column: np.ndarray  # [n]
    below: np.ndarray  # [n] bool: belongs to the lower side of its slit
    slits: dict[str, tuple[np.ndarray, np.ndarray]]  # name → (upper, lower) vertex indices from corner to corner


def make_grid() -> Grid:
    """Build the topology. Deterministic; about 15 thousand vertices."""
    cap = np.radians(np.linspace(88, 3, 22))
    face = np.concatenate(
        [
            np.linspace(CAP_Y, EYE_Y + 0.036, 9)[:-1],
            np.linspace(EYE_Y + 0.036, EYE_Y, 10)[:-1],
            np.linspace(EYE_Y, EYE_Y - 0.030, 9)[:-1],
            np.linspace(EYE_Y - 0.030, MOUTH_Y + 0.030, 17)[:-1],
            np.linspace(MOUTH_Y + 0.030, MOUTH_Y, 11)[:-1],
            np.linspace(MOUTH_Y, MOUTH_Y - 0.033, 12)[:-1],
            np.linspace(MOUTH_Y - 0.033, THROAT_Y, 5),
        ]
    )
    throat = np.radians(np.linspace(-4, -86, 20))
    heights = np.concatenate([np.full(len(cap), CAP_Y), face, np.full(len(throat), THROAT_Y)])
    elevations = np.concatenate([cap, np.zeros(len(face)), throat])
    half = np.concatenate([np.linspace(0, 45, 44)[:-1], np.linspace(45, 180, 34)])
    azimuths = np.radians(np.concatenate([-half[:0:-1], half])[1:])  # −180 and 180 are one column

    rows, columns = len(heights), len(azimuths)
    index = np.arange(rows * columns).reshape(rows, columns)
    upper_of = np.stack([index[:-1], np.roll(index, -1, 1)[:-1]], -1)
    lower_of = np.stack([index[1:], np.roll(index, -1, 1)[1:]], -1)
    row, column = (a.ravel() for a in np.mgrid[:rows, :columns])
    below = np.zeros(rows * columns, bool)

    slits = {}
    spans = {
        "mouth": (MOUTH_Y, -MOUTH_CORNER, MOUTH_CORNER),
        "left_eye": (EYE_Y, EYE_INNER, EYE_OUTER),
        "right_eye": (EYE_Y, -EYE_OUTER, -EYE_INNER),
    }
    for name, (y, first, last) in spans.items():
        r = int(np.flatnonzero(np.isclose(heights, y) & (elevations == 0))[0])
        degrees = np.degrees(azimuths)
        inside = np.flatnonzero((degrees > first) & (degrees < last))
        corners = index[r, [inside[0] - 1, inside[-1] + 1]]
        copies = np.arange(len(row), len(row) + len(inside))
        replace = dict(zip(index[r, inside].tolist(), copies.tolist(), strict=True))
        upper_of[r] = np.vectorize(lambda v, replace=replace: replace.get(v, v))(upper_of[r])
        row, column = np.append(row, np.full(len(inside), r)), np.append(column, inside)
        below = np.append(below, np.ones(len(inside), bool))
        slits[name] = (
            np.concatenate([corners[:1], index[r, inside], corners[1:]]),
            np.concatenate([corners[:1], copies, corners[1:]]),
        )
    a, b = upper_of[..., 0], upper_of[..., 1]
    c, d = lower_of[..., 0], lower_of[..., 1]
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    return Grid(heights, elevations, azimuths, faces.astype(np.int32), row, column, below, slits)


GRID = make_grid()


class Face:
    """The skin of one person: neutral vertices (lids and lips closed), and how motion moves them."""

    def __init__(self, person: Identity):
        self.person = person
        self.eye_x, self.eye_y = skull.eye_center(person)
        self.mouth_y = MOUTH_Y - 0.006 * person.mouth_height
        self.mouth_half = MOUTH_HALF_WIDTH * (1 + 0.09 * person.mouth_width)
        self.eye_half = EYE_HALF_WIDTH * (1 + 0.07 * person.eye_size)
        self.eyeball_radius = EYEBALL_RADIUS * (1 + 0.04 * person.eye_size)
        self.brow_y = self.eye_y + 0.052
        self.lip_upper = 0.0165 * (1 + 0.18 * person.lip_thickness)
        self.lip_lower = 0.0195 * (1 + 0.18 * person.lip_thickness)
        self.neutral = self._neutral()
        self._weights()

    # -- neutral shape ------------------------------------------------------------------------------------------------

    def _neutral(self) -> np.ndarray:
        heights, azimuths = self._placed()
        elevation = GRID.elevations[GRID.row]
        origins = np.stack([0 * heights, heights, np.full_like(heights, AXIS_Z)], -1)
        directions = np.stack(
            [np.cos(elevation) * np.sin(azimuths), np.sin(elevation), np.cos(elevation) * np.cos(azimuths)], -1
        )
        solid = skull.ellipsoids(self.person)
        points = origins + skull.cast(origins, directions, solid)[:, None] * directions
        self.eyeball_z = self._eyeball_depth(solid)
        return self._with_lips(points)

    def _placed(self) -> tuple[np.ndarray, np.ndarray]:
        """Height and azimuth of every vertex's ray, after moving eyes and mouth to where the person has them."""
        heights = GRID.heights[GRID.row]
        heights = np.interp(
            heights,
            [THROAT_Y, MOUTH_Y, -0.03, EYE_Y, CAP_Y],
            [THROAT_Y, self.mouth_y, -0.03, self.eye_y, CAP_Y],
        )
        azimuth = GRID.azimuths[GRID.column]
        degrees, sign = np.degrees(np.abs(azimuth)), np.sign(azimuth)
        # Rays leave the axis at z = −0.10; lids lie about 0.145, the mouth's corners about 0.20 in front of it.
        eye = [np.degrees(np.arctan2(self.eye_x + s * self.eye_half, 0.145)) for s in (-1, 1)]
        mouth = np.degrees(np.arctan2(self.mouth_half, 0.198))
        to_eye = np.interp(degrees, [0, EYE_INNER, EYE_OUTER, 70, 180], [0, eye[0], eye[1], 70, 180]) - degrees
        to_mouth = np.interp(degrees, [0, MOUTH_CORNER, 70, 180], [0, mouth, 70, 180]) - degrees
        level = GRID.elevations[GRID.row] == 0
        near_eye, near_mouth = bell(heights - self.eye_y, 0.06), bell(heights - self.mouth_y, 0.06)
        degrees = degrees + level * (near_eye * to_eye + near_mouth * to_mouth)
        return heights, sign * np.radians(degrees)

    def _eyeball_depth(self, solid: np.ndarray) -> float:
        """z of the eyeballs' centres: the ball's front lies a little before the socket's middle."""
        origin = np.array([[self.eye_x, self.eye_y, -0.02]])
        front = -0.02 + skull.cast(origin, np.array([[0.0, 0.0, 1.0]]), solid)[0]
        return float(front - self.eyeball_radius + 0.007)

    def _with_lips(self, points: np.ndarray) -> np.ndarray:
        x, y = points[:, 0], points[:, 1]
        s = x / self.mouth_half
        rise = y - self.mouth_y
        front = (points[:, 2] > 0.03) * np.sqrt(np.clip(1 - s**2, 0, 1))
        upper = np.clip(rise / self.lip_upper, 0, 1)
        lower = np.clip(-rise / self.lip_lower, 0, 1)
        full = 0.85 + 0.15 * self.person.lip_thickness / 2
        swell = np.where(rise >= 0, 0.0065 * np.sin(np.pi * upper) ** 0.8, 0.0085 * np.sin(np.pi * lower) ** 0.8)
        crease = -0.005 * bell(rise, 0.004)
        philtrum = -0.003 * bell(x, 0.008) * bell(rise - self.lip_upper - 0.014, 0.012)
        chin_fold = -0.004 * bell(rise + self.lip_lower + 0.014, 0.010) * bell(x, 0.04)
        moved = points.copy()
        moved[:, 2] += front * (full * swell + crease + philtrum + chin_fold)
        return moved

    # -- motion -------------------------------------------------------------------------------------------------------

    def _weights(self) -> None:
        x, y, z = self.neutral.T
        azimuth = np.abs(np.degrees(GRID.azimuths[GRID.column]))
        front = smoothstep(115, 60, azimuth)
        s = x / self.mouth_half
        inside = np.clip(1 - s**2, 0, 1) * (z > 0)
        cheek = smoothstep(self.mouth_y + 0.055, self.mouth_y - 0.065, y)
        # One lip stays with the skull, the other goes with the jaw; at the corners both move half the way.
        lower_side = y < self.mouth_y - 1e-5
        lower_side[GRID.slits["mouth"][1][1:-1]] = True
        self._jaw = np.where(lower_side, cheek + inside * (1 - cheek), cheek * (1 - inside))
        self._jaw *= front * smoothstep(-0.12, 0.0, z)
        self._lower_side = lower_side
        self._near_mouth = bell(y - self.mouth_y, 0.042) * front
        taper = np.clip(np.abs(x) - self.mouth_half, 0, None)
        self._pull = np.clip(s, -1, 1) * bell(taper, 0.035)
        self._lip_profile = np.sqrt(np.clip(1 - s**2, 0, 1)) * (z > 0)
        self._brow = bell(y - self.brow_y - 0.004, 0.028) * smoothstep(0.17, 0.11, np.abs(x)) * (z > -0.02)

    def vertices(self, motion: Motion) -> np.ndarray:
        """Where the skin's vertices are while the face does ``motion``, [n, 3]."""
        moved = self.neutral.copy()
        self._move_brows(moved, motion)
        self._move_lids(moved, motion)
        self._move_lips(moved, motion)
        moved = self.swing_jaw(moved, motion, self._jaw)
        return moved

    def swing_jaw(self, points: np.ndarray, motion: Motion, weight: np.ndarray | float = 1.0) -> np.ndarray:
        """Rotate points about the jaw's hinge by their weight times the jaw's angle."""
        angle = JAW_ANGLE * motion.jaw * np.broadcast_to(weight, len(points))
        y, z = points[:, 1] - JAW_HINGE[1], points[:, 2] - JAW_HINGE[2]
        c, s = np.cos(angle), np.sin(angle)
        return np.stack([points[:, 0], JAW_HINGE[1] + c * y - s * z, JAW_HINGE[2] + s * y + c * z], -1)

    def _move_brows(self, p: np.ndarray, motion: Motion) -> None:
        p[:, 1] += 0.013 * motion.brow * self._brow

    def _move_lids(self, p: np.ndarray, motion: Motion) -> None:
        for side in (1.0, -1.0):
            x0, y0 = side * self.eye_x, self.eye_y
            dx, dy = self.neutral[:, 0] - x0, self.neutral[:, 1] - y0
            near = (np.abs(dx) < 1.6 * self.eye_half) & (np.abs(dy) < 0.06) & (self.neutral[:, 2] > 0)
            profile = np.clip(1 - (dx / self.eye_half) ** 2, 0, 1) ** 0.75 * near
            scale = self.eye_half / EYE_HALF_WIDTH
            up = 0.0205 * scale * (1 - motion.upper_lid) * (1 + 0.15 * motion.brow)
            down = 0.0085 * scale * (1 - 0.55 * motion.lower_lid) * (1 - motion.upper_lid)
            below = (dy < -1e-6) | (GRID.below & (np.abs(dy) < 1e-3))  # no mouth is that near
            p[:, 1] += np.where(below, -down * bell(dy, 0.018), up * bell(dy, 0.024)) * profile
            # Lids slide over the ball.
            bx, by = p[:, 0] - x0, p[:, 1] - y0
            inside = self.eyeball_radius**2 - bx**2 - by**2
            cover = self.eyeball_z + np.sqrt(np.clip(inside, 0, None)) + 0.0030
            p[:, 2] = np.where(near & (inside > 0), np.maximum(p[:, 2], cover), p[:, 2])

    def _move_lips(self, p: np.ndarray, motion: Motion) -> None:
        width, rounding = motion.lip_width, motion.lip_round
        near, pull = self._near_mouth, self._pull
        p[:, 0] += near * pull * (0.013 * width - 0.024 * rounding) * self.mouth_half / MOUTH_HALF_WIDTH
        p[:, 1] += near * 0.005 * width * pull**2
        p[:, 2] += near * (0.020 * rounding * bell(self.neutral[:, 0], 0.055) - 0.007 * max(width, 0) * np.abs(pull))
        part = 0.0045 * rounding + 0.003 * motion.jaw
        tight = bell(self.neutral[:, 1] - self.mouth_y, 0.022)
        p[:, 1] += np.where(self._lower_side, -part, part) * self._lip_profile * tight
