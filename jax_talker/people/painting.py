"""Textures of one person: skin mixed and re-coloured, painted hair, brows, irises; [H, W, 4] uint8 sRGB.

The alpha of what is opaque (skin, eyes, teeth, tongue) holds its gloss: how much of the highlight it gives back.
"""

from functools import lru_cache
from typing import no_type_check

import cv2
import numpy as np
from scipy.spatial import cKDTree

from jax_talker.people.identity import Hair, Person
from jax_talker.people.pack import SKINS, Pack
from jax_talker.people.raster import DISPLAY, LINEAR, STEPS, Textures, composite
from jax_talker.procedural.compiled import njit

LOG_LINEAR = np.log(np.maximum(LINEAR, LINEAR[1])).astype(np.float32)
CONTRAST = 0.38  # how far a hair texture's log-lightness spreads
IRIS_CENTERS, IRIS_RADIUS = ((723, 303), (297, 727)), 118  # texels of 1024
EYE_ALBEDO = 0.82
FINE = 7.0  # texels: what is finer than this counts as wrinkles


def to_linear(srgb) -> np.ndarray:
    srgb = np.asarray(srgb, np.float32)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_bytes(linear: np.ndarray) -> np.ndarray:
    """sRGB bytes of linear light in [0, 1]."""
    return (DISPLAY[(np.clip(linear, 0, 1) * STEPS + 0.5).astype(np.int32)] * 255 + 0.5).astype(np.uint8)


def skin(pack: Pack, person: Person) -> np.ndarray:
    """The head's atlas: skins blended in log space, with wrinkles, lips, freckles, beard and cropped hair."""
    pictures = [pack.picture(f"{SKINS}/{name}") for name, _ in person.skins]
    shares = np.array([share for _, share in person.skins], np.float32)
    height, width = pictures[0].shape[:2]
    lips, hairy = pack.picture("masks/lips_ears_eyelids"), _soft_hairline(pack)
    rng = np.random.default_rng([int.from_bytes(b"skin"), person.seed])
    old = [name for name in pack.pictures(SKINS) if name.startswith(("old", "middleage"))] or [person.skins[0][0]]
    fine = _fine_band(pack, old[rng.integers(len(old))])
    extra = person.wrinkles * fine - _freckles(pack, person, rng)
    noise = _stubble_noise(height, width)
    density = np.array([person.hair.crop, person.beard.full, person.beard.goatee], np.float32)
    tint = np.log(np.maximum(to_linear(person.hair.color), 1e-3)) - 0.15
    out = np.empty((height, width, 4), np.uint8)
    _blend(
        np.stack(pictures), shares, np.log(np.array(person.skin_gain, np.float32)), np.log(np.array(person.lips, np.float32)),
        extra.astype(np.float32), lips, hairy, density, noise, tint.astype(np.float32), out,
    )  # fmt: skip
    _brows(pack, person, out)
    return out


def _brows(pack: Pack, person: Person, image: np.ndarray) -> None:
    """Paint the brows into the atlas: their cards lie so close that they are the skin's colour."""
    name = f"eyebrows/{person.brows}"
    topology = pack.attachment(name).topology
    picture = Textures.pack([recolored(pack.picture(name), person.brow_color)])
    size = max(image.shape[:2])
    flat = (_on_skin(pack, name) * [image.shape[1], image.shape[0]]).astype(np.float32)
    count, faces = len(flat), len(topology.faces)
    nothing = np.full((size, size), -1, np.int32), np.zeros((size, size), np.float32)
    even, flags = np.ones((count, 3), np.float32), np.zeros(faces, np.uint8)
    painted, _, _ = composite(
        flat, np.ones(count, np.float32), topology.faces, topology.face_uv, topology.uv, flags, np.zeros(faces, np.int64),
        np.zeros(faces, np.int64), picture.texels, picture.table, even, np.zeros((count, 4), np.float32), even,
        np.zeros((0, 6), np.float32), *nothing, np.arange(faces), size, 1, 1,
    )  # fmt: skip
    painted = painted[: image.shape[0], : image.shape[1]]
    image[..., :3] = (image[..., :3] * (1 - painted[..., 3:]) + 255 * painted[..., :3] + 0.5).astype(np.uint8)


@lru_cache(maxsize=64)
def _on_skin(pack: Pack, name: str) -> np.ndarray:
    """Where an attachment's vertices lie in the head's atlas, [n, 2]: the nearest points of the base head's skin."""
    base, head = pack["vertex"], pack.skin_region == "head"
    faces, face_uv = pack.skin.faces[head], pack.skin.face_uv[head]
    steps = np.array([(a, b, 8 - a - b) for a in range(9) for b in range(9 - a)], np.float32) / 8
    points = np.einsum("sk,mkc->msc", steps, base[faces]).reshape(-1, 3)
    coordinates = np.einsum("sk,mkc->msc", steps, pack["uv"][face_uv]).reshape(-1, 2)
    _, found = cKDTree(points).query(pack.attachment(name).fit(base, base))
    return coordinates[found]


