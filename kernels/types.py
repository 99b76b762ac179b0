"""What goes into the rasteriser and what comes out: shapes, units and conventions, written once.

Axis letters: ``*b`` any batch of scenes, V views of one scene, N Gaussians, K coefficients, E channels, H W image.
"""

from typing import NamedTuple

from jax import Array
from jaxtyping import Float, Int

from kernels.constants import Constants


class Gaussians(NamedTuple):
    """3D Gaussians after activation. Exactly one of ``colors`` and ``sh`` is given.

    ``sh`` holds real spherical-harmonics coefficients of degree 0 to 3 in the order and sign of 3DGS; the colour seen
    from a camera is max(0, SH(direction from the camera's centre to the Gaussian's) + 0.5).

    To switch a Gaussian off without changing N, give it opacity 0 (anything below 1/255): it is projected, but neither
    listed nor drawn nor counted as skipped, and all its gradients are 0.
    """

    means: Float[Array, "*b N 3"]  # world
    quats: Float[Array, "*b N 4"]  # wxyz; normalised inside
    scales: Float[Array, "*b N 3"]  # standard deviations along the Gaussian's own axes, > 0
    opacities: Float[Array, "*b N"]  # [0, 1]; what is outside is used as it is, and capped with alpha
    colors: Float[Array, "*b N 3"] | Float[Array, "*b V N 3"] | None = None  # RGB, any range; of each view if it has V
    sh: Float[Array, "*b N K 3"] | None = None  # K = 1, 4, 9 or 16


class Camera(NamedTuple):
    """V pinhole cameras for each scene, OpenCV axes: x right, y down, z forward."""

    cam_from_world: Float[Array, "*b V 4 4"]  # x_cam = cam_from_world @ x_world; rotation (and scale) and translation
    intrinsics: Float[Array, "*b V 3 3"]  # pixels; the centre of the top-left pixel is (0.5, 0.5); skew is not used


class Rendered(NamedTuple):
    """What each camera sees."""

    image: Float[Array, "*b V H W 3"]
    alpha: Float[Array, "*b V H W"]  # coverage, [0, 1)
    depth: Float[Array, "*b V H W"]  # Σ weight · z; divided by alpha where expected depth was asked for
    radii: Int[Array, "*b V N"]  # reach on the screen in pixels; 0: not seen
    # (tile, Gaussian) pairs that found no place within ``capacity``; 0: the image is exact. Counts stop at 2³¹ − 1.
    overflow: Int[Array, "*b V"]
    skipped: Int[Array, "*b V"]  # Gaussians left out because a number of theirs, or of the camera, was of no use
    extra: Float[Array, "*b V H W E"] | None = None  # Σ weight · extra, where ``extra`` was given


class Scene(NamedTuple):
    """What an implementation gets: one batch axis, colours as RGB for each view, or for all views alike."""

    means: Float[Array, "B N 3"]
    quats: Float[Array, "B N 4"]
    scales: Float[Array, "B N 3"]
    opacities: Float[Array, "B N"]
    colors: Float[Array, "B #V N 3"]
    cam_from_world: Float[Array, "B V 4 4"]
    intrinsics: Float[Array, "B V 3 3"]
    background: Float[Array, "B V 3"]
    offset: Float[Array, "B V M 2"]  # added to the centres on the screen, pixels; M = N, or 0: none
    extra: Float[Array, "B N E"]


class Settings(NamedTuple):
    """Everything static. Hashable."""

    width: int
    height: int
    near: float
    far: float
    eps2d: float
    antialiased: bool
    radius_clip: float
    constants: Constants
    capacity: int | None
    absgrad: bool = False  # the gradient of ``offset`` is Σ over pixels |derivative|


class Composited(NamedTuple):
    """What an implementation returns."""

    image: Float[Array, "B V H W 3"]
    alpha: Float[Array, "B V H W"]
    depth: Float[Array, "B V H W"]
    radii: Int[Array, "B V N"]
    overflow: Int[Array, "B V"]
    skipped: Int[Array, "B V"]
    extra: Float[Array, "B V H W E"]
