"""An invisible mark in a video: a faint pattern that swells and fades, says "made by this program", and holds 16 bits.

Spread-spectrum marking (Cox et al., 1997) with a periodic pattern, which tells its own scale and place. A tile of TILE
× TILE pixels repeats over the picture: SYNC, which is always the same, and one pattern for each bit, added or
subtracted; all are noise of wavelengths that codecs and rescaling leave alone. Its height follows a sine of PERIOD
frames. A detector takes from every pixel what swings at that pace (what stands still is gone, and what moves is spread
over all paces), makes all parts of the picture equally loud, and for every scale folds it into one tile: repetitions
add up, contents do not. Where SYNC fits, in whatever phase, bits are read.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Complex, Float, Float32, UInt8

BITS = 16
TILE = 64  # px
PERIOD = 40  # frames of 25 fps
SEED = 20251129
WAVELENGTHS = (6.0, 18.0)  # px
STRENGTH = 1.95  # levels of 255, RMS over a picture of SIZE² and in time
SIZE, FALL = 192, 0.5  # px; the larger the picture, the less will do: strength falls with this power of its side
PEAK = 2.5  # deviations of the pattern; higher ones would be seen first
SMOOTH, BUSY = 0.6, 17.0  # share of the mark where nothing goes on; levels of 255 from which on it is three times that
AROUND = 3.0  # px, deviation of the filter that says how much goes on at a place
ROOM = 0.5  # of the strength, by which white and black are drawn in: more is seen, less cuts the mark off
SYNC_SHARE = 0.5  # of the mark's energy
SCALES = np.exp(np.linspace(np.log(0.5), np.log(2.0), 140))  # that are tried, 1 % apart
MOST = 750  # frames that are looked at
FOUND = 8.0  # deviations of noise; docs/ethics.md has what was measured on clips without a mark
LOUDNESS = 6.0  # px, deviation of the filter by which all parts become equally loud
FLOOR = 0.1  # levels of 255; what swings less is rounding
RINGS = 12  # of frequencies, in each of which the folded picture's noise is made equal


@dataclass(frozen=True)
class Mark:
    """What was read from a video."""

    found: bool
    score: float  # deviations of noise at the best scale and place
    bits: int  # of what was read, 16 of them; only what is ``found`` means anything
    scale: float  # size of the pattern in the video over the one it was made with
    certainty: float  # of the least certain bit, deviations of noise


def pattern(bits: int) -> Float32[np.ndarray, "T T"]:
    """The tile that is added: deviation 1 and mean 0, but for peaks that are cut off."""
    if not 0 <= bits < 1 << BITS:
        raise ValueError(f"a mark holds {BITS} bits, {bits} does not fit")
    sync, each = _patterns()
    signs = np.array([1.0 if bits >> n & 1 else -1.0 for n in range(BITS)])
    mark = np.sqrt(SYNC_SHARE) * sync + np.sqrt((1 - SYNC_SHARE) / BITS) * np.tensordot(signs, each, 1)
    return np.clip(mark / mark.std(), -PEAK, PEAK).astype(np.float32)


def marked(
    picture: UInt8[np.ndarray, "H W C"], tile: Float32[np.ndarray, "T T"], index: int
) -> UInt8[np.ndarray, "H W C"]:
    """Frame ``index`` of a video (25 fps) with the mark in its brightness; an alpha channel stays as it is.

    Where much goes on in the picture there is more of it, and less where it is smooth and would be seen.
    """
    height, width = picture.shape[:2]
    strength = STRENGTH * min(1.0, SIZE / math.sqrt(height * width)) ** FALL
    swing = math.sqrt(2) * strength * math.sin(2 * math.pi * index / PERIOD)
    mark = swing * np.tile(tile, (-(-height // TILE), -(-width // TILE)))[:height, :width] * _hidden(picture)
    room = ROOM * strength
    colour = np.clip(picture[..., :3].astype(np.float32), room, 255 - room) + mark[..., None]
    out = np.clip(np.round(colour), 0, 255).astype(np.uint8)
    return out if picture.shape[2] == 3 else np.dstack([out, picture[..., 3]])


def detect(pictures: Iterable[UInt8[np.ndarray, "H W 3"]]) -> Mark:
    """Look for the mark in frames (25 fps, all of one size) of a video or of a part of it, a second or longer."""
    swinging = _levelled(_swing(pictures))
    sync, each = _patterns()
    wanted = np.conj(np.fft.fft2(sync))
    best = (-np.inf, np.zeros((TILE, TILE)), 1.0)
    for scale in SCALES:
        spectrum = _folded(swinging, 1 / float(scale))
        fits = np.fft.ifft2(spectrum * wanted)
        row, column = np.unravel_index(np.argmax(np.abs(fits)), fits.shape)
        fit = fits[row, column]
        if np.abs(fit) > best[0]:
            folded = np.fft.ifft2(spectrum) * np.conj(fit) / max(np.abs(fit), 1e-12)
            best = float(np.abs(fit)), np.roll(folded.real, (-row, -column), (0, 1)), float(scale)
    score, tile, scale = best
    read = np.tensordot(each, tile, 2)
    bits = sum(1 << n for n in range(BITS) if read[n] > 0)
    return Mark(score > FOUND, score, bits, scale, float(np.abs(read).min()))


def _hidden(picture: UInt8[np.ndarray, "H W C"]) -> Float32[np.ndarray, "H W"]:
    """How much of the mark each place hides; 1 in the mean of squares."""
    bright = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY).astype(np.float32)
    blurred = [cv2.GaussianBlur(x, (0, 0), AROUND) for x in (bright, bright * bright)]
    busy = np.sqrt(np.maximum(blurred[1] - blurred[0] ** 2, 0))
    share = np.clip(SMOOTH + busy / BUSY, SMOOTH, 3 * SMOOTH)
    return share / np.sqrt((share * share).mean())


def _within() -> tuple[Float[np.ndarray, "T T"], Float[np.ndarray, "T T"]]:
    """Frequencies of the tile's modes, cycles per pixel, and which of them the mark is made of."""
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.fftfreq(TILE)[None])
    return frequency, ((frequency >= 1 / WAVELENGTHS[1]) & (frequency <= 1 / WAVELENGTHS[0])).astype(np.float64)


