"""Does the clip hold what can be learnt from it: enough time, sides of the head, blinks, a mouth that opens?"""

import numpy as np
from jaxtyping import Float

from jax_talker.data.check.doctor.spans import flagged, runs, whole
from jax_talker.data.clip.clip import FPS
from jax_talker.data.clip.findings import Finding, Severity
from jax_talker.data.track.blink import count_blinks

HOPELESS, SHORT, USUAL = 2.0, 30.0, 120.0  # s; AD-NeRF and its successors train on 3–5 minutes, never on less than 2
STILL = 8.0  # degrees of yaw; May_5s turns by 7 and shows no more of her sides at its end than at its beginning
LARGE_YAW, LARGE_PITCH = 45.0, 35.0  # degrees; beyond what priors trained on portraits know
USUAL_BLINKS = 20.0  # s; people blink 10–20 times a minute, so 3–6 times in this
MANY_BLINKS = 50.0  # a minute; more is lids that tremble in the landmarks (the three real clips: 8–30)
EYES_SHUT = 1.0  # s; a blink takes 0.1–0.4
MOUTH_STILL = 0.06  # opening range in distances from eyes to nose; the real clips' mouths move over 0.30, 0.30, 0.30


def check_length(frames: int) -> list[Finding]:
    """Too short to learn speech from."""
    seconds = frames / FPS
    if seconds >= USUAL:
        return []
    severity = Severity.ERROR if seconds < HOPELESS else Severity.WARNING if seconds < SHORT else Severity.NOTE
    message = f"the clip lasts {seconds:.1f} s"
    advice = "3–5 minutes of one shot are usual for one person; sounds that never occur cannot be learnt"
    return [whole(frames, "too_short", severity, message, advice)]


def check_rotation(pose: Float[np.ndarray, "T 3"]) -> list[Finding]:
    """A head that hardly turns, or that turns until landmarks are guesses. ``pose``: yaw, pitch, roll in degrees."""
    found = []
    yaw, pitch = pose[:, 0], pose[:, 1]
    turned = float(np.percentile(yaw, 98) - np.percentile(yaw, 2))
    if turned < STILL:
        message = f"the head hardly turns (yaw over {turned:.0f}°)"
        advice = "views from the side will come from the prior alone; footage in which the head turns would help"
        found.append(whole(len(pose), "rotation_small", Severity.NOTE, message, advice))
    for name, kind, angle, limit in (
        ("turns", "rotation_yaw", yaw, LARGE_YAW),
        ("nods", "rotation_pitch", pitch, LARGE_PITCH),
    ):
        largest = float(np.abs(angle).max())
        message = f"the head {name} by up to {largest:.0f}°"
        advice = "landmarks of a profile are guesses: check them in the report, leave the part out if they are off"
        found += flagged(np.abs(angle) > limit, kind, Severity.WARNING, message, advice)
    return found


def check_blinks(blink: Float[np.ndarray, " T"]) -> list[Finding]:
    """No blinks, too many, eyes shut for long. ``blink``: 0 open … 1 closed."""
    frames = len(blink)
    seconds, count = frames / FPS, count_blinks(blink)
    found = []
    if count == 0 and seconds > USUAL_BLINKS:
        message = f"no blink was seen in {seconds:.0f} s"
        advice = "blinks cannot be learnt or controlled then; check the eyes in the report, or give an OpenFace CSV"
        found.append(whole(frames, "no_blinks", Severity.WARNING, f"{message}", advice))
    elif (rate := 60 * count / max(seconds, 10.0)) > MANY_BLINKS:
        message = f"{rate:.0f} blinks a minute were seen"
        advice = "lids that tremble in the landmarks look like blinks: check the eyes, or give an OpenFace CSV"
        found.append(whole(frames, "many_blinks", Severity.WARNING, message, advice))
    for first, end in runs(blink > 0.5, at_least=round(EYES_SHUT * FPS)):
        message = f"the eyes stay shut for {(end - first) / FPS:.1f} s"
        advice = "leave the part out if the person looks down rather than closing the eyes"
        found.append(Finding("eyes_shut", Severity.NOTE, first / FPS, end / FPS, message, advice))
    return found


def check_mouth(mouth: Float[np.ndarray, " T"]) -> list[Finding]:
    """A mouth that never opens. ``mouth``: gap between the lips in distances from the eyes to the nose's base."""
    opened = float(np.percentile(mouth, 98) - np.percentile(mouth, 2))
    if opened >= MOUTH_STILL:
        return []
    message = f"the mouth hardly moves (its opening changes by {opened:.2f} of the distance from eyes to nose)"
    advice = "check that this person speaks, and the lips in the report's landmarks"
    return [whole(len(mouth), "mouth_still", Severity.ERROR, message, advice)]
