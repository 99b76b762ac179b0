"""The 68 landmarks of iBUG's scheme as vertices of the procedural face, in that scheme's order."""

import numpy as np

from jax_talker.procedural.face import GRID, Face
from jax_talker.procedural.identity import Identity


def _vertices() -> np.ndarray:
    """Indices [68], found once on the average head; every head shares the topology."""
    face = Face(Identity())
    points = face.neutral
    azimuth = np.degrees(GRID.azimuths[GRID.column])
    upper_half = ~GRID.below

    def at(x: float, y: float) -> int:
        """The front vertex seen at (x, y)."""
        far = (points[:, 2] < 0) | ~upper_half
        return int(np.argmin(np.hypot(points[:, 0] - x, points[:, 1] - y) + far))

    def around(degrees: float, y: float) -> int:
        """The vertex of the jaw's line at an azimuth; rows that run under the chin do not count."""
        under = np.degrees(GRID.elevations[GRID.row]) < -22
        return int(np.argmin(np.abs(azimuth - degrees) * 0.003 + np.abs(points[:, 1] - y) + under))

    def along(slit: str, lower: bool, fraction: float) -> int:
        """A vertex of a slit; 0 is the corner at the person's right."""
        indices = GRID.slits[slit][int(lower)]
        return int(indices[round(fraction * (len(indices) - 1))])

    # The picture's left is the person's right: negative x and azimuth come first.
    jaw = [(88, 0.050), (86, 0.010), (83, -0.030), (79, -0.070), (72, -0.112), (60, -0.150), (44, -0.182), (22, -0.205)]
    right_jaw = [around(-a, y) for a, y in jaw]
    left_jaw = [around(a, y) for a, y in reversed(jaw)]
    out = [*right_jaw, around(0, -0.212), *left_jaw]

    brow_x = face.eye_x - 0.034 + 0.082 * np.linspace(0, 1, 5)
    brow_y = face.brow_y + 0.012 * np.sin(np.pi * np.linspace(0, 1, 5) * 0.8)
    out += [at(-x, y) for x, y in zip(brow_x[::-1], brow_y[::-1], strict=True)]
    out += [at(x, y) for x, y in zip(brow_x, brow_y, strict=True)]

    out += [at(0, y) for y in np.linspace(face.eye_y, -0.004, 4)]
    out += [at(x, -0.027) for x in (-0.024, -0.012, 0.0, 0.012, 0.024)]

    for slit in ("right_eye", "left_eye"):
        out += [along(slit, False, f) for f in (0, 0.33, 0.67, 1)]
        out += [along(slit, True, f) for f in (0.67, 0.33)]

    half, y0 = face.mouth_half, face.mouth_y
    lip = [along("mouth", False, 0)]
    lip += [
        at(f * half, y0 + face.lip_upper * g) for f, g in ((-0.62, 0.75), (-0.25, 1), (0, 0.9), (0.25, 1), (0.62, 0.75))
    ]
    lip += [along("mouth", False, 1)]
    lip += [
        at(f * half, y0 - face.lip_lower * g) for f, g in ((0.62, 0.75), (0.3, 1), (0, 1), (-0.3, 1), (-0.62, 0.75))
    ]
    lip += [along("mouth", False, f) for f in (0.1, 0.33, 0.5, 0.67, 0.9)]
    lip += [along("mouth", True, f) for f in (0.67, 0.5, 0.33)]
    return np.array(out + lip)


VERTICES = _vertices()