@njit(nogil=True, fastmath=True)
@no_type_check
def _blend(pictures, shares, gain, lip_gain, extra, lips, hairy, density, noise, tint, out):
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            lip = lips[row, col, 0] * np.float32(1 / 255)
            scalp = density[0] * hairy[row, col, 0] * np.float32(1 / 255)
            full = density[1] * hairy[row, col, 1] * np.float32(1 / 255)
            goatee = density[2] * hairy[row, col, 2] * np.float32(1 / 255)
            hair = max(scalp, max(full, goatee))
            # Dense hair leaves no gaps: its noise is in the colour; thin hair is single dark hairs.
            hair *= 1 + np.float32(0.3) * (1 - hair * hair) * min(max(noise[row, col], np.float32(-2)), np.float32(2))
            hair = min(max(hair, np.float32(0)), np.float32(0.97))
            for c in range(3):
                value = gain[c] + extra[row, col] + lip * lip_gain[c]
                for k in range(len(shares)):
                    value += shares[k] * LOG_LINEAR[pictures[k, row, col, c]]
                value = (1 - hair) * value + hair * (tint[c] + np.float32(0.22) * noise[row, col])
                out[row, col, c] = np.uint8(255 * DISPLAY[int(min(np.exp(value), np.float32(1)) * STEPS)] + 0.5)
            gloss = np.float32(0.45) + np.float32(0.15) * lip - np.float32(0.35) * hair
            out[row, col, 3] = np.uint8(255 * min(max(gloss, np.float32(0.05)), np.float32(1)))


@lru_cache(maxsize=4)
def _stubble_noise(height: int, width: int) -> np.ndarray:
    """Unit noise that runs along the face's vertical like hairs."""
    noise = np.random.default_rng(7).standard_normal((height, width)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.7, sigmaY=2.0)
    return noise / noise.std()


def _soft_hairline(pack: Pack) -> np.ndarray:
    """The mask of painted hair, its hard edges thinned out over a centimetre; no further into lips than it was."""
    mask = pack.picture("masks/scalp_beard_goatee")
    scale = mask.shape[1] / 1472
    soft = cv2.GaussianBlur(mask[..., :3], (0, 0), 20 * scale).astype(np.int32)
    soft[..., 2] = cv2.GaussianBlur(mask[..., 2], (0, 0), 6 * scale)  # a moustache is narrow
    return np.minimum(mask[..., :3], np.clip(1.7 * soft - 0.7 * 255, 0, 255)).astype(np.uint8)


def _fine_band(pack: Pack, name: str) -> np.ndarray:
    """The log-lightness of a skin finer than FINE texels, [H, W]."""
    light = LOG_LINEAR[pack.picture(f"{SKINS}/{name}")[..., 1]]
    return np.clip(light - cv2.GaussianBlur(light, (0, 0), FINE), -0.5, 0.3)


def _freckles(pack: Pack, person: Person, rng: np.random.Generator) -> np.ndarray:
    """Log-darkening [H, W] by soft spots on cheeks and nose, and a few moles anywhere on the face."""
    height, width = pack.picture(f"{SKINS}/{person.skins[0][0]}").shape[:2]
    out = np.zeros((height, width), np.float32)
    spots = [(rng.normal(736 / 1472, 0.055), rng.normal(460 / 1408, 0.03), rng.uniform(0.7, 1.4), rng.uniform(0.05, 0.35))
             for _ in range(int(150 * person.freckles))]  # fmt: skip
    moles = [(rng.normal(0.5, 0.07), rng.normal(0.33, 0.06), rng.uniform(1.5, 3.0), rng.uniform(0.5, 1.2))
             for _ in range(rng.poisson(1.2))]  # fmt: skip
    for u, v, radius, depth in spots + moles:
        x, y, reach = u * width, v * height, int(4 * radius) + 1
        rows = np.arange(max(int(y) - reach, 0), min(int(y) + reach + 1, height))
        cols = np.arange(max(int(x) - reach, 0), min(int(x) + reach + 1, width))
        if len(rows) and len(cols):
            far = ((rows[:, None] - y) ** 2 + (cols - x) ** 2) / radius**2
            out[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] += depth * np.exp(-0.5 * far)
    return out


def recolored(picture: np.ndarray, color) -> np.ndarray:
    """A hair texture in another colour (sRGB) with its own contrast, bounded."""
    alpha = picture[..., 3]
    light = LOG_LINEAR[picture[..., :3]] @ np.array([0.25, 0.6, 0.15], np.float32)
    seen = light[alpha > 64] if (alpha > 64).any() else light.ravel()
    contrast = min(1.7, CONTRAST / max(float(seen.std()), 1e-3))
    relative = np.exp((light - seen.mean()) * contrast) / np.exp((seen - seen.mean()) * contrast).mean()
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


def eyes(pack: Pack, person: Person) -> np.ndarray:
    """Sclera and iris; the iris's hue is turned a little, the whole darkened to what an eye in its socket shows."""
    picture = pack.picture(f"eyes/{person.iris}")
    size = picture.shape[0]
    hsv = cv2.cvtColor(picture[..., :3], cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + round(person.iris_hue / 2)) % 180  # OpenCV counts 2° steps
    turned = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    rows, cols = np.mgrid[:size, :size]
    iris = np.zeros((size, size), bool)
    for x, y in IRIS_CENTERS:
        iris |= (cols - x * size / 1024) ** 2 + (rows - y * size / 1024) ** 2 < (IRIS_RADIUS * size / 1024) ** 2
    linear = EYE_ALBEDO * LINEAR[np.where(iris[..., None], turned, picture[..., :3])]
    return np.concatenate([to_bytes(linear), np.full((size, size, 1), 255, np.uint8)], -1)


def lashes(pack: Pack, person: Person) -> np.ndarray:
    """Lashes, thinner on men: the pack's are painted for make-up."""
    out = recolored(pack.picture(f"eyelashes/{person.lashes}"), (0.06, 0.045, 0.04))
    out[..., 3] = (out[..., 3] * (0.45 + 0.4 * person.female)).astype(np.uint8)
    return out


def wet(picture: np.ndarray, gain: float, gloss: float) -> np.ndarray:
    """An opaque texture (teeth, tongue) with a linear gain and an even gloss."""
    linear = gain * LINEAR[picture[..., :3]]
    return np.concatenate([to_bytes(linear), np.full((*picture.shape[:2], 1), round(255 * gloss), np.uint8)], -1)
