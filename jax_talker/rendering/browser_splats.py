"""A head as browsers' splat viewers take it: centres, covariances, plain colours, opacities."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker.geometry import rotation_from_quat
from jax_talker.types import Camera, Gaussians
from kernels.constants import EPS2D
from kernels.spherical_harmonics import camera_center, view_colors


class Splats(NamedTuple):
    """One head in its prior's world."""

    centers: Float[Array, "N 3"]
    covariances: Float[Array, "N 3 3"]
    rgb: Float[Array, "N 3"]  # sRGB in [0, 1]
    opacity: Float[Array, "N 1"]  # [0, 1]


def with_pixel(gaussians: Gaussians, camera: Camera) -> Gaussians:
    """Gaussians [B, N] as wide as ``camera`` [B] draws them: with the rasteriser's low-pass filter, a pixel wide.

    Files and browsers are looked at in pictures of any size, whose own pixels may be so small that gaps are seen.
    """
    center = camera_center(camera.cam_from_world)
    away = jnp.linalg.norm(gaussians.mean - center[:, None], axis=-1)
    pixel = away / camera.intrinsics[:, :1, 0]  # how large a pixel is where the Gaussian is
    return replace(gaussians, scale=jnp.sqrt(gaussians.scale**2 + (EPS2D * pixel**2)[..., None]))


@jax.jit
def as_splats(gaussians: Gaussians, camera: Camera) -> Splats:
    """Splats of one head [1, N], coloured as ``camera`` [1] sees them: browsers know no spherical harmonics.

    ``camera`` is one of a picture of the size that the head was trained at, whose pixel is part of the covariances.
    """
    rotation = rotation_from_quat(gaussians.quat[0])
    axes = rotation * with_pixel(gaussians, camera).scale[0][:, None, :]
    # A sum, not a product of matrices, which some devices do in less than full precision.
    covariances = (axes[:, :, None, :] * axes[:, None, :, :]).sum(-1)
    rgb = gaussians.rgb
    if gaussians.sh is not None:
        rgb = view_colors(gaussians.sh, gaussians.mean, camera.cam_from_world[:, None])[:, 0]
    assert rgb is not None  # they have one of both
    rgb = rgb[0]
    return Splats(gaussians.mean[0], covariances, jnp.clip(rgb, 0, 1), jnp.clip(gaussians.opacity[0, :, None], 0, 1))


def eye_and_field(camera: Camera, size: int) -> tuple[Float[Array, "3"], float]:
    """Where a camera [1] of pictures of ``size``² stands, and its vertical field of view in radians."""
    focal = float(camera.intrinsics[0, 1, 1])
    return camera_center(camera.cam_from_world)[0], 2 * float(jnp.arctan(size / 2 / focal))
