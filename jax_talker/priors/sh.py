"""Real spherical harmonics as 3D Gaussian Splatting orders and signs them (Kerbl et al. 2023, arXiv:2308.04079)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

C0 = 0.28209479177387814
C1 = 0.4886025119029199
C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
C3 = (
    -0.5900435899266435,
    2.890611442640554,
    -0.4570457994644658,
    0.3731763325901154,
    -0.4570457994644658,
    1.445305721320277,
    -0.5900435899266435,
)


def basis(direction: Float[Array, "*b 3"], coefficients: int) -> Float[Array, "*b K"]:
    """The first K = (degree + 1)² basis functions at unit vectors that point from the camera to the Gaussian."""
    if coefficients not in (1, 4, 9, 16):
        raise ValueError(f"spherical harmonics of degree 0 to 3 have 1, 4, 9 or 16 coefficients, got {coefficients}")
    x, y, z = direction[..., 0], direction[..., 1], direction[..., 2]
    values = [jnp.full_like(x, C0), -C1 * y, C1 * z, -C1 * x]
    xx, yy, zz = x * x, y * y, z * z
    values += [C2[0] * x * y, C2[1] * y * z, C2[2] * (2 * zz - xx - yy), C2[3] * x * z, C2[4] * (xx - yy)]
    values += [
        C3[0] * y * (3 * xx - yy),
        C3[1] * x * y * z,
        C3[2] * y * (4 * zz - xx - yy),
        C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
        C3[4] * x * (4 * zz - xx - yy),
        C3[5] * z * (xx - yy),
        C3[6] * x * (xx - 3 * yy),
    ]
    return jnp.stack(values[:coefficients], -1)


def colour(sh: Float[Array, "*b K 3"], direction: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """sRGB seen along ``direction``: max(0, Σ basis · coefficients + 0.5)."""
    weights = basis(direction, sh.shape[-2])
    return jnp.maximum(jnp.sum(sh * weights[..., None], -2) + 0.5, 0)
