"""Soft light from all around, with the shadows that the head throws on itself.

A light is a radiance for each of DIRECTIONS directions. What each vertex sees of them is found once per shape by depth
maps (precomputed radiance transfer, Sloan et al. 2002, with visibility kept per direction), so every light after that
costs one weighted sum. Light is fixed to the head and highlights are those that a viewer in front sees: all cameras see
the same colours, as a generator without view dependence has to learn them.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np

from jax_talker.people.raster import reach
from jax_talker.procedural.compiled import njit

DIRECTIONS = 48
MAP = 128  # pixels of a depth map's side
REACH = 0.24  # metres: half the width that a depth map sees
WRAP = np.array([0.32, 0.20, 0.15], np.float32)  # light that skin carries past the terminator, R, G, B
LOBES = 3  # key, fill, rim


def directions() -> np.ndarray:
    """Unit vectors [DIRECTIONS, 3], evenly spread (Fibonacci's spiral)."""
    k = np.arange(DIRECTIONS) + 0.5
    y, turn = 1 - 2 * k / DIRECTIONS, np.pi * (3 - np.sqrt(5)) * k
    across = np.sqrt(1 - y * y)
    return np.stack([across * np.cos(turn), y, across * np.sin(turn)], -1).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """Spherical Gaussians over a sky: colour_i · exp(sharpness_i (d · axis_i − 1)), linear RGB."""

    axes: np.ndarray  # [LOBES, 3] unit vectors towards the light, head coordinates
    sharpness: np.ndarray  # [LOBES]
    colors: np.ndarray  # [LOBES, 3]
    sky: np.ndarray  # [3] from above
    ground: np.ndarray  # [3] from below

    def radiance(self, towards: np.ndarray) -> np.ndarray:
        """[n, 3] from directions [n, 3]."""
        up = 0.5 + 0.5 * towards[:, 1:2]
        out = up * self.sky + (1 - up) * self.ground
        for axis, sharp, color in zip(self.axes, self.sharpness, self.colors, strict=True):
            out = out + np.exp(sharp * (towards @ axis - 1))[:, None] * color
        return out.astype(np.float32)

    def vector(self) -> np.ndarray:
        """All its numbers, [27]: what a generator may be told."""
        return np.concatenate([self.axes.ravel(), self.sharpness, self.colors.ravel(), self.sky, self.ground])


def _axis(yaw: float, pitch: float) -> np.ndarray:
    yaw, pitch = np.radians(yaw), np.radians(pitch)
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def _light(
    key: tuple[float, float],
    *,
    strength: float,
    sharp: float,
    fill: float,
    rim: float,
    sky: float,
    tints: np.ndarray,
    exposure: float,
) -> Light:
    """A key light from (yaw, pitch), a fill from the other side, a rim from behind, sky and ground."""
    yaw, pitch = key
    axes = np.stack([_axis(yaw, pitch), _axis(-0.8 * yaw - 15, 5), _axis(yaw + 180, 35)])
    amounts = np.array([strength, fill, rim])
    key_tint, other_tint = np.exp(tints[0]), np.exp(tints[1])
    colors = amounts[:, None] * np.stack([key_tint, other_tint, other_tint])
    sharpness = np.array([sharp, 2.0, 6.0])
    light = Light(axes, sharpness, colors, sky * other_tint, 0.45 * sky * np.exp(tints[2]))
    # A photographer exposes for the face: what falls on it from all that is in front comes to ``exposure``.
    towards = directions()
    facing = np.maximum(towards @ np.array([0, 0.1, 0.995], np.float32), 0)
    scale = exposure / ((light.radiance(towards).mean(1) * facing).sum() / facing.sum())
    return Light(axes, sharpness, scale * light.colors, scale * light.sky, scale * light.ground)


def studio() -> Light:
    """The light of comparisons: large and soft, from above the camera's left."""
    return _light((25, 28), strength=1.8, sharp=5.0, fill=0.45, rim=0.5, sky=0.5, tints=np.zeros((3, 3)), exposure=1.02)


def random_light(rng: np.random.Generator) -> Light:
    """Mostly soft light from the front and above, sometimes from a side; tinted a little."""
    tints = rng.normal(0, 0.07, 3)[:, None] * np.array([1.0, 0.0, -1.0]) + rng.normal(0, 0.02, (3, 3))
    contrast = rng.beta(2.0, 2.5)
    return _light(
        (float(rng.normal(0, 38)), float(np.clip(rng.normal(28, 16), -15, 70))),
        strength=float(0.8 + 2.2 * contrast),
        sharp=float(rng.uniform(2.5, 10)),
        fill=float(rng.uniform(0.1, 0.7)),
        rim=float(rng.uniform(0, 1.0)),
        sky=float((0.80 - 0.45 * contrast) * rng.uniform(0.85, 1.2)),
        tints=tints,
        exposure=float(0.98 * np.exp(rng.normal(0, 0.17))),
    )


# ---------------------------------------------------------------------------------------------------------------------
# What a vertex sees of the light


@njit(nogil=True, fastmath=True)
@no_type_check
def visibility(points, normals, biases, occluders, faces, towards):
    """How much of each direction [J, 3] every point [n, 3] (metres) sees, [n, J] in 0 … 1.

    Occluders are triangles [m, 3] of vertices [k, 3]. A point looks from a little outside: its bias [n] along its
    normal and towards the light.
    """
    count, ways = len(points), len(towards)
    out = np.empty((count, ways), np.float32)
    depth = np.empty((MAP, MAP), np.float32)
    flat = np.empty((len(occluders), 3), np.float32)
    per_metre = np.float32(0.5 * MAP / REACH)
    middle = np.float32(0.5 * MAP)
    for j in range(ways):
        dx, dy, dz = towards[j, 0], towards[j, 1], towards[j, 2]
        # Two axes across the direction; the depth grows towards the light.
        if abs(dy) < 0.9:
            ax, ay, az = dz, np.float32(0), -dx
        else:
            ax, ay, az = np.float32(0), dz, -dy
        length = np.sqrt(ax * ax + ay * ay + az * az)
        ax, ay, az = ax / length, ay / length, az / length
        bx, by, bz = dy * az - dz * ay, dz * ax - dx * az, dx * ay - dy * ax
        for i in range(len(occluders)):
            x, y, z = occluders[i, 0], occluders[i, 1] + np.float32(0.03), occluders[i, 2] + np.float32(0.05)
            flat[i, 0] = (x * ax + y * ay + z * az) * per_metre + middle
            flat[i, 1] = (x * bx + y * by + z * bz) * per_metre + middle
            flat[i, 2] = x * dx + y * dy + z * dz
        depth[:] = np.float32(-1e9)
        for f in range(len(faces)):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            x0, y0, x1, y1, x2, y2 = flat[a, 0], flat[a, 1], flat[b, 0], flat[b, 1], flat[c, 0], flat[c, 1]
            area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
            if abs(area) < 1e-6:
                continue
            (left, right), (top, bottom) = reach(x0, x1, x2, MAP), reach(y0, y1, y2, MAP)
            inverse = 1 / area
            for row in range(top, bottom + 1):
                y = row + np.float32(0.5)
                for col in range(left, right + 1):
                    x = col + np.float32(0.5)
                    wa = ((x1 - x) * (y2 - y) - (y1 - y) * (x2 - x)) * inverse
                    wb = ((x2 - x) * (y0 - y) - (y2 - y) * (x0 - x)) * inverse
                    wc = 1 - wa - wb
                    if min(wa, wb, wc) >= -1e-5:  # rounding leaves no crack between neighbours, as in raster.nearest
                        z = wa * flat[a, 2] + wb * flat[b, 2] + wc * flat[c, 2]
                        depth[row, col] = max(depth[row, col], z)
        for i in range(count):
            away = biases[i]
            x = points[i, 0] + away * normals[i, 0]
            y = points[i, 1] + away * normals[i, 1] + np.float32(0.03)
            z = points[i, 2] + away * normals[i, 2] + np.float32(0.05)
            u = (x * ax + y * ay + z * az) * per_metre + middle - np.float32(0.5)
            v = (x * bx + y * by + z * bz) * per_metre + middle - np.float32(0.5)
            own = x * dx + y * dy + z * dz + away
            col, row = int(np.floor(u)), int(np.floor(v))
            if col < 0 or row < 0 or col >= MAP - 1 or row >= MAP - 1:
                out[i, j] = 1
                continue
            fu, fv = u - col, v - row
            # Percentage-closer filtering: the comparison is interpolated, never the depth.
            lit = (depth[row, col] < own) * (1 - fu) * (1 - fv) + (depth[row, col + 1] < own) * fu * (1 - fv)
            lit += (depth[row + 1, col] < own) * (1 - fu) * fv + (depth[row + 1, col + 1] < own) * fu * fv
            out[i, j] = lit
    return out


@njit(nogil=True, fastmath=True)
@no_type_check
def irradiance(normals, seen, wrap, towards, radiance):
    """Light [n, 3] that falls on vertices of normals [n, 3] which see [n, J] of directions [J, 3]; under an even light
    of 1 from everywhere an open, flat surface gets 1. ``wrap`` [n]: 1 for skin, 0 for what carries no light."""
    count, ways = seen.shape
    out = np.zeros((count, 3), np.float32)
    for channel in range(3):
        for i in range(count):
            w = WRAP[channel] * wrap[i]
            total = np.float32(0)
            for j in range(ways):
                cosine = normals[i, 0] * towards[j, 0] + normals[i, 1] * towards[j, 1] + normals[i, 2] * towards[j, 2]
                if cosine > -w:
                    total += (cosine + w) * seen[i, j] * radiance[j, channel]
            # ∫ max(0, cosθ + w) dω = π (1 + w)²
            out[i, channel] = total * 4 / (ways * (1 + w) * (1 + w))
    return out
