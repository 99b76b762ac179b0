"""What a face does: ARKit weights, frame by frame for a film or one at a time for a picture.

The mouth follows the phonemes of ``procedural.speech`` (co-articulation, sound); lids, gaze, brows and mood come from
streams of their own, so that none tells anything of another.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from jax_talker.blinking import blinks
from jax_talker.data.clip.clip import FPS
from jax_talker.procedural import motion, speech

Units = Mapping[str, float]  # ARKit unit, or its name without Left and Right for both sides → weight

# The mouth of each phoneme of procedural.speech. Sibilants show the teeth, f lays the lower lip under the upper ones.
VISEMES: dict[str, Units] = {
    "a": {"jawOpen": 0.50, "mouthLowerDown": 0.30, "mouthUpperUp": 0.22},
    "e": {"jawOpen": 0.28, "mouthStretch": 0.25, "mouthLowerDown": 0.35, "mouthUpperUp": 0.28, "mouthSmile": 0.12},
    "i": {"jawOpen": 0.12, "mouthStretch": 0.40, "mouthSmile": 0.30, "mouthLowerDown": 0.42, "mouthUpperUp": 0.32},
    "o": {"jawOpen": 0.34, "mouthFunnel": 0.60},
    "u": {"jawOpen": 0.14, "mouthPucker": 0.65, "mouthFunnel": 0.35},
    "@": {"jawOpen": 0.24, "mouthLowerDown": 0.25, "mouthUpperUp": 0.18},
    "m": {"mouthPress": 0.35, "mouthRollLower": 0.22, "mouthRollUpper": 0.16},
    "b": {"mouthPress": 0.25, "mouthRollLower": 0.15, "mouthRollUpper": 0.12, "mouthPucker": 0.05},
    "l": {"jawOpen": 0.20, "mouthLowerDown": 0.35, "mouthUpperUp": 0.22},
    "s": {"jawOpen": 0.05, "mouthStretch": 0.28, "mouthLowerDown": 0.50, "mouthUpperUp": 0.34},
    "S": {"jawOpen": 0.10, "mouthFunnel": 0.55, "mouthLowerDown": 0.35, "mouthUpperUp": 0.28},
    "f": {"jawOpen": 0.06, "mouthRollLower": 0.55, "mouthUpperUp": 0.32},
}
FRIENDLY: Units = {
    "browInnerUp": 0.22,
    "browOuterUp": 0.10,
    "mouthSmile": 0.13,
    "eyeWide": 0.08,
}  # a plain face of the pack looks stern
MOODS: dict[str, Units] = {
    "plain": {},
    "smile": {"mouthSmile": 0.55, "cheekSquint": 0.45, "eyeSquint": 0.25, "mouthDimple": 0.2},
    "laugh": {"mouthSmile": 0.75, "cheekSquint": 0.7, "eyeSquint": 0.4, "jawOpen": 0.3, "mouthUpperUp": 0.4},
    "frown": {"browDown": 0.7, "mouthFrown": 0.5, "eyeSquint": 0.2},
    "surprise": {"browInnerUp": 0.7, "browOuterUp": 0.7, "eyeWide": 0.7, "jawOpen": 0.25},
    "disgust": {"noseSneer": 0.7, "browDown": 0.5, "mouthUpperUp": 0.5, "eyeSquint": 0.3},
    "sad": {"browInnerUp": 0.8, "mouthFrown": 0.5, "mouthShrugLower": 0.4},
    "puffed": {"cheekPuff": 0.7, "mouthPucker": 0.3},
}
UPPER_ENDS = {"jawOpen": 0.7, "mouthSmile": 0.8, "mouthFunnel": 0.8, "mouthRoll": 0.7, "mouthPress": 0.8}
UPPER_ENDS |= {"mouthUpperUp": 0.6, "mouthLowerDown": 0.8, "mouthShrugUpper": 0.6, "mouthStretch": 0.7}
UPPER_ENDS |= {"cheekPuff": 0.8, "browDown": 0.8, "mouthPucker": 0.9}


def unit_vector(names: tuple[str, ...], units: Units) -> np.ndarray:
    """Weights [52] in the order of ``names``; a name without Left or Right means both sides. ValueError if unknown."""
    out = np.zeros(len(names), np.float32)
    for unit, weight in units.items():
        rows = [names.index(n) for n in (unit, f"{unit}Left", f"{unit}Right") if n in names]
        if not rows:
            raise ValueError(f"{unit!r} is no ARKit unit")
        out[rows] += weight
    return out


def within(names: tuple[str, ...], weights: np.ndarray) -> np.ndarray:
    """Weights [..., 52] clipped to what looks natural together; the tongue stays in a closed mouth."""
    most = np.array([next((end for start, end in UPPER_ENDS.items() if n.startswith(start)), 1.0) for n in names])
    out = np.clip(weights, 0, most).astype(np.float32)
    jaw = out[..., names.index("jawOpen")]
    out[..., names.index("mouthClose")] = np.minimum(out[..., names.index("mouthClose")], jaw)
    out[..., names.index("tongueOut")] *= jaw >= 0.3
    for side in ("Left", "Right"):  # wide or squinting eyes would keep a blink from closing
        blink = out[..., names.index(f"eyeBlink{side}")]
        for unit in ("eyeWide", "eyeSquint", "cheekSquint", "eyeLookDown"):
            out[..., names.index(unit + side)] *= 1 - blink
    return out


def gaze_units(names: tuple[str, ...], yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Lid units [T, 52] of eyes that look (yaw, pitch) degrees, [T] each: to the person's left, and up."""
    out = np.zeros((len(yaw), len(names)), np.float32)
    for side, sign in (("Left", 1), ("Right", -1)):
        for way, amount, most in (
            ("Out", sign * yaw, 23),
            ("In", -sign * yaw, 23),
            ("Up", pitch, 12),
            ("Down", -pitch, 20),
        ):
            out[:, names.index(f"eyeLook{way}{side}")] = np.clip(amount / most, 0, 1)
    return out


