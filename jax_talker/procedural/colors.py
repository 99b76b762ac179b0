"""Albedos of a procedural head, sRGB in [0, 1]; where each colour lies on the skin is painted here too."""

import numpy as np
from scipy.special import ndtr

from jax_talker.procedural.face import GRID, Face, bell, smoothstep
from jax_talker.procedural.identity import Identity

SKIN_TONES = np.array(
    [[0.96, 0.82, 0.74], [0.90, 0.72, 0.60], [0.78, 0.57, 0.43], [0.58, 0.39, 0.28], [0.38, 0.25, 0.18]]
)
HAIR_TONES = np.array(
    [[0.07, 0.06, 0.06], [0.20, 0.13, 0.09], [0.42, 0.28, 0.17], [0.74, 0.58, 0.36], [0.86, 0.83, 0.78]]
)
EYE_TONES = np.array(
    [[0.24, 0.13, 0.07], [0.42, 0.30, 0.15], [0.36, 0.46, 0.28], [0.35, 0.52, 0.66], [0.50, 0.60, 0.68]]
)
EYE_WHITE = np.array([0.90, 0.89, 0.87])
LASHES = np.array([0.10, 0.07, 0.06])
MOUTH_INSIDE = np.array([0.42, 0.14, 0.13])
TEETH = np.array([0.93, 0.91, 0.85])
TONGUE = np.array([0.70, 0.33, 0.32])


def _along(table: np.ndarray, value: float) -> np.ndarray:
    """A colour from a table of equally likely stops; ``value`` is standard normal."""
    position = ndtr(value) * (len(table) - 1)
    return np.array([np.interp(position, np.arange(len(table)), table[:, k]) for k in range(3)])


def skin(person: Identity) -> np.ndarray:
    """The person's skin, [3]."""
    return np.clip(
        _along(SKIN_TONES, person.skin_tone) * (1 + 0.03 * person.skin_warmth * np.array([1.0, 0.1, -1.0])), 0, 1
    )


def hair(person: Identity) -> np.ndarray:
    """The person's hair, [3]."""
    warmth = 1 + 0.08 * person.hair_warmth * np.array([1.0, 0.3, -0.8])
    return np.clip(_along(HAIR_TONES, person.hair_tone) * warmth, 0.03, 1)


def eye(person: Identity, degrees: np.ndarray, spin: np.ndarray) -> np.ndarray:
    """Albedo [*, 3] of the eyeball ``degrees`` away from the line of sight; ``spin`` runs around it."""
    iris = _along(EYE_TONES, person.eye_color) * (1 + 0.18 * np.cos(13 * spin + 0.1 * degrees))[..., None]
    iris = iris * (1 - 0.55 * smoothstep(16, 22, degrees))[..., None]
    white = smoothstep(21.5, 24, degrees)[..., None]
    pupil = smoothstep(10, 8.5, degrees)[..., None]
    glint = (bell(degrees - 12, 3.5) * bell(np.angle(np.exp(1j * (spin - 1.1))), 0.45))[..., None]
    albedo = iris * (1 - white) + EYE_WHITE * white
    albedo = albedo * (1 - pupil) + 0.03 * pupil
    return np.clip(albedo * (1 - glint) + 0.95 * glint, 0, 1)


def paint_skin(face: Face) -> np.ndarray:
    """Albedo [n, 3] of the outer head's vertices: skin, blush, lips, brows, lashes, nostrils, beard."""
    person = face.person
    x, y, z = face.neutral.T
    front = smoothstep(-0.02, 0.03, z)
    base = skin(person)
    albedo = np.broadcast_to(base, face.neutral.shape).copy()

    def blend(color: np.ndarray, weight: np.ndarray) -> None:
        albedo[:] = albedo * (1 - weight[:, None]) + color * weight[:, None]

    blush = np.clip(base * np.array([1.04, 0.82, 0.80]), 0, 1)
    for side in (1, -1):
        blend(blush, 0.5 * front * bell(x - side * 0.088, 0.045) * bell(y + 0.015, 0.04))
    blend(blush, 0.5 * front * bell(x, 0.025) * bell(y + 0.005, 0.025))
    # Shadow of beard: chin, jaws, over the upper lip.
    jaw = smoothstep(-0.055, -0.10, y) * smoothstep(100, 75, np.abs(np.degrees(GRID.azimuths[GRID.column])))
    moustache = bell(y - face.mouth_y - 0.03, 0.014) * smoothstep(0.075, 0.05, np.abs(x)) * front
    bare = 1 - bell(x, 0.035) * bell(y - face.mouth_y, 0.02)
    blend(0.5 * hair(person) + 0.2 * base, np.clip(jaw + moustache, 0, 1) * bare * 0.75 * max(0.0, person.beard) / 2.2)

    nose_y = -0.006 - 0.010 * person.nose_length
    for side in (1, -1):
        nostril = bell(x - side * 0.0125, 0.006) * bell(y - nose_y + 0.019, 0.005) * front
        blend(0.35 * base, np.clip(1.2 * nostril, 0, 0.9))

    s = np.clip(np.abs(x) / face.mouth_half, 0, 1)
    bow = (1 - 0.18 * bell(x, 0.007)) * np.sqrt(1 - s**2)
    rise = y - face.mouth_y
    lip = np.where(
        rise >= 0,
        smoothstep(1.12, 0.92, rise / np.maximum(face.lip_upper * bow, 1e-5)),
        smoothstep(1.10, 0.90, -rise / np.maximum(face.lip_lower * np.sqrt(1 - s**2), 1e-5)),
    )
    rose = np.clip(base * np.array([0.92, 0.56, 0.56]) * (1 + 0.06 * person.lip_color * np.array([1, -1.2, -1])), 0, 1)
    blend(rose, lip * (s < 0.995) * front)
    blend(0.45 * rose, 0.8 * bell(rise, 0.0022) * smoothstep(1.08, 0.98, np.abs(x) / face.mouth_half) * front)

    hairs = hair(person) * 0.75
    for side in (1, -1):
        along = (side * x - (face.eye_x - 0.034)) / 0.082  # 0 inner … 1 outer end
        arch = face.brow_y + 0.012 * np.sin(np.pi * np.clip(along, 0, 1) * 0.8) - 0.004
        thick = 0.0085 * (1 + 0.22 * person.brow_weight) * (1 - 0.45 * np.clip(along, 0, 1))
        brow = (
            smoothstep(1.25, 0.75, np.abs(y - arch) / thick)
            * smoothstep(-0.06, 0.06, along)
            * smoothstep(1.05, 0.9, along)
        )
        blend(hairs, 0.9 * brow * front)
        socket = bell(x - side * face.eye_x, 0.04) * bell(y - face.eye_y - 0.012, 0.02)
        blend(0.80 * base, 0.35 * socket * front)
        edge = smoothstep(1.05, 0.95, np.abs(x - side * face.eye_x) / face.eye_half)
        lid = np.where(y >= face.eye_y - 1e-6, bell(y - face.eye_y, 0.0032), 0.55 * bell(y - face.eye_y, 0.0025))
        blend(LASHES, lid * edge * front)
    return albedo
