"""Real spherical harmonics as 3D Gaussian Splatting orders and signs them: the rasteriser's own, for priors."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.spherical_harmonics import C0, basis

__all__ = ["C0", "basis", "colour"]


def colour(sh: Float[Array, "*b K 3"], direction: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """sRGB seen along ``direction``: max(0, Σ basis · coefficients + 0.5)."""
    weights = basis(direction, sh.shape[-2])
    return jnp.maximum(jnp.sum(sh * weights[..., None], -2) + 0.5, 0)
