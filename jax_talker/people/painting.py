"""Textures of one person besides the skin: hair, lashes, irises, teeth; [H, W, 4] uint8 sRGB.

The alpha of what is opaque (skin, eyes, teeth, tongue) holds its gloss: how much of the highlight it gives back.
"""

from collections.abc import Callable

import cv2
import numpy as np

from jax_talker.people.identity import Hair, Person
from jax_talker.people.pack import Pack
from jax_talker.people.raster import DISPLAY, LINEAR, STEPS

LOG_LINEAR = np.log(np.maximum(LINEAR, LINEAR[1])).astype(np.float32)
# How far a hair texture's log-lightness spreads from strand to strand and from root to end, and what is a strand: the
# sources differ fourfold, and some have light painted in.
FINE, BROAD, STRAND = 0.28, 0.22, 16.0  # STRAND in texels of 1024
IRIS_CENTERS, IRIS_RADIUS = ((723, 303), (297, 727)), 118  # texels of 1024
EYE_ALBEDO = 0.82
LASHES = (0.06, 0.045, 0.04)  # sRGB


def to_linear(srgb) -> np.ndarray:
    srgb = np.asarray(srgb, np.float32)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_bytes(linear: np.ndarray) -> np.ndarray:
    """sRGB bytes of linear light in [0, 1]."""
    return (DISPLAY[(np.clip(linear, 0, 1) * STEPS + 0.5).astype(np.int32)] * 255 + 0.5).astype(np.uint8)


def recolored(picture: np.ndarray, color) -> np.ndarray:
    """A hair texture in another colour (sRGB) with its own contrast, bounded."""
    alpha = picture[..., 3]
    light = LOG_LINEAR[picture[..., :3]] @ np.array([0.25, 0.6, 0.15], np.float32)
    broad = cv2.GaussianBlur(light, (0, 0), STRAND * light.shape[1] / 1024)
    seen = alpha > 64 if (alpha > 64).any() else np.ones(alpha.shape, bool)
    relative = np.zeros_like(light)
    for band, wanted in ((broad, BROAD), (light - broad, FINE)):
        relative += (band - band[seen].mean()) * min(2.5, wanted / max(float(band[seen].std()), 1e-3))
    relative = np.exp(relative)
    relative /= relative[seen].mean()
    tinted = relative[..., None] * to_linear(color)
    return np.ascontiguousarray(np.concatenate([to_bytes(tinted), alpha[..., None]], -1))


def hair(pack: Pack, style: Hair) -> np.ndarray:
    """The texture of a hair mesh in its colour; strands by procedure where the pack has only the mesh."""
    if style.style in pack.pictures("hair"):
        return recolored(pack.picture(f"hair/{style.style}"), style.color)
    rng = np.random.default_rng([int.from_bytes(b"hair"), len(style.style)])
    noise = rng.standard_normal((512, 512)).astype(np.float32)
    curly = style.style.startswith("afro")
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=2.0 if curly else 1.2, sigmaY=2.0 if curly else 40.0)
    noise /= noise.std()
    linear = to_linear(style.color) * np.exp(0.35 * noise[..., None] - 0.06)
    alpha = np.full(noise.shape, 255.0)
    if curly:  # the lower third is the picture of the tufts that stand off: curls that thin out towards the edges
        rows, cols = np.mgrid[:512, :512]
        inner = np.minimum(np.minimum(cols, 511 - cols) / 160, np.minimum(rows - 350, 505 - rows) / 60)
        tuft = np.clip(1.5 * np.clip(inner, 0, 1) + 0.8 * noise - 0.9, 0, 1)
        alpha = np.where(rows > 345, 255 * tuft, alpha)
    return np.concatenate([to_bytes(linear), alpha[..., None].astype(np.uint8)], -1)


Read = Callable[
    [str, np.ndarray], np.ndarray
]  # an image by a name that it is kept under → the part of it that is wanted


def eyes(pack: Pack, person: Person, read: Read = lambda _, image: image) -> np.ndarray:
    """Sclera and iris; the iris's hue is turned a little, the whole darkened to what an eye in its socket shows."""
    whole = pack.picture(f"eyes/{person.iris}")
    picture = np.ascontiguousarray(read(person.iris, whole)[..., :3])
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + round(person.iris_hue / 2)) % 180  # OpenCV counts 2° steps
    turned = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    iris = read("iris", _irises(whole.shape[0])) > 127
    linear = EYE_ALBEDO * LINEAR[np.where(iris[..., None], turned, picture)]
    return np.concatenate([to_bytes(linear), np.full((*iris.shape, 1), 255, np.uint8)], -1)


def _irises(size: int) -> np.ndarray:
    """255 inside the irises of a size² eye texture, [size, size] uint8."""
    rows, cols = np.mgrid[:size, :size] * (1024 / size)
    inside = [(cols - x) ** 2 + (rows - y) ** 2 < IRIS_RADIUS**2 for x, y in IRIS_CENTERS]
    return np.logical_or(*inside).astype(np.uint8) * 255


def lashes(pack: Pack, person: Person, read: Read = lambda _, image: image) -> np.ndarray:
    """Lashes, thinner on men: the pack's are painted for make-up."""
    out = read(person.lashes, recolored(pack.picture(f"eyelashes/{person.lashes}"), LASHES)).copy()
    out[..., 3] = (out[..., 3] * (0.45 + 0.4 * person.female)).astype(np.uint8)
    return out


def teeth(pack: Pack, read: Read = lambda _, image: image) -> np.ndarray:
    return _wet(read("teeth", pack.picture("teeth/teeth")), 0.95)


def tongue(pack: Pack, read: Read = lambda _, image: image) -> np.ndarray:
    """The pack's picture is lit from the front; a tongue lies in the mouth's shade."""
    return _wet(read("tongue", pack.picture("tongue/tongue01")), 0.62)


def _wet(picture: np.ndarray, gain: float) -> np.ndarray:
    """An opaque texture with a linear gain and full gloss."""
    linear = gain * LINEAR[picture[..., :3]]
    return np.concatenate([to_bytes(linear), np.full((*picture.shape[:2], 1), 255, np.uint8)], -1)
