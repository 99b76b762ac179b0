"""Are the pictures good: sharp, well exposed, steady in brightness, each one new, with nothing before the face?"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy.ndimage import median_filter, percentile_filter, uniform_filter1d

from jax_talker.data.check.doctor.spans import across_boundaries, flagged, runs, spread, whole
from jax_talker.data.clip.clip import FPS
from jax_talker.data.clip.findings import Finding, Severity
from jax_talker.data.cut.picture_stats import PATCHES

SOFT = 0.24  # sharpness; a blur of 1 px leaves 0.20–0.26, the real clips have 0.34–0.49 (see picture_stats)
BLURRED = 0.7  # of the clip's median; turning heads fall to 0.75 by themselves; motion blur of 7 px leaves 0.54–0.68
BLUR_FRAMES = 2
LIDS = 0.3  # of closure; beyond it the eyes' detail is going or gone
CLIPPED_FACE = 0.08  # share of the face without texture; the real clips have 0.00, 0.003, 0.00 burnt out
CRUSHED_FACE = 0.12  # the same in the dark; the real clips have at most 0.02 (nostrils, pupils, mouth)
DARK = 35.0  # luma; the darkest skin in fair light has about 50
FLICKER = 3.0  # luma, median second difference of the face's brightness; the real clips have at most 0.7, 1.1, 2.0
FLICKER_WINDOW = 1.0  # s
FLASH = 20.0  # luma in one frame; the real clips change by at most 5.5
FROZEN = 1e-4  # of the crop's side, mean motion of landmarks; still people's landmarks tremble by 5e-4
FROZEN_TIME = 0.4  # s
REPEATED = 4e-4  # of the crop's side: repeats of a picture through H.264 move landmarks by up to 3e-4
REPEATED_RELATIVE = 0.2  # of what the head moves around that time
MANY_REPEATED = 0.08  # share of the frames; film's 24 pictures a second give 0.04
OCCLUDED_FRAMES = 3
STILL_FOREIGN = 0.7  # of the limits below: what has crossed them is there as long as it stays beyond this
# CIELAB distance from the clip's own colours that nothing but an object gives. Measured without one, on the three real
# clips and 17 procedural views, after the fit: cheeks 8, forehead 6, nose 3, mouth 10, chin 30 (neck, lips).
# Drawn into the three: a black microphone at the chin 51–71, a dark strand 48–67, white paper 23–31, a dark hand 14–26.
FOREIGN = {"mouth": 25.0, "chin": 34.0, "left_cheek": 20.0, "right_cheek": 20.0}
FOREIGN_ELSEWHERE = 16.0
FOREIGN_SPREADS = 6.0  # in the patch's own standard deviations
OTHER_LIGHT = 1.5  # times as bright or as dark as usual; colours then tell of the light, which exposure reports
FIT_ROUNDS = 6  # of the colours on pose and mouth
FIT_PRIOR = 0.5  # frames; the pull towards no influence


def check_sharpness(sharpness: Float[np.ndarray, " T"], blink: Float[np.ndarray, " T"]) -> list[Finding]:
    """Soft pictures throughout, or blur that comes and goes. ``blink``: lids have less detail than eyes."""
    usual = float(np.median(sharpness))
    found = []
    if usual < SOFT:
        message = f"the pictures are soft (detail {usual:.2f}, sharp ones have 0.34 and more)"
        advice = "the source was enlarged, out of focus or compressed too much; a smaller --size loses nothing"
        found.append(whole(len(sharpness), "soft", Severity.WARNING, message, advice))
    blurred = (sharpness < BLURRED * usual) & (blink < LIDS)
    message = f"the face is blurred (down to {sharpness.min() / max(usual, 1e-6):.0%} of the clip's usual detail)"
    advice = "motion blur or focus: leave the part out when it is long"
    return found + flagged(blurred, "blur", Severity.WARNING, message, advice, at_least=BLUR_FRAMES)


def check_exposure(
    over: Float[np.ndarray, " T"], under: Float[np.ndarray, " T"], brightness: Float[np.ndarray, " T"]
) -> list[Finding]:
    """Faces burnt out or drowned in black. Shares of the face without texture, and its mean luma."""
    found = []
    for kind, share, limit, what, advice in (
        ("over_exposed", over, CLIPPED_FACE, "burnt out", "skin without texture is learnt as paint: use less light"),
        ("under_exposed", under, CRUSHED_FACE, "black", "what is black holds no shape: use more light"),
    ):
        severity = Severity.ERROR if np.median(share) > 4 * limit else Severity.WARNING
        message = f"up to {share.max():.0%} of the face is {what}"
        found += flagged(share > limit, kind, severity, message, f"{advice}, or grade the video before preparing it")
    message = f"the face is dark (luma down to {brightness.min():.0f} of 255)"
    advice = "8-bit video keeps few shades there: use more light; brightening it later does not bring them back"
    return found + flagged(brightness < DARK, "dark", Severity.WARNING, message, advice)


def check_brightness(brightness: Float[np.ndarray, " T"], boundaries: Sequence[int] = ()) -> list[Finding]:
    """Flicker, and lights that jump. Mean luma of the face, 0 … 255."""
    if len(brightness) < 4:
        return []
    change = np.pad(np.abs(np.diff(brightness)), (1, 0))
    change[across_boundaries(len(brightness), boundaries)] = 0
    found = flagged(
        change > FLASH, "flash", Severity.WARNING,
        f"the face's brightness jumps (by up to {change.max():.0f} of 255)",
        "a flash, a light switched or automatic exposure: one colour cannot fit both, leave one part out",
    )  # fmt: skip
    bend = np.pad(np.diff(np.clip(brightness, *_usual(brightness)), 2), (1, 1))
    bend[across_boundaries(len(brightness), boundaries, 2) | (change > FLASH) | np.roll(change > FLASH, -1)] = 0
    strength = median_filter(np.abs(bend), round(FLICKER_WINDOW * FPS), mode="nearest")  # single steps do not flicker
    message = f"the face's brightness flickers (second differences of {strength.max():.1f} of 255)"
    advice = "lamps on mains or automatic exposure: remove it with a deflicker filter before preparing"
    return found + flagged(strength > FLICKER, "flicker", Severity.WARNING, message, advice, at_least=FPS // 2)


def check_repeats(moved: Float[np.ndarray, " T"], source_fps: float | None = None) -> list[Finding]:
    """Pictures that stand still or come twice. ``moved``: mean motion of the landmarks since the frame before, in sides
    of the crop; NaN where there is no frame before."""
    frames = len(moved)
    known = np.nan_to_num(moved, nan=1.0)
    count = round(FROZEN_TIME * FPS)
    if frames < 2 * count:
        return []
    still = np.zeros(frames, bool)
    mean = uniform_filter1d(np.minimum(known, 0.01), count, mode="nearest")
    for t in np.flatnonzero(mean < FROZEN):
        still[max(0, t - count // 2) : t + count // 2] = True
    still &= known < 5 * FROZEN
    found = [
        Finding(
            "frozen", Severity.WARNING, max(0, first - 1) / FPS, end / FPS,
            f"the picture stands still for {(end - first) / FPS:.1f} s",
            "a still picture with sound going on teaches a closed mouth: leave the part out",
        )
        for first, end in runs(still, at_least=count - 1, join=2)
    ]  # fmt: skip
    around = percentile_filter(known, 75, size=15, mode="nearest")
    repeated = (known < REPEATED) & (known < REPEATED_RELATIVE * around) & ~still
    share = float(repeated.sum() / max(1, (~still).sum()))
    if share > MANY_REPEATED:
        rate = f" (the file says {source_fps:g})" if source_fps else ""
        message = f"{share:.0%} of the pictures repeat the one before: about {FPS * (1 - share):.0f} a second{rate}"
        advice = "lips move in steps; use a recording at 25 pictures a second or more, before it was converted"
        found.append(whole(frames, "repeated", Severity.WARNING, message, advice))
    return found


def check_occlusion(
    stats: Mapping[str, Float[np.ndarray, " T"]],
    pose: Float[np.ndarray, "T 3"],
    mouth: Float[np.ndarray, " T"],
    jaw: Float[np.ndarray, " T"],
) -> list[Finding]:
    """A hand, a microphone, hair: a patch of the face takes colours that its pose and the mouth do not explain.

    ``stats``: picture_stats' tones and brightness. What is there during most of the clip is taken for part of the face.
    """
    off = foreign(stats, pose, mouth, jaw)
    usual = max(float(np.median(stats["brightness"])), 1.0)
    other_light = np.abs(np.log(np.maximum(stats["brightness"], 1.0) / usual)) > np.log(OTHER_LIGHT)
    covered = {name: _held(off[name]) & ~other_light for name in PATCHES}
    found = []
    for first, end in runs(np.any(list(covered.values()), 0), at_least=OCCLUDED_FRAMES, join=FPS // 3):
        names = [name for name in PATCHES if covered[name][first:end].sum() >= min(OCCLUDED_FRAMES, end - first)]
        where = ", ".join(name.replace("_", " ") for name in names) or "the face"
        message = f"something seems to be before the face ({where})"
        advice = "a hand or a microphone is learnt as part of the head: leave the part out"
        found.append(Finding("occlusion", Severity.WARNING, first / FPS, end / FPS, message, advice))
    return found


def foreign(
    stats: Mapping[str, Float[np.ndarray, " T"]],
    pose: Float[np.ndarray, "T 3"],
    mouth: Float[np.ndarray, " T"],
    jaw: Float[np.ndarray, " T"],
) -> dict[str, Float[np.ndarray, " T"]]:
    """How foreign each patch's colour is in each frame: beyond 1 neither the light on the whole face, nor the head's
    pose, nor the mouth explains it."""
    colours = tones(stats)
    off = colours - np.median(colours, -1, keepdims=True)
    off = _unexplained(off.reshape(-1, off.shape[-1]).T, _causes(pose, mouth, jaw)).T.reshape(off.shape)
    off[:, 0] -= np.median(off[:, 0], 0)  # light that changes on the whole face
    distance = median_filter(np.linalg.norm(off, axis=1), (1, 3), mode="nearest")
    limit = np.array([FOREIGN.get(name, FOREIGN_ELSEWHERE) for name in PATCHES])
    limit = np.maximum(limit, FOREIGN_SPREADS * spread(distance))
    return dict(zip(PATCHES, distance / limit[:, None], strict=True))


def _causes(pose: np.ndarray, mouth: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    """What patches' colours may depend on, [T, K]: turning moves shade, hair and neck into them, the mouth lips."""
    yaw, pitch = ((pose[:, k] - np.median(pose[:, k])) / 10 for k in (0, 1))
    return np.stack([np.ones(len(yaw)), yaw, yaw**2, yaw**3, pitch, pitch**2, yaw * pitch, mouth, mouth**2, jaw], 1)


