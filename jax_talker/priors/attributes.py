"""From an image of raw values in texture space to activated Gaussians: gghead_spec section 4.

Scales are logarithms and opacities logits until the last step, as in the original.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker.priors.sh import C0

SMALL_ANGLE = 1e-6  # below it sin(θ/2)/θ is its Taylor polynomial, as in the original


def sample_plane(
    plane: Float[Array, "B R R C"], uv: Float[Array, "G 2"], *, align_corners: bool = False
) -> Float[Array, "B G C"]:
    """Bilinear lookup at points in [-1, 1]² (u: column, v: row); zero outside the image.

    −1 and 1 are the outer edges of the border pixels, or with ``align_corners`` their centres.
    """
    batch, resolution, _, channels = plane.shape
    place = (uv + 1) / 2 * (resolution - 1) if align_corners else ((uv + 1) * resolution - 1) / 2
    corner = jnp.floor(place)
    part = place - corner
    corner = corner.astype(jnp.int32)
    flat = plane.reshape(batch, resolution * resolution, channels)
    total = jnp.zeros((batch, uv.shape[0], channels), plane.dtype)
    for down in (0, 1):
        for right in (0, 1):
            column, row = corner[:, 0] + right, corner[:, 1] + down
            weight_u = part[:, 0] if right else 1 - part[:, 0]
            weight_v = part[:, 1] if down else 1 - part[:, 1]
            inside = (column >= 0) & (column < resolution) & (row >= 0) & (row < resolution)
            weight = jnp.where(inside, weight_u * weight_v, 0)
            index = jnp.where(inside, row * resolution + column, 0)
            total += jnp.take(flat, index, axis=1) * weight[None, :, None]
    return total


def position_offset(raw: Float[Array, "*b 3"], reach: float, attenuation: float) -> Float[Array, "*b 3"]:
    """Displacement from the template, at most ``reach`` (world units) along each axis."""
    return reach * jnp.tanh(attenuation * raw)


def log_scale(raw: Float[Array, "*b 3"], offset: float, maximum: float, *, center: bool) -> Float[Array, "*b 3"]:
    """log σ ≤ ``maximum``, falling smoothly with −raw; ``center`` puts its bend where raw + offset = maximum."""
    y = -(raw + offset)
    return maximum - jax.nn.softplus(y + maximum if center else y)


def rotation_from_axis_angle(raw: Float[Array, "*b 3"], attenuation: float) -> Float[Array, "*b 4"]:
    """Quaternion that the rasteriser reads as (w, x, y, z), from an axis times an angle of at most 2π along each axis.

    The original builds (cos, v) with the real part first, then moves the *last* component to the front as if the real
    part had been last. Trained weights depend on it, so it stays: the result is (v_z k, cos θ/2, v_x k, v_y k).
    """
    v = 2 * math.pi * jnp.tanh(attenuation * raw)
    square = jnp.sum(jnp.square(v), -1)
    small = square < SMALL_ANGLE**2
    angle = jnp.sqrt(jnp.where(small, 1.0, square))  # a safe argument, so that the gradient at v = 0 is finite
    k = jnp.where(small, 0.5 - square / 48, jnp.sin(angle / 2) / angle)
    real = jnp.where(small, 1 - square / 8, jnp.cos(angle / 2))
    return jnp.stack([v[..., 2] * k, real, v[..., 0] * k, v[..., 1] * k], -1)


def rotation_from_quaternion(raw: Float[Array, "*b 4"]) -> Float[Array, "*b 4"]:
    """raw / |raw|, (w, x, y, z); like the original without an epsilon."""
    return raw / jnp.linalg.norm(raw, axis=-1, keepdims=True)


def spherical_harmonics(raw: Float[Array, "*b K3"], overshoot: float) -> Float[Array, "*b K 3"]:
    """Coefficients in about ±1.77. The overshoot is subtracted once, so the range is not symmetric (as trained)."""
    values = (jnp.tanh(raw) * (1 + 2 * overshoot) - overshoot) * (0.5 / C0)
    return values.reshape(*raw.shape[:-1], raw.shape[-1] // 3, 3)


def opacity(logit: Float[Array, "*b"], overshoot: float, *, clip: bool) -> Float[Array, "*b"]:
    """sigmoid stretched by ``overshoot`` on both sides, or clipped back to [0, 1]."""
    value = jax.nn.sigmoid(logit) * (1 + 2 * overshoot) - overshoot
    return jnp.clip(value, 0, 1) if clip else value
