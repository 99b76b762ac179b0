"""Hair as a shell of strands: from the crown over the skull to the hair line, and down behind where it is long."""

import numpy as np

from jax_talker.procedural import colors, skull
from jax_talker.procedural.face import bell, smoothstep
from jax_talker.procedural.identity import Identity
from jax_talker.procedural.parts import grid_faces

ROWS, COLUMNS = 44, 120
AXIS = np.array([0.0, 0.095, -0.115])  # strands leave from above this point; level with it they begin to hang


def shell(person: Identity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces and albedos. Row 0 is the crown; columns run around the head."""
    azimuth = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
    side = np.abs(np.degrees(azimuth))  # 0 front … 180 back
    end_polar, end_height = _ends(person, side)
    # The strand's path: an arc over the skull (polar angle from straight up), then a fall.
    t = np.linspace(0, 1, ROWS)[:, None]
    arc = np.radians(np.minimum(end_polar, 90.0))
    fall = np.maximum(AXIS[1] - end_height, 0) * (end_polar >= 90.0)
    length_arc = arc * 0.21
    s = t * (length_arc + fall)
    polar = np.minimum(s / 0.21, arc)
    drop = np.maximum(s - length_arc, 0)

    solid = skull.ellipsoids(person)[:3]  # cranium, forehead, face: no nose, no jaw corners
    directions = np.stack(
        [np.sin(polar) * np.sin(azimuth), np.cos(polar) + 0 * azimuth, np.sin(polar) * np.cos(azimuth)], -1
    ).reshape(-1, 3)
    radius = skull.cast(np.broadcast_to(AXIS, directions.shape).copy(), directions, solid).reshape(ROWS, COLUMNS)
    # Where strands fall, level rays tell how wide the head is: short hair keeps to it, long hair hangs from its widest.
    level = np.broadcast_to(np.stack([np.sin(azimuth), 0 * azimuth, np.cos(azimuth)], -1), (ROWS, COLUMNS, 3))
    origins = AXIS - np.minimum(drop, 0.22)[..., None] * np.array([0, 1.0, 0])
    close = skull.cast(origins.reshape(-1, 3), level.reshape(-1, 3).copy(), solid).reshape(ROWS, COLUMNS)
    long = _long(person)
    wide = long * np.maximum.accumulate(np.where(drop > 0, close, 0), 0) + (1 - long) * close

    volume = 0.028 * np.exp(0.5 * person.hair_volume)
    thin = 1 - 0.75 * smoothstep(0.72, 1.0, t) * (end_polar < 90) - 0.45 * smoothstep(0.85, 1.0, t)
    strands = 0.10 * np.cos(17 * azimuth + 5 * np.sin(3 * azimuth)) + 0.07 * np.cos(41 * azimuth + 2)
    offset = volume * np.clip(thin + strands * smoothstep(0.1, 0.5, t), 0.08, None)
    points = AXIS + directions.reshape(ROWS, COLUMNS, 3) * (radius + offset)[..., None]
    hanging = drop > 0
    curl = long * (0.10 * np.clip(drop, 0, 0.4) + 0.5 * volume * np.sin(np.pi * np.clip(drop / 0.35, 0, 1)))
    out = (wide + offset + curl * np.where(side > 60, 1.0, 0.3))[..., None] * level
    points = np.where(hanging[..., None], AXIS + out - drop[..., None] * np.array([0, 1.0, 0]), points)

    tint = 1 + 0.16 * np.cos(23 * azimuth + 6 * np.sin(2 * azimuth)) + 0.10 * np.cos(57 * azimuth + 1)
    light = tint * (1 - 0.25 * smoothstep(0.5, 1.0, t)) * (1 - 0.25 * bell(t, 0.08))
    albedo = np.clip(colors.hair(person) * light[..., None], 0, 1)
    return points.reshape(-1, 3), grid_faces(ROWS, COLUMNS, closed=True, flip=True), albedo.reshape(-1, 3)


def _long(person: Identity) -> float:
    """0 for hair that ends above the collar … 1 for hair on the shoulders."""
    return float(smoothstep(-0.3, 2.0, person.hair_length))


def _ends(person: Identity, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where strands end around the head: polar angle over the forehead, height at the sides and behind."""
    forehead = 44 - 7 * person.hair_line  # degrees from straight up, at the front
    temple = smoothstep(38, 72, side)
    polar = forehead + temple * (90.1 - forehead)
    long = _long(person)
    ear = 0.093 - 0.40 * long + 0.03 * bell(side - 74, 8)
    nape = -0.075 - 0.28 * long
    behind = smoothstep(96, 122, side)
    height = ear + behind * (nape - ear)
    return polar, height