def speaking(names: tuple[str, ...], talk: speech.Speech, frames: int, *, effort: float = 1.0) -> np.ndarray:
    """The mouth [T, 52] of speech: its phonemes' visemes, blended as they overlap; ``effort`` 0.6 mumbles."""
    visemes = np.stack([unit_vector(names, VISEMES[phoneme]) for phoneme in speech.PHONEMES])
    return effort * talk.phonemes_at(np.arange(frames) / FPS) @ visemes


def glances(frames: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Gaze (yaw, pitch) degrees [T] each: mostly at the camera, with short looks aside; saccades take a frame."""
    yaw, pitch, at = np.zeros(frames), np.zeros(frames), 0
    while at < frames:
        stay = int(FPS * rng.uniform(0.4, 2.5))
        away = rng.random() < 0.3
        yaw[at : at + stay] = rng.normal(0, 9 if away else 1.5)
        pitch[at : at + stay] = rng.normal(0, 5 if away else 1.0)
        at += stay
    return gaussian_filter1d(yaw, 0.6), gaussian_filter1d(pitch, 0.6)


@dataclass(frozen=True)
class Performance:
    """A person speaks: weights [T, 52], blink [T], head angles [T, 3] degrees and sound at 16 kHz."""

    units: np.ndarray
    blink: np.ndarray
    angles: np.ndarray
    sound: np.ndarray


def _streams(seed: int) -> list[np.random.Generator]:
    return [np.random.default_rng(s) for s in np.random.SeedSequence([int.from_bytes(b"acts"), seed]).spawn(7)]


def voice_of(seed: int) -> speech.Voice:
    """The voice in which the person of a seed speaks."""
    return speech.random_voice(_streams(seed)[0])


def perform(names: tuple[str, ...], seed: int, seconds: float, *, turn: float = 1.0) -> Performance:
    """Speech with blinks, glances, brows, a slowly changing mood and a turning head."""
    voices, words, lids, brow, turns, look, mood = _streams(seed)
    frames = round(seconds * FPS)
    talk = speech.speak(seconds, words, speech.random_voice(voices))
    units = unit_vector(names, FRIENDLY) + speaking(names, talk, frames, effort=voices.uniform(0.8, 1.15))
    height = motion.brows(frames, brow)[:, None]
    units += np.maximum(height, 0) * unit_vector(names, {"browInnerUp": 0.5, "browOuterUp": 0.5})
    units += np.maximum(-height, 0) * unit_vector(names, {"browDown": 0.5})
    swing = np.clip(gaussian_filter1d(mood.standard_normal(frames + 200), 40)[100:-100] * 8, 0, 1)[:, None]
    units += 0.5 * swing * unit_vector(names, MOODS["smile"])
    units += gaze_units(names, *glances(frames, look))
    closed = blinks(frames, lids)
    units += closed[:, None] * unit_vector(names, {"eyeBlink": 1.0})
    return Performance(
        within(names, units), closed.astype(np.float32), motion.turning(frames, turns, amount=turn), talk.sound
    )


def random_expression(names: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Weights [52] of one moment: often a mouth between two phonemes, a mood, a glance, sometimes closed lids."""
    units = unit_vector(names, FRIENDLY) * rng.uniform(0, 1.5)
    if rng.random() < 0.65:
        first, second = rng.choice(list(VISEMES), 2)
        share = rng.beta(0.6, 0.6)
        mouth = share * unit_vector(names, VISEMES[first]) + (1 - share) * unit_vector(names, VISEMES[second])
        units += rng.uniform(0.6, 1.2) * mouth
    if rng.random() < 0.6:
        units += rng.uniform(0.2, 1.0) * unit_vector(names, MOODS[rng.choice(list(MOODS))])
    if rng.random() < 0.5:  # a few single units, also on one side
        units[rng.integers(len(names), size=3)] += rng.uniform(0, 0.5, 3)
    look = rng.normal(0, [8, 4]) if rng.random() < 0.6 else np.zeros(2)
    units += gaze_units(names, look[:1], look[1:])[0]
    if rng.random() < 0.2:
        units += rng.beta(0.8, 0.4) * unit_vector(names, {"eyeBlink": 1.0})
    return within(names, units)
