"""The doors between rooms: what is handed on, with shapes, units and ranges, written once.

Axis letters: B batch, V views, N Gaussians, H W image, T time, F features, L layers, D latent width, K coefficients.
Frames are named target_from_source, so that products read aloud: ``cam_from_world @ world_from_head``.
"""

from typing import TYPE_CHECKING

import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, UInt8

if TYPE_CHECKING:
    from jaxtyping import Array as Given
else:
    Given = Array | np.ndarray  # on its way from the host it is NumPy's, which nothing that computes has to know


@struct.dataclass
class Camera:
    """A pinhole camera, OpenCV axes (x right, y down, z forward). The image size is given where it is rendered."""

    cam_from_world: Float[Array, "*b 4 4"]  # x_cam = cam_from_world @ x_world
    intrinsics: Float[Array, "*b 3 3"]  # pixels; the centre of the top-left pixel is (0.5, 0.5)


@struct.dataclass
class Latent:
    """A point in W+: one style vector for each layer of a generator."""

    w: Float[Array, "*b L D"]


@struct.dataclass
class Gaussians:
    """3D Gaussians after activation, in the world units of their prior. Exactly one of ``rgb`` and ``sh`` is given.

    ``sh`` holds real spherical-harmonics coefficients in the order of 3DGS; the colour is max(0, SH(direction) + 0.5).
    """

    mean: Float[Given, "*b N 3"]
    quat: Float[Given, "*b N 4"]  # wxyz; need not be normalised
    scale: Float[Given, "*b N 3"]  # standard deviations along the Gaussian's own axes, > 0
    opacity: Float[Given, "*b N"]  # about [0, 1]; priors may overshoot by 0.001
    rgb: Float[Given, "*b N 3"] | None = None
    sh: Float[Given, "*b N K 3"] | None = None


@struct.dataclass
class RenderOutput:
    """What a camera sees. ``overflow`` counts intersections that did not fit the static capacity; 0 means exact."""

    image: Float[Array, "*b H W 3"]  # sRGB; [0, 1] up to the prior's colour overshoot
    alpha: Float[Array, "*b H W"]  # coverage in [0, 1]
    depth: Float[Array, "*b H W"]  # accumulated: Σ weight · z, world units, not divided by alpha
    overflow: Int[Array, "*b"]
    skipped: Int[Array, "*b"] | None = None  # Gaussians left out because a number of theirs, or of the camera, was bad
    radii: Int[Array, "*b N"] | None = None  # reach on the screen, pixels; 0: not seen
    extra: Float[Array, "*b H W E"] | None = None  # further channels, where they were asked for


@struct.dataclass
class FrameBatch:
    """A batch of video frames as the training steps see them: 25 fps, heads on white.

    On the host they are NumPy arrays, their pixels and masks bytes (255 is 1) until a device makes floats of them.
    """

    image: Float[Given, "B H W 3"] | UInt8[Given, "B H W 3"]  # sRGB in [0, 1], row 0 on top
    upper: Float[Given, "B H W"] | UInt8[Given, "B H W"]  # masks, 1 inside
    lower: Float[Given, "B H W"] | UInt8[Given, "B H W"]
    head: Float[Given, "B H W"] | UInt8[Given, "B H W"]
    valid: Float[Given, "B H W"] | UInt8[Given, "B H W"]  # 0 where nothing is known (Clip.valid): no loss
    label: Float[Given, "B 25"]  # EG3D camera label; a prior turns it into its own Camera
    audio: Float[Given, "B A T F"]  # A neighbouring frames' windows of T feature steps, as AudioNet hears them
    blink: Float[Given, "B"]  # 0 open … 1 closed
    expression: Float[Given, "B C"]  # motion of the upper and of the lower face as landmarks show it
    lips: Float[Given, "B C2"]  # (data.batches.motion_features); zero: eyes open, mouth at rest
    index: Int[Given, "B"]  # frame number in the clip
