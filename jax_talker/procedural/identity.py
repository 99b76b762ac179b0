"""Who a procedural head is and what its face does: two named parameter vectors.

Every parameter is standard normal (identity) or bounded (motion), so that heads can be drawn at random, listed, edited
by name, and mapped to and from the latent of a generator that was trained on them.
"""

from dataclasses import astuple, dataclass, fields

import numpy as np
from scipy.special import ndtr


@dataclass(frozen=True)
class Identity:
    """Shape and colours of a head, in standard deviations around an average head; |value| ≤ 2.5 keeps it human."""

    head_width: float = 0.0
    head_height: float = 0.0
    head_depth: float = 0.0
    jaw_width: float = 0.0
    chin_length: float = 0.0
    chin_forward: float = 0.0
    cheeks: float = 0.0
    brow_ridge: float = 0.0
    eye_size: float = 0.0
    eye_spacing: float = 0.0
    eye_height: float = 0.0
    nose_length: float = 0.0
    nose_width: float = 0.0
    nose_forward: float = 0.0
    mouth_width: float = 0.0
    mouth_height: float = 0.0
    lip_thickness: float = 0.0
    ear_size: float = 0.0
    neck_width: float = 0.0
    skin_tone: float = 0.0  # light … dark
    skin_warmth: float = 0.0
    lip_color: float = 0.0
    eye_color: float = 0.0  # brown … green … blue
    brow_weight: float = 0.0
    beard: float = 0.0
    hair_tone: float = 0.0  # dark … blond … white
    hair_warmth: float = 0.0
    hair_length: float = 0.0
    hair_volume: float = 0.0
    hair_line: float = 0.0  # fringe … receding


@dataclass(frozen=True)
class Motion:
    """What the face does in one frame. All zero is a neutral face: eyes open, lips closed."""

    jaw: float = 0.0  # 0 closed … 1 wide open
    lip_width: float = 0.0  # −1 drawn in … 1 spread
    lip_round: float = 0.0  # 0 … 1 rounded and pushed forward
    upper_lid: float = 0.0  # 0 open … 1 closed
    lower_lid: float = 0.0  # 0 … 1 raised
    brow: float = 0.0  # −1 lowered … 1 raised


IDENTITY_SIZE = len(fields(Identity))
MOTION_SIZE = len(fields(Motion))
# Mapping networks see only a latent's direction. Numbers that mean nothing let any identity and motion have one.
SLACK_SIZE = 4
Z_SIZE = IDENTITY_SIZE + MOTION_SIZE + SLACK_SIZE
LIMIT = 2.2  # standard deviations at which a parameter saturates: beyond, shapes stop being heads


def random_identity(rng: np.random.Generator) -> Identity:
    """A person at random."""
    return Identity(*np.clip(rng.standard_normal(IDENTITY_SIZE), -LIMIT, LIMIT).tolist())


def from_z(z: np.ndarray) -> tuple[Identity, Motion]:
    """The head that a GAN latent z [Z_SIZE] stands for; only its direction counts (mapping networks normalise).

    The first IDENTITY_SIZE numbers of z·√Z/|z| are the identity; the next pass through the normal distribution function
    and fill each motion's range (closed mouths and open eyes are over-represented, as in life); the rest is slack.
    """
    z = np.asarray(z, np.float64) * np.sqrt(Z_SIZE) / np.linalg.norm(z)
    identity = Identity(*np.clip(z[:IDENTITY_SIZE], -LIMIT, LIMIT).tolist())
    jaw, width, rounding, upper, lower, brow = ndtr(z[IDENTITY_SIZE:][:MOTION_SIZE]).tolist()
    motion = Motion(
        jaw=max(0.0, 1.2 * jaw - 0.2),
        lip_width=2 * width - 1,
        lip_round=max(0.0, 1.6 * rounding - 0.6),
        upper_lid=max(0.0, 1.5 * upper - 0.5),
        lower_lid=max(0.0, 1.5 * lower - 0.5),
        brow=2 * brow - 1,
    )
    return identity, motion


def with_other_motion(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A latent of the same identity as ``z`` [Z_SIZE] whose face does something else."""
    z = np.asarray(z, np.float64) * np.sqrt(Z_SIZE) / np.linalg.norm(z)
    left = 0.0
    while left <= 0:
        motion = rng.standard_normal(MOTION_SIZE)
        left = Z_SIZE - (z[:IDENTITY_SIZE] ** 2).sum() - (motion**2).sum()
    slack = rng.standard_normal(SLACK_SIZE)
    return np.concatenate([z[:IDENTITY_SIZE], motion, slack * np.sqrt(left) / np.linalg.norm(slack)])


def vector(parameters: Identity | Motion) -> np.ndarray:
    """The parameters as an array, in the order of their definition."""
    return np.array(astuple(parameters))
