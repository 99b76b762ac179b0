"""Was the head followed well: lost frames, landmarks that do not fit, jumps, cuts, crops beyond the picture?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from jax_talker.data.check.doctor.spans import across_boundaries, flagged, whole
from jax_talker.data.clip.findings import Finding, Severity
from jax_talker.data.read.boundaries import recordings, spans_boundary

MUCH_LOST = 0.05  # share of the frames
COARSE_FIT = 3.0  # px at 512²; on average the real clips have 1.0 (May_5s), 2.0 (KatieHill), 2.2 (expressive)
BAD_FIT = 9.0  # px at 512²; the worst single frames of the three have 2.0, 4.5, 8.8
MUCH_OUTSIDE = 0.02  # share of a crop that the source does not show
ENLARGED = 1.5  # times; beyond this a crop is visibly blurred
SIZE_CHANGE = 1.6  # largest over smallest crop
TURN_JUMP = 8.0  # degrees of second difference; the real clips reach 1.9, 3.1, 3.0
PLACE_JUMP = 0.06  # of the crop's side, second difference; the real clips reach 0.02
COLOURED = 3  # frames before and after, whose colours are compared
NEW_COLOURS = 8.0  # CIELAB, median over the face's patches; the real clips change by 2 at most within 3 frames


def check_found(found: Float[np.ndarray, " T"]) -> list[Finding]:
    """Frames in which no face was found: their landmarks are interpolated."""
    lost = found <= 0
    severity = Severity.WARNING if lost.mean() > MUCH_LOST else Severity.NOTE
    message = f"the face was not found ({int(lost.sum())} of {len(lost)} frames in all); its landmarks are interpolated"
    return flagged(
        lost, "lost", severity, message, "look at these frames; leave the part out if something covers the face"
    )


def check_fit(fit: Float[np.ndarray, " T"]) -> list[Finding]:
    """Landmarks that move against each other. ``fit``: px at 512² between them and a rigid head's projection; NaN in
    frames without landmarks of their own."""
    found = []
    fit = np.nan_to_num(fit, nan=float(np.nanmedian(fit)) if np.isfinite(fit).any() else 0.0)
    if (error := float(fit.mean())) > COARSE_FIT:
        message = f"landmarks move against each other ({error:.1f} px at 512² on average)"
        advice = "pose and crop may be unsteady; another landmarker (--landmarks) may see this face better"
        found.append(whole(len(fit), "fit", Severity.WARNING, message, advice))
    message = f"landmarks do not fit a rigid head (up to {fit.max():.0f} px at 512²)"
    advice = "look at these frames: a hand, a profile or another face may have misled the landmarks"
    return found + flagged(fit > max(BAD_FIT, 3 * COARSE_FIT), "fit_spike", Severity.WARNING, message, advice)


def check_crop(
    crop: Float[np.ndarray, "T 3"], source_size: tuple[int, int], size: int, boundaries: Sequence[int] = ()
) -> list[Finding]:
    """Crops beyond the picture, enlarged ones, a head whose size changes. ``crop``: centre x, y and side, source px;
    another recording (``boundaries``) may show the head in another size."""
    found = []
    outside = share_outside(crop, source_size)
    message = f"the crop reaches beyond the source picture (up to {outside.max():.0%}, {outside.mean():.0%} on average)"
    advice = "what was not filmed teaches nothing (valid/ marks it); a wider shot or a larger --focal avoids it"
    found += flagged(outside > MUCH_OUTSIDE, "outside", Severity.WARNING, message, advice)
    side = crop[:, 2]
    if (factor := size / float(np.median(side))) > ENLARGED:
        message = f"the head's crop has {np.median(side):.0f} px in the source and is enlarged {factor:.1f} times"
        fitting = max(64, round(float(np.median(side)) / 64) * 64)
        advice = f"detail cannot be learnt that is not there: --size {fitting} loses none"
        found.append(whole(len(crop), "enlarged", Severity.WARNING, message, advice))
    change = max(float(side[own].max() / side[own].min()) for own in recordings(len(side), boundaries))
    if change > SIZE_CHANGE:
        message = f"the head's size in the picture changes by a factor of {change:.1f}"
        advice = "check that it is one shot; a zoom changes the perspective that one focal length cannot follow"
        found.append(whole(len(crop), "size_change", Severity.WARNING, message, advice))
    return found


def check_jumps(
    pose: Float[np.ndarray, "T 3"],
    place: Float[np.ndarray, "T 2"],
    tones: Float[np.ndarray, "N 3 T"],
    boundaries: Sequence[int] = (),
) -> list[Finding]:
    """Sudden changes of pose (degrees) or place (in sides of the crop); with new colours it is a cut.

    ``tones``: CIELAB colours of the face's patches. Differences across ``boundaries`` are not looked at.
    """
    if len(pose) < 4:
        return []
    same = ~spans_boundary(len(pose), boundaries, 2)[:-2]
    turned = np.linalg.norm(np.diff(pose, 2, axis=0), axis=1) * same
    moved = np.linalg.norm(np.diff(place, 2, axis=0), axis=1) * same
    jump = np.pad((turned > TURN_JUMP) | (moved > PLACE_JUMP), (1, 1))
    cut = jump & _near((colour_steps(tones) > NEW_COLOURS) & ~across_boundaries(len(pose), boundaries, COLOURED))
    found = flagged(
        cut, "cut", Severity.ERROR, "the picture jumps and its colours change: a cut",
        "prepare one shot at a time with --start and --duration",
    )  # fmt: skip
    what = f"the head jumps (by up to {turned.max():.0f}° or {moved.max():.2f} of the crop against its own motion)"
    advice = "look at these frames: the landmarks slipped, or pictures are missing"
    return found + flagged(jump & ~_near(cut), "jump", Severity.WARNING, what, advice)


def share_outside(crop: Float[np.ndarray, "T 3"], source_size: tuple[int, int]) -> Float[np.ndarray, " T"]:
    """Share of each crop's area that lies outside the source picture."""
    half, shown = crop[:, 2] / 2, np.ones(len(crop))
    for axis, length in enumerate(source_size):
        first, last = np.clip(crop[:, axis] - half, 0, length), np.clip(crop[:, axis] + half, 0, length)
        shown *= (last - first) / np.maximum(crop[:, 2], 1e-6)
    return 1 - shown


def colour_steps(tones: Float[np.ndarray, "N 3 T"]) -> Float[np.ndarray, " T"]:
    """How much the face's colours differ between just before and just after each frame (medians of three)."""
    frames = tones.shape[-1]
    steps = np.zeros(frames)
    for t in range(2, frames - 2):
        before = np.median(tones[..., max(0, t - COLOURED) : t], -1)
        after = np.median(tones[..., t : t + COLOURED], -1)
        steps[t] = np.median(np.linalg.norm(after - before, axis=1))
    return steps


def _near(flags: Bool[np.ndarray, " T"]) -> Bool[np.ndarray, " T"]:
    """Flags widened by two frames: smoothing and medians spread what happens at one."""
    return np.convolve(flags, np.ones(5), mode="same") > 0
