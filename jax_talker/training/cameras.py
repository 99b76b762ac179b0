"""Small corrections of cameras: the head moved in the world, as every label of a clip then sees it.

A motion [6] is a rotation about ``geometry.PIVOT`` (behind the eyes) and a shift, both in the head's own axes: the
first three numbers are 2 tan(angle/2) times the axis (radians while small), the others world units.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker import geometry

TURN_UNIT, SHIFT_UNIT = 0.05, 0.02  # 3° and 8 mm: how far labels fitted to landmarks are expected to be off


def move_labels(label: Float[Array, "B 25"], motion: Float[Array, "*b 6"]) -> Float[Array, "B 25"]:
    """Labels under which a still head looks as the head moved by ``motion`` ([6] or [B, 6]) does under ``label``."""
    world_from_cam, _ = geometry.split_label(label)
    motion = jnp.broadcast_to(motion, (len(label), 6))
    turn = geometry.rotation_from_quat(jnp.concatenate([jnp.ones((len(label), 1)), motion[:, :3] / 2], 1))
    pivot = jnp.broadcast_to(jnp.asarray(geometry.PIVOT, label.dtype), (len(label), 3))
    back = pivot - jnp.einsum("bji,bj->bi", turn, pivot + motion[:, 3:], precision="highest")
    still_from_moved = jnp.concatenate([jnp.swapaxes(turn, 1, 2), back[..., None]], -1)  # [B, 3, 4]
    bottom = jnp.broadcast_to(jnp.array([[[0.0, 0.0, 0.0, 1.0]]]), (len(label), 1, 4))
    moved = jnp.concatenate([still_from_moved, bottom], 1)
    world_from_cam = jnp.einsum("bij,bjk->bik", moved, world_from_cam, precision="highest")
    return jnp.concatenate([world_from_cam.reshape(len(label), 16), label[:, 16:]], 1)


def size_of(motion: Float[Array, "*b 6"]) -> Float[Array, ""]:
    """Mean squared size of motions, in units of what is expected."""
    units = jnp.array([TURN_UNIT] * 3 + [SHIFT_UNIT] * 3)
    return ((motion / jnp.broadcast_to(units, motion.shape)) ** 2).mean()
