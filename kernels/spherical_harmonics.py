"""View-dependent colour: real spherical harmonics up to degree 3, in the order and sign of 3DGS."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

COEFFICIENTS = (1, 4, 9, 16)  # of degree 0, 1, 2, 3

# Normalisation of the real spherical harmonics (Condon-Shortley sign kept, as 3DGS does), by degree and order
C0 = 0.28209479177387814  # 1/(2√π)
C1 = 0.4886025119029199  # √3/(2√π)
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


def basis(direction: Float[Array, "*b 3"], size: int) -> Float[Array, "*b K"]:
    """The first ``size`` (1, 4, 9 or 16) functions at unit vectors that point from the camera to the Gaussian."""
    if size not in COEFFICIENTS:
        raise ValueError(f"spherical harmonics of degree 0 to 3 have {COEFFICIENTS} coefficients, got {size}")
    x, y, z = direction[..., 0], direction[..., 1], direction[..., 2]
    terms = [jnp.full_like(x, C0)]
    if size > 1:
        terms += [-C1 * y, C1 * z, -C1 * x]
    if size > 4:
        xx, yy, zz = x * x, y * y, z * z
        terms += [C2[0] * x * y, C2[1] * y * z, C2[2] * (2 * zz - xx - yy), C2[3] * x * z, C2[4] * (xx - yy)]
        if size > 9:
            terms += [
                C3[0] * y * (3 * xx - yy),
                C3[1] * x * y * z,
                C3[2] * y * (4 * zz - xx - yy),
                C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
                C3[4] * x * (4 * zz - xx - yy),
                C3[5] * z * (xx - yy),
                C3[6] * x * (xx - 3 * yy),
            ]
    return jnp.stack(terms, -1)


def camera_center(cam_from_world: Float[Array, "*b 4 4"]) -> Float[Array, "*b 3"]:
    """Where a camera stands: −A⁻¹t of an affine [A t]. Written out, because it must differentiate and batch well."""
    row0, row1, row2 = cam_from_world[..., 0, :3], cam_from_world[..., 1, :3], cam_from_world[..., 2, :3]
    columns = jnp.stack([jnp.cross(row1, row2), jnp.cross(row2, row0), jnp.cross(row0, row1)], -1)
    determinant = jnp.sum(row0 * columns[..., 0], -1)
    moved = jnp.sum(columns * cam_from_world[..., None, :3, 3], -1)
    return -moved / determinant[..., None]


def view_colors(
    sh: Float[Array, "B N K 3"], means: Float[Array, "B N 3"], cam_from_world: Float[Array, "B V 4 4"]
) -> Float[Array, "B V N 3"]:
    """RGB of each Gaussian as each camera sees it: max(0, Σ coefficient · basis + 0.5).

    Where a number is not finite the colour is NaN, for the rasteriser to count, and gradients are zero.
    """
    camera_ok = jnp.isfinite(cam_from_world).all((-2, -1), keepdims=True)
    center = camera_center(jnp.where(camera_ok, cam_from_world, jnp.eye(4, dtype=sh.dtype)[None, None]))
    ok = jnp.isfinite(sh).all((-2, -1)) & jnp.isfinite(means).all(-1)
    offset = jnp.where(ok[..., None], means, 0)[:, None] - center[:, :, None]  # [B, V, N, 3]
    squared = jnp.sum(offset * offset, -1, keepdims=True)
    # A Gaussian in the camera's very centre is never drawn; it only must not divide by zero.
    somewhere = (squared > 0) & jnp.isfinite(squared)
    up = jnp.asarray([0, 0, 1], offset.dtype)[None, None, None]
    direction = jnp.where(somewhere, offset, up) / jnp.sqrt(jnp.where(somewhere, squared, 1))
    weights = basis(direction, sh.shape[-2])  # [B, V, N, K]
    coefficients = jnp.where(ok[..., None, None], sh, 0)[:, None]  # [B, 1, N, K, 3]
    color = sum(weights[..., k, None] * coefficients[..., k, :] for k in range(sh.shape[-2]))
    return jnp.where(ok[:, None, :, None] & camera_ok, jnp.maximum(color + 0.5, 0), jnp.nan)
