"""The skin of one person: mixed from the pack's skins and re-coloured, with wrinkles, lips, freckles, beard and brows.

Painted on a canvas: the head's whole atlas, for pictures, or only those points of it that a generator's plane shows.
"""

from functools import lru_cache
from typing import no_type_check

import cv2
import numpy as np

from jax_talker.people.identity import Person
from jax_talker.people.pack import SKINS, Pack
from jax_talker.people.painting import LOG_LINEAR, recolored, to_bytes, to_linear
from jax_talker.people.raster import DISPLAY, LINEAR, STEPS, Textures, composite
from jax_talker.procedural.compiled import njit

FINE = 7.0  # texels: what is finer than this counts as wrinkles
SPOT_TONE = np.array([0.7, 1.0, 1.2], np.float32)  # of wrinkles and freckles: blood and melanin dim red least
INK = (0.3, 0.3, 0.3)  # sRGB of brows before they are coloured


class Canvas:
    """Points of a texture [n] that are looked up together; ``Atlas`` stands for all its texels."""

    def __init__(self, coordinates: np.ndarray, level: np.ndarray):
        """``coordinates`` [n, 2] in [0, 1]², ``level`` [n] of the pyramid: 0 full size, 1 half, …"""
        self.coordinates, self.level = coordinates.astype(np.float32), level
        self._kept: dict[str, np.ndarray] = {}

    def read(self, name: str, image: np.ndarray) -> np.ndarray:
        """The image [H, W] or [H, W, C] at the points, [1, n, …], of the image's type; kept under its name."""
        if name not in self._kept:
            out = np.zeros((len(self.level), *image.shape[2:]), image.dtype)
            scaled = image
            for level in range(int(self.level.max()) + 1):
                mine = self.level == level
                size = np.array(scaled.shape[1::-1], np.float32)
                at = self.coordinates[mine] * size - 0.5
                if mine.any():  # OpenCV maps at most 32767 columns
                    for part in np.array_split(np.flatnonzero(mine), mine.sum() // 30000 + 1):
                        at = self.coordinates[part] * size - 0.5
                        found = cv2.remap(
                            scaled, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
                        )
                        out[part] = found[0]
                half = np.maximum(size.astype(int) // 2, 1)
                scaled = cv2.resize(scaled, (int(half[0]), int(half[1])), interpolation=cv2.INTER_AREA)
            self._kept[name] = np.ascontiguousarray(out[None])
        return self._kept[name]

    def spots(self, spots: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The sum [1, n] of soft spots [k, 4] (u, v, radius in texels, depth) on a texture of ``shape``."""
        out = np.zeros((1, len(self.level)), np.float32)
        pixel = 0.4 * 2.0**self.level  # texels: how far a point of the plane itself blurs them
        for u, v, radius, depth in spots:
            far = ((self.coordinates - [u, v]) * [shape[1], shape[0]]) ** 2
            wide = radius**2 + pixel**2
            out[0] += depth * radius**2 / wide * np.exp(-0.5 * far.sum(-1) / wide)
        return out


class Atlas(Canvas):
    """Every texel of the texture, as it is."""

    def __init__(self):
        super().__init__(np.zeros((0, 2)), np.zeros(0, np.int64))

    def read(self, name: str, image: np.ndarray) -> np.ndarray:
        return image

    def spots(self, spots: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        out = np.zeros(shape, np.float32)
        for u, v, radius, depth in spots:
            x, y, reach = u * shape[1], v * shape[0], int(4 * radius) + 1
            rows = np.arange(max(int(y) - reach, 0), min(int(y) + reach + 1, shape[0]))
            cols = np.arange(max(int(x) - reach, 0), min(int(x) + reach + 1, shape[1]))
            if len(rows) and len(cols):
                far = ((rows[:, None] + 0.5 - y) ** 2 + (cols + 0.5 - x) ** 2) / radius**2
                out[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] += depth * np.exp(-0.5 * far)
        return out


def skin(pack: Pack, person: Person, canvas: Canvas | None = None) -> np.ndarray:
    """sRGB and gloss [H, W, 4] uint8 of the head's atlas, or [1, n, 4] at the points of a canvas."""
    canvas = canvas or Atlas()
    rng = np.random.default_rng([int.from_bytes(b"skin"), person.seed])
    pictures = np.stack([canvas.read(name, pack.picture(f"{SKINS}/{name}")) for name, _ in person.skins])
    shape = pack.picture(f"{SKINS}/{person.skins[0][0]}").shape[:2]
    old = [name for name in pack.pictures(SKINS) if name.startswith(("old", "middleage"))] or [person.skins[0][0]]
    old_skin = old[rng.integers(len(old))]
    extra = person.wrinkles * canvas.read(f"fine {old_skin}", _fine_band(pack, old_skin))
    extra = extra - canvas.spots(_spots(person, rng), shape)
    out = np.empty((*pictures.shape[1:3], 4), np.uint8)
    _blend(
        pictures,
        np.array([share for _, share in person.skins], np.float32),
        np.log(np.array(person.skin_gain, np.float32)),
        np.log(np.array(person.lips, np.float32)),
        extra.astype(np.float32),
        canvas.read("lips", pack.picture("masks/lips_ears_eyelids")),
        canvas.read("hairy", _soft_hairline(pack)),
        np.array([person.hair.crop, person.beard.full, person.beard.goatee], np.float32),
        canvas.read("noise", _stubble_noise(*shape)),
        (np.log(np.maximum(to_linear(person.hair.color), 1e-3)) - 0.15).astype(np.float32),
        out,
    )
    brows = canvas.read(f"brows {person.brows}", brow_ink(pack, person.brows, shape))
    alpha = brows[..., 3:] * np.float32(1 / 255)
    painted = to_bytes(LINEAR[brows[..., :3]] * (to_linear(person.brow_color) / to_linear(INK)))
    out[..., :3] = (out[..., :3] * (1 - alpha) + painted * alpha + 0.5).astype(np.uint8)
    return out


@lru_cache(maxsize=16)
def brow_ink(pack: Pack, style: str, shape: tuple[int, int]) -> np.ndarray:
    """Brows in the atlas [H, W, 4] uint8, in INK: their cards lie so close that they are the skin's colour."""
    name = f"eyebrows/{style}"
    topology = pack.attachment(name).topology
    picture = Textures.pack([recolored(pack.picture(name), INK)])
    size = max(shape)
    flat = (_on_skin(pack, name) * [shape[1], shape[0]]).astype(np.float32)
    count, faces = len(flat), len(topology.faces)
    nothing = np.full((size, size), -1, np.int32), np.zeros((size, size), np.float32)
    even, flags = np.ones((count, 3), np.float32), np.zeros(faces, np.uint8)
    painted, _, _ = composite(
        flat, np.ones(count, np.float32), topology.faces, topology.face_uv, topology.uv, flags,
        np.zeros(faces, np.int64), np.zeros(faces, np.int64), picture.texels, picture.table, even,
        np.zeros((count, 4), np.float32), even,
        np.zeros((0, 6), np.float32), *nothing, np.arange(faces), size, 1, 1,
    )  # fmt: skip
    painted = painted[: shape[0], : shape[1]]
    straight = np.where(painted[..., 3:] > 0, painted[..., :3] / np.maximum(painted[..., 3:], 1e-6), INK[0])
    return (np.concatenate([straight, painted[..., 3:]], -1).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _on_skin(pack: Pack, name: str) -> np.ndarray:
    """Where an attachment's vertices lie in the head's atlas, [n, 2]: as the skin's vertices that they hang on do."""
    head = pack.skin_region == "head"
    coordinates = np.zeros((len(pack["vertex"]), 2), np.float32)
    coordinates[pack.skin.faces[head]] = pack.skin.uv[pack.skin.face_uv[head]]
    return pack.attachment(name).weight @ coordinates


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
                value = gain[c] + SPOT_TONE[c] * extra[row, col] + lip * lip_gain[c]
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


@lru_cache(maxsize=2)
def _soft_hairline(pack: Pack) -> np.ndarray:
    """The mask of painted hair, its hard edges thinned out over a centimetre; no further into lips than it was."""
    mask = pack.picture("masks/scalp_beard_goatee")
    scale = mask.shape[1] / 1472
    head = (pack.skin.uv[pack.skin.face_uv[pack.skin_region == "head"]] * mask.shape[1::-1]).astype(np.int32)
    there = np.zeros(mask.shape[:2], np.float32)
    cv2.fillPoly(there, list(head), (1.0,))
    soft = np.empty((*mask.shape[:2], 3), np.float32)
    for channel, width in enumerate((20, 20, 6)):  # texels of 1472; a moustache is narrow
        # Where the atlas ends the hair does not: only texels of the head count.
        blurred = cv2.GaussianBlur(mask[..., channel] * there, (0, 0), width * scale)
        soft[..., channel] = blurred / np.maximum(cv2.GaussianBlur(there, (0, 0), width * scale), 1e-3)
    return np.minimum(mask[..., :3], np.clip(1.7 * soft - 0.7 * 255, 0, 255)).astype(np.uint8)


@lru_cache(maxsize=8)
def _fine_band(pack: Pack, name: str) -> np.ndarray:
    """The log-lightness of a skin finer than FINE texels, [H, W]."""
    light = LOG_LINEAR[pack.picture(f"{SKINS}/{name}")[..., 1]]
    return np.clip(light - cv2.GaussianBlur(light, (0, 0), FINE), -0.5, 0.3)


def _spots(person: Person, rng: np.random.Generator) -> np.ndarray:
    """Freckles on cheeks and nose and a few moles anywhere on the face, [k, 4]: u, v, radius (texels), depth."""
    freckles, moles = int(150 * person.freckles), rng.poisson(1.2)
    where = np.concatenate(
        [rng.normal((0.5, 0.327), (0.055, 0.03), (freckles, 2)), rng.normal((0.5, 0.33), (0.07, 0.06), (moles, 2))]
    )
    radius = np.concatenate([rng.uniform(0.7, 1.4, freckles), rng.uniform(1.0, 2.2, moles)])
    depth = np.concatenate([rng.uniform(0.05, 0.35, freckles), rng.uniform(0.5, 1.2, moles)])
    return np.concatenate([where, radius[:, None], depth[:, None]], 1)