def _unexplained(values: np.ndarray, causes: np.ndarray) -> np.ndarray:
    """What a linear fit on ``causes`` leaves of [T, M] values; outliers hardly take part in it (Cauchy's weights)."""
    held = FIT_PRIOR * np.eye(causes.shape[1])
    rest = values
    for _ in range(FIT_ROUNDS):
        width = np.maximum(2 * spread(rest.T), 1.0)
        left = np.empty_like(rest)
        for column in range(values.shape[1]):
            weight = 1 / (1 + (rest[:, column] / width[column]) ** 2)
            weighted = causes.T * weight
            fit = np.linalg.solve(weighted @ causes + held, weighted @ values[:, column])
            left[:, column] = values[:, column] - causes @ fit
        rest = left
    return rest


def tones(stats: Mapping[str, Float[np.ndarray, " T"]]) -> Float[np.ndarray, "N 3 T"]:
    """Colours of the patches, CIELAB."""
    return np.array([[stats[f"tone_{name}_{axis}"] for axis in "lab"] for name in PATCHES])


def _held(ratio: np.ndarray) -> np.ndarray:
    """Beyond 1, and around that as long as it stays beyond STILL_FOREIGN."""
    held = np.zeros(len(ratio), bool)
    for first, end in runs(ratio > STILL_FOREIGN):
        held[first:end] = (ratio[first:end] > 1).any()
    return held


def _usual(values: np.ndarray) -> tuple[float, float]:
    """A range that single flashes do not leave."""
    centre, width = float(np.median(values)), float(spread(values))
    return centre - 6 * width - 1, centre + 6 * width + 1
