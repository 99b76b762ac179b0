"""Every number that decides what a splatted image looks like, once, with its reason.

Two renderers set the field's conventions: the original 3D Gaussian Splatting program (Kerbl et al. 2023,
doi:10.1145/3592433; "3dgs" here, which the pretrained Gaussian GANs were trained with) and gsplat (Ye et al. 2024,
arXiv:2409.06765). They differ in a few constants, which show as differences of up to about 0.01 in an image.
"""

import math
from typing import Literal, NamedTuple

TILE = 16  # pixels; 3DGS cuts Gaussians off at the edges of tiles of this size, so it is part of the convention
EPS2D = 0.3  # px², added to the projected covariance: the low-pass filter that keeps a Gaussian as wide as a pixel

Name = Literal["3dgs", "gsplat", "gsplat-1.5"]


class Constants(NamedTuple):
    """One renderer's constants. All three sets also share ``ALPHA_MIN`` and ``TRANSMITTANCE_MIN``."""

    alpha_max: float  # cap of one Gaussian's alpha: behind it something is left to see, and 1/(1 − alpha) stays finite
    near: float  # Gaussians whose centre is nearer to the camera plane than this are not drawn (their J explodes)
    # Where the Jacobian's x/z and y/z stop growing: the affine approximation fails far outside the image. The limit is
    # this much of tan(half the field of view) beyond the image's edge, or beyond the edge of a centred image.
    fov_margin: float
    fov_centred: bool  # True: the image is taken to be centred on the optical axis, whatever the principal point is
    # How far a Gaussian reaches: ``radii`` is this many standard deviations, but not beyond alpha = ALPHA_MIN if
    # ``opacity_aware``. If ``tile_cutoff``, a Gaussian is not drawn in tiles that the square of that radius misses,
    # which cuts off alphas of up to exp(−9/2) = 0.011 along tile edges: the original's only approximation.
    radius_sigmas: float
    opacity_aware: bool
    tile_cutoff: bool
    # With ``antialiased``, opacity is multiplied by √(det before / det after) of the low-pass filter, but never by less
    # than this: nothing then vanishes, and the root keeps a finite slope.
    compensation_min: float = 0.0


ALPHA_MIN = 1 / 255  # below one 8-bit step a Gaussian cannot change the picture
# A ray ends before the Gaussian that would leave less light than this: what lies behind cannot be seen, and two
# Gaussians of alpha 0.99 are needed to get there. 3DGS stops below it, gsplat at it, which no float32 image shows.
TRANSMITTANCE_MIN = 1e-4
# 3DGS clamps half the difference of the covariance's eigenvalues below by the square root of this.
EIGENVALUE_FLOOR = 0.1

_ORIGINAL = Constants(
    alpha_max=0.99,
    near=0.2,
    fov_margin=0.3,
    fov_centred=True,
    radius_sigmas=3.0,
    opacity_aware=False,
    tile_cutoff=True,
)
# 3.33 standard deviations are where an opaque Gaussian falls to 1/255, so nothing that could be drawn is cut off.
_GSPLAT = Constants(
    alpha_max=0.99,
    near=0.01,
    fov_margin=0.3,
    fov_centred=False,
    radius_sigmas=3.33,
    opacity_aware=True,
    tile_cutoff=False,
    compensation_min=0.005,
)
SETS: dict[str, Constants] = {
    "3dgs": _ORIGINAL,
    "gsplat": _GSPLAT,  # since March 2026; releases up to 1.5.3 capped alpha at 0.999 and let the compensation go to 0
    "gsplat-1.5": _GSPLAT._replace(alpha_max=0.999, compensation_min=0.0),
}
DEFAULT: Name = "3dgs"


def resolve(constants: Name | Constants) -> Constants:
    """The constants of a name; a ``Constants`` of one's own passes through when its numbers make sense.

    Raises:
      ValueError: an unknown name, or a number out of its range.
    """
    if isinstance(constants, Constants):
        _check(constants)
        return constants
    if constants not in SETS:
        raise ValueError(f"constants: unknown set {constants!r}; choose from {sorted(SETS)} or pass a Constants")
    return SETS[constants]


def _check(constants: Constants) -> None:
    # One Gaussian of a greater alpha would end every ray at itself, undrawn: a hole where it is most solid.
    highest = 1 - TRANSMITTANCE_MIN
    ranges = {
        "alpha_max": (ALPHA_MIN, highest),
        "near": (0.0, math.inf),
        "fov_margin": (0.0, math.inf),
        "radius_sigmas": (0.0, math.inf),
        "compensation_min": (0.0, 1.0),
    }
    for name, (low, high) in ranges.items():
        value = getattr(constants, name)
        if not (low <= value <= high and math.isfinite(value)):
            raise ValueError(f"constants.{name} must be finite and in [{low:g}, {high:g}], got {value}")
    if constants.near == 0 or constants.radius_sigmas == 0:
        raise ValueError(f"constants.near and radius_sigmas must be greater than 0, got {constants}")
