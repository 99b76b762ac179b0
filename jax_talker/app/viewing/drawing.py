"""What is drawn of a head in a browser: its Gaussians, for the browser to splat, or pictures that we render."""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial.transform import Rotation

from jax_talker import geometry
from jax_talker.app.speaking import Speaker
from jax_talker.models.navigator import Coefficients
from jax_talker.rendering import Splats, as_splats, eye_and_field

Way = Literal["splats", "pictures"]
WAYS: tuple[Way, ...] = ("splats", "pictures")
MOST_SPLATS = 60_000  # 32 bytes each go to the browser for every frame: 48 MB/s at 25 fps
PRESETS = {
    "front": (0.0, 0.0),
    **{f"yaw {yaw:+d}": (float(yaw), 0.0) for yaw in (-30, -20, 20, 30)},
    **{f"pitch {pitch:+d}": (0.0, float(pitch)) for pitch in (-20, 20)},
    **{f"both {both:+d}": (float(both), float(both)) for both in (-30, -20, 20, 30)},  # the paper's novel views
}  # yaw and pitch, degrees


def best_way(gaussians: int) -> Way:
    """How a head of so many Gaussians is shown at first."""
    return "splats" if gaussians <= MOST_SPLATS else "pictures"


@dataclass(frozen=True)
class View:
    """A camera as browsers have it."""

    position: tuple[float, float, float]  # in the head's world: y up, the face looks along +z
    field: float  # of view, vertical, radians


@dataclass
class Drawer:
    """Draws one face at a time. ``size``: pixels on a side of the pictures that the head was trained on."""

    speaker: Speaker
    size: int

    def __post_init__(self) -> None:
        self._held = jnp.asarray(self.speaker.usual[None])
        front = geometry.make_label(geometry.orbit(0, 0))[None]
        self._front = self.speaker.head.prior.camera(jnp.asarray(front), self.size)

    @property
    def gaussians(self) -> int:
        """How many there are."""
        return len(self.speaker.fixed.layout.parent)

    def splats(self, coefficients: Coefficients) -> Splats:
        """The head [N] of coefficients [1, ·], as browsers take it, coloured as it is seen from the front."""
        return as_splats(self.speaker.gaussians(coefficients, self._held), self._front)

    def picture(
        self, coefficients: Coefficients, label: Float[np.ndarray, "25"], size: int | None = None
    ) -> UInt8[np.ndarray, "H W 3"]:
        """The head under a camera, ``size``² (None: as trained). UserError where it cannot be rendered."""
        seen = jnp.asarray(label[None], jnp.float32)
        made = self.speaker.pictures(coefficients, self._held, seen, size or self.size)[0]
        return np.asarray(jnp.round(made * 255).astype(jnp.uint8))

    def view(self, yaw: float, pitch: float) -> View:
        """The camera (degrees) that this prior makes of a label."""
        label = jnp.asarray(geometry.make_label(geometry.orbit(yaw, pitch))[None])
        eye, field = eye_and_field(self.speaker.head.prior.camera(label, self.size), self.size)
        x, y, z = np.asarray(eye).tolist()
        return View((x, y, z), field)

    @property
    def pivot(self) -> tuple[float, float, float]:
        """What all cameras look at."""
        return geometry.PIVOT


def label_of(wxyz: Float[np.ndarray, "4"], position: Float[np.ndarray, "3"], field: float) -> Float[np.ndarray, "25"]:
    """The EG3D label of a browser's camera: world_from_cam with OpenCV's axes, vertical field of view in radians."""
    world_from_cam = np.eye(4)
    world_from_cam[:3, :3] = Rotation.from_quat(wxyz, scalar_first=True).as_matrix()
    world_from_cam[:3, 3] = position
    return geometry.make_label(world_from_cam, 0.5 / np.tan(field / 2))


def fitted(picture: UInt8[np.ndarray, "H W 3"], aspect: float) -> UInt8[np.ndarray, "H W2 3"]:
    """A square picture, as wide as a window of ``aspect`` (width over height) is: white beside it, or cut at its sides.

    Browsers stretch a background over the window, and a camera's field of view is that of its height.
    """
    size = len(picture)
    width = max(1, round(size * aspect))
    out = np.full((size, width, 3), 255, np.uint8)
    left, shown = (width - size) // 2, min(width, size)
    start = max(0, -left)
    out[:, max(0, left) : max(0, left) + shown] = picture[:, start : start + shown]
    return out