def _patterns() -> tuple[Float[np.ndarray, "T T"], Float[np.ndarray, "N T T"]]:
    """SYNC and those of the bits: noise within WAVELENGTHS, orthogonal, each of deviation 1."""
    rng = np.random.default_rng(SEED)
    _, within = _within()
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((BITS + 1, TILE, TILE))) * within).real
    flat, _ = np.linalg.qr(noise.reshape(BITS + 1, -1).T)
    patterns = TILE * flat.T.reshape(BITS + 1, TILE, TILE)
    return patterns[0], patterns[1:]


def _swing(pictures: Iterable[np.ndarray]) -> Complex[np.ndarray, "H W"]:
    """What of each pixel's brightness swings at the mark's pace."""
    total = swinging = None
    phases = []
    for index, picture in zip(range(MOST), pictures):  # noqa: B905  (pictures may be fewer, or more)
        bright = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY).astype(np.float32)
        phases.append(np.exp(-2j * np.pi * index / PERIOD))
        total = bright if total is None else total + bright
        swinging = bright * phases[-1] + (0 if swinging is None else swinging)
    if total is None or swinging is None:
        raise ValueError("no pictures")
    return (swinging - total * np.mean(phases)) / len(phases)


def _levelled(swinging: Complex[np.ndarray, "H W"]) -> Complex[np.ndarray, "H W"]:
    """Equally loud everywhere."""
    power = (np.abs(swinging) ** 2).astype(np.float32)
    return swinging / (np.sqrt(cv2.GaussianBlur(power, (0, 0), LOUDNESS)) + FLOOR)


def _folded(swinging: Complex[np.ndarray, "H W"], factor: float) -> Complex[np.ndarray, "T T"]:
    """The picture resized by ``factor`` as one tile, the sum of its repetitions: the spectrum of what is within
    WAVELENGTHS, scaled so that where there is no mark, SYNC and the bits fit with deviation 1 (each part of it)."""
    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    parts = [
        cv2.resize(part.astype(np.float32), None, fx=factor, fy=factor, interpolation=kind)
        for part in (np.real(swinging), np.imag(swinging))
    ]
    height, width = (-(-n // TILE) * TILE for n in parts[0].shape)
    whole = np.zeros((height, width), np.complex128)
    whole[: parts[0].shape[0], : parts[0].shape[1]] = parts[0] + 1j * parts[1]
    spectrum = np.fft.fft2(whole.reshape(height // TILE, TILE, width // TILE, TILE).sum((0, 2)))
    frequency, within = _within()
    ring = np.floor((frequency * WAVELENGTHS[1] - 1) / (WAVELENGTHS[1] / WAVELENGTHS[0] - 1) * RINGS).clip(0, RINGS - 1)
    for number in range(RINGS):
        those = (ring == number) & (within > 0)
        spectrum[those] /= np.sqrt((np.abs(spectrum[those]) ** 2).mean() / 2) + 1e-12
    # A fit is Σ spectrum·conj(pattern's)/T² with Σ |pattern's|² = T⁴, so its deviation is now 1.
    return spectrum * within
