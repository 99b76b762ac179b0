"""The head's solid shape: a smooth union of ellipsoids, and where rays from its centre leave it.

The head's own frame: y up, the face looks along +z, 1 unit ≈ 35 cm; ``to_world`` places it in EG3D's world.
"""

from typing import no_type_check

import numpy as np

from jax_talker.procedural.compiled import njit
from jax_talker.procedural.identity import Identity

# njit functions carry @no_type_check because tests wrap every annotated function, which numba cannot compile.
HEAD_SCALE = 0.94  # together these bring eyes, nose and mouth to jax_talker.geometry.FACE_ANCHORS
HEAD_ORIGIN = np.array([0.0, -0.0015, 0.124])
CENTER = np.array([0.0, 0.02, -0.10])  # every ray to the head's surface starts here; the head is star-shaped around it


def ellipsoids(person: Identity) -> np.ndarray:
    """The primitives of a person's head, [M, 8]: centre (3), radii (3), rotation about x (radians), blend width.

    A negative blend width carves the ellipsoid out.
    """
    p = person
    width = 1 + 0.055 * p.head_width
    height = 1 + 0.045 * p.head_height
    depth = 1 + 0.05 * p.head_depth
    jaw = 1 + 0.09 * p.jaw_width
    chin_y = -0.180 - 0.010 * p.chin_length
    chin_z = 0.056 + 0.012 * p.chin_forward
    eye_x, eye_y = eye_center(p)
    nose_y = -0.006 - 0.010 * p.nose_length
    nose_z = 0.137 + 0.014 * p.nose_forward
    nose_w = 1 + 0.16 * p.nose_width
    one = [
        # cranium, forehead, face block, chin
        (0.0, 0.095, -0.130, 0.183 * width, 0.190 * height, 0.225 * depth, 0.0, 0.06),
        (0.0, 0.150, -0.040, 0.135 * width, 0.105 * height, 0.125, 0.0, 0.06),
        (0.0, -0.050, -0.045, 0.142 * width * (0.5 + 0.5 * jaw), 0.165, 0.142, -0.10, 0.06),
        (0.0, chin_y, chin_z, 0.060 * (0.6 + 0.4 * jaw), 0.040, 0.044, 0.0, 0.08),
        # muzzle: what the lips lie on
        (0.0, -0.100, 0.064, 0.068, 0.066, 0.048, 0.0, 0.05),
        # nose: bridge, tip
        (0.0, 0.5 * (eye_y + nose_y) + 0.006, 0.5 * (0.088 + nose_z), 0.016 * nose_w, 0.064, 0.022, -0.48, 0.028),
        (0.0, nose_y, nose_z, 0.021 * nose_w, 0.019, 0.024, 0.0, 0.020),
    ]
    pair = [
        # jaw corner, cheekbone, brow ridge, wing of the nose, eye socket (carved)
        (0.088 * width * jaw, -0.100, -0.062, 0.045, 0.070, 0.055, -0.5, 0.06),
        (0.092 * width, 0.010, 0.030, 0.050 + 0.006 * p.cheeks, 0.045, 0.048 + 0.006 * p.cheeks, 0.0, 0.06),
        (0.062, eye_y + 0.050, 0.052 + 0.005 * p.brow_ridge, 0.060, 0.018, 0.032, 0.0, 0.04),
        (0.023 * nose_w, nose_y - 0.008, nose_z - 0.024, 0.014 * nose_w, 0.013, 0.020, 0.0, 0.014),
        (eye_x, eye_y, 0.098, 0.036, 0.024, 0.030, 0.0, -0.035),
    ]
    mirrored = [(s * x, *rest) for x, *rest in pair for s in (1.0, -1.0)]
    return np.array(one + mirrored)


def to_world(points: np.ndarray) -> np.ndarray:
    """Points [n, 3] of the head's frame in EG3D's world."""
    return HEAD_SCALE * points + HEAD_ORIGIN


def eye_center(person: Identity) -> tuple[float, float]:
    """x (of the left eye, positive) and y of the closed lids' line."""
    return 0.080 + 0.005 * person.eye_spacing, 0.080 + 0.006 * person.eye_height


@njit(fastmath=True)
@no_type_check
def distance(x: float, y: float, z: float, shapes: np.ndarray) -> float:
    """Approximate signed distance to the smooth union; negative inside."""
    total = 1e9
    for m in range(shapes.shape[0]):
        px, py, pz = x - shapes[m, 0], y - shapes[m, 1], z - shapes[m, 2]
        angle = shapes[m, 6]
        if angle != 0.0:
            c, s = np.cos(angle), np.sin(angle)
            py, pz = c * py + s * pz, -s * py + c * pz
        rx, ry, rz = shapes[m, 3], shapes[m, 4], shapes[m, 5]
        k0 = np.sqrt((px / rx) ** 2 + (py / ry) ** 2 + (pz / rz) ** 2)
        k1 = np.sqrt((px / (rx * rx)) ** 2 + (py / (ry * ry)) ** 2 + (pz / (rz * rz)) ** 2)
        d = k0 * (k0 - 1.0) / max(k1, 1e-9)
        blend = shapes[m, 7]
        if blend > 0:
            h = max(blend - abs(total - d), 0.0) / blend
            total = min(total, d) - 0.25 * h * h * blend
        else:
            h = max(-blend - abs(total + d), 0.0) / -blend
            total = max(total, -d) - 0.25 * h * h * blend
    return total


@njit(fastmath=True)
@no_type_check
def cast(origins: np.ndarray, directions: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """How far each ray [n, 3] from inside the solid travels until it leaves it for the last time, [n].

    Found from outside, so that a gap behind a protruding nose does not tear the surface.
    """
    out = np.empty(len(origins))
    for n in range(len(origins)):
        ox, oy, oz = origins[n]
        dx, dy, dz = directions[n]
        near, far = 0.0, 0.5
        t = 0.5
        for _ in range(60):
            d = distance(ox + t * dx, oy + t * dy, oz + t * dz, shapes)
            if d < 0.0:
                near = t
                break
            far = t
            t -= max(0.7 * d, 1e-3)
        for _ in range(12):
            t = 0.5 * (near + far)
            if distance(ox + t * dx, oy + t * dy, oz + t * dz, shapes) < 0.0:
                near = t
            else:
                far = t
        out[n] = 0.5 * (near + far)
    return out
