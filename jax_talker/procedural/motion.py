"""What a head does besides speaking and blinking: brows and turning, which do not depend on the sound."""

import numpy as np
from scipy.spatial.transform import Rotation

from jax_talker.data.clip.clip import FPS


def brows(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Brow height in every frame, [frames], −1 lowered … 1 raised; at rest between gestures."""
    t = np.arange(frames) / FPS
    height = np.zeros(frames)
    at = rng.uniform(0.3, 2.0)
    while at < frames / FPS:
        amount = rng.uniform(0.5, 1.0) * rng.choice([1.0, 1.0, -0.8])
        hold, ramp = rng.uniform(0.2, 0.8), rng.uniform(0.12, 0.25)
        rise = np.clip((t - at) / ramp, 0, 1) * np.clip(1 - (t - at - ramp - hold) / ramp, 0, 1)
        height += amount * rise * rise * (3 - 2 * rise)
        at += hold + 2 * ramp + rng.exponential(1.8)
    return np.clip(height, -1, 1)


def turning(frames: int, rng: np.random.Generator, *, amount: float = 1.0) -> np.ndarray:
    """Head angles in every frame, [frames, 3] degrees: yaw to the person's left, pitch up, roll; slow and smooth."""
    t = np.arange(frames) / FPS
    angles = []
    for largest in (14.0, 7.0, 4.0):
        periods, phases = rng.uniform(2.5, 9.0, 3), rng.uniform(0, 2 * np.pi, 3)
        wave = sum(np.sin(2 * np.pi * t / p + f) for p, f in zip(periods, phases, strict=True))
        angles.append(amount * largest * wave / 2.2)
    return np.stack(angles, -1)


def world_from_head(angles: np.ndarray) -> np.ndarray:
    """Rigid motions [frames, 4, 4] of a head that turns about the world's origin by ``turning`` angles."""
    out = np.tile(np.eye(4), (len(angles), 1, 1))
    out[:, :3, :3] = Rotation.from_euler("YXZ", angles * np.array([1, -1, 1]), degrees=True).as_matrix()
    return out
