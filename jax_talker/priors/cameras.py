"""What the priors' cameras share."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def invert_affine(target_from_source: Float[Array, "*b 4 4"]) -> Float[Array, "*b 4 4"]:
    """Inverse of [A t; 0 1] for any regular A: both original programs invert label matrices in full generality.

    Labels fitted to real images are rotations only up to rounding, so A⁻¹ is not taken to be Aᵀ.
    """
    a, t = target_from_source[..., :3, :3], target_from_source[..., :3, 3]
    columns = [a[..., :, i] for i in range(3)]
    rows = [jnp.cross(columns[i - 2], columns[i - 1]) for i in range(3)]
    adjugate = jnp.stack(rows, -2)
    inverse = adjugate / jnp.sum(rows[0] * columns[0], -1)[..., None, None]
    shift = -jnp.sum(inverse * t[..., None, :], -1)
    return jnp.concatenate([jnp.concatenate([inverse, shift[..., None]], -1), target_from_source[..., 3:, :]], -2)
