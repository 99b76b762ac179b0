"""What is behind a head: a colour, a picture, or nothing (an alpha channel)."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import matplotlib.colors
import numpy as np
from jaxtyping import Float, Float32, UInt8

from jax_talker.errors import UserError

TRANSPARENT = "transparent"
# The head alone → a frame: (colour times alpha [H, W, 3], alpha [H, W]) → [H, W, 3], or [H, W, 4] where transparent.
Compose = Callable[[Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W"]], UInt8[np.ndarray, "H W C"]]


def composer(spec: str, size: int) -> Compose:
    """What ``--background`` means: ``transparent``, a picture's file, or a colour (a name, or #rrggbb).

    A picture is cut to a square around its middle. UserError for what is none of these.
    """
    if spec == TRANSPARENT:
        return straight
    if Path(spec).is_file():
        behind = _square(Path(spec), size)
    else:
        try:
            behind = np.array(matplotlib.colors.to_rgb(spec), np.float32)
        except ValueError:
            raise UserError(
                f"--background {spec!r}: neither a colour (green, #00ff00), nor a picture's file, nor transparent"
            ) from None
    return lambda colour, alpha: as_bytes(over(colour, alpha, behind))


def composed(layers: Iterable[tuple[np.ndarray, np.ndarray]], compose: Compose) -> Iterator[np.ndarray]:
    """Every head of ``talking.layers`` before its background."""
    return (compose(colour, alpha) for colour, alpha in layers)


def over(
    colour: Float[np.ndarray, "H W 3"], alpha: Float[np.ndarray, "H W"], behind: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "H W 3"]:
    """A head before something, in sRGB, as it was rendered: ``colour`` is multiplied by alpha already."""
    return colour + (1 - alpha[..., None]) * behind


def straight(colour: Float[np.ndarray, "H W 3"], alpha: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 4"]:
    """The head with an alpha channel, its colour not multiplied by it, as video files hold it.

    Where next to nothing is seen a colour would be noise, which costs an encoder bits: it is that of the edge nearby.
    """
    seen = alpha > 1 / 255
    own = np.where(seen[..., None], colour / np.maximum(alpha, 1e-6)[..., None], 0).astype(np.float32)
    weight = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), 4)[..., None]
    around = cv2.GaussianBlur(own, (0, 0), 4) / np.maximum(weight, 1e-6)
    return np.dstack([as_bytes(np.where(seen[..., None], own, around)), as_bytes(alpha)])


def as_bytes(values: Float[np.ndarray, "*n"]) -> UInt8[np.ndarray, "*n"]:
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _square(path: Path, size: int) -> Float32[np.ndarray, "S S 3"]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"{path}: not a picture that can be read")
    side = min(picture.shape[:2])
    top, left = ((n - side) // 2 for n in picture.shape[:2])
    cut = picture[top : top + side, left : left + side, ::-1]
    shrinks = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(cut), (size, size), interpolation=shrinks).astype(np.float32) / 255
