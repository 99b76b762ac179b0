"""Does the sound belong to the lips, and does it come when they move?

The mouth (gap between the lips plus how far the jaw is down) is correlated with the loudness of the voice at every
shift up to 0.6 s. Whether a peak means anything is told by the same correlation at shifts that cannot be true (beyond
0.8 s, the clip taken as a circle): ``confidence`` is the peak's height in their standard deviations. With sound of
somebody else, 828 pairs of 5–20 s of people and procedural speakers gave at most 4.7, so CONFIDENT lies above that.

Real mouths open before the voice comes: a clip in sync peaks at 0 to +0.15 s (May_5s: +0.14), a procedural one at 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from jax_talker.data.check.doctor.spans import whole
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.data.clip.findings import Finding, Severity
from jax_talker.data.read.boundaries import by_recording

RATE = 100  # Hz of the curves that are compared
VOICE_BAND = (300.0, 3000.0)  # Hz; vowels' first formants, which grow as the mouth opens, without hum and hiss
COMPRESSION = 0.3  # power → loudness (Stevens); with 0.5 or decibels the real clips' peaks are lower
TREND = 0.5  # s; slower changes (a smile, the distance to the microphone) say nothing about syllables
SEARCH = 0.6  # s
NULL_FROM = 0.8  # s
NEVER = 1.5  # s; a clip must hold shifts that cannot be true, a good deal more than the search's width
CONFIDENT = 5.0  # standard deviations; see above
BETTER = 2.0  # standard deviations by which a shifted peak must beat no shift
EARLY, LATE = -0.12, 0.18  # s; sound before and after the mouth that is still in sync
GROSS = 0.4  # s; beyond this a model learns another syllable's mouth
LONG = 60.0  # s; in a clip this long a true pair reaches CONFIDENT (a 15 s clip of a person reached 6)
UNRELATED = 3.0
WINDOW = 20.0  # s; over which a lag is measured to see whether it drifts
DRIFT = 0.12  # s


@dataclass(frozen=True)
class Lag:
    """How late the sound is after the mouth, in seconds (negative: it comes first), and how sure that is."""

    seconds: float
    correlation: float
    confidence: float  # the peak's height in standard deviations of impossible shifts
    over_none: float  # in the same unit, over the best within a frame of no shift

    @property
    def sure(self) -> bool:
        return self.confidence >= CONFIDENT


def mouth_curve(
    gap: Float[np.ndarray, " T"], jaw: Float[np.ndarray, " T"], boundaries: Sequence[int] = ()
) -> Float[np.ndarray, " T"]:
    """One curve of mouth movement: lips and jaw, each without its trend (per recording) and in its own standard
    deviations.

    The gap alone misleads in faces that smile with parted lips, the jaw alone where chins are hidden or guessed.
    """
    return _steady(gap, FPS, boundaries) + _steady(jaw, FPS, boundaries)


def loudness(sound: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " n"]:
    """Loudness of the voice at RATE; value k belongs to the 20 ms around k/RATE s."""
    band = butter(2, VOICE_BAND, "bandpass", fs=SAMPLE_RATE, output="sos")
    block = SAMPLE_RATE // RATE
    power = np.square(sosfilt(band, sound.astype(np.float32))).astype(np.float32)
    power = np.pad(power, (block, -len(power) % block))
    sums = power.reshape(-1, block).sum(1)
    power = (sums[:-1] + sums[1:]) / (2 * block)
    return (power / max(float(np.percentile(power, 99)), 1e-12)) ** COMPRESSION


def find_lag(mouth: Float[np.ndarray, " T"], loud: Float[np.ndarray, " n"]) -> Lag | None:
    """The lag between a mouth curve (25 fps) and a loudness curve (RATE) that begin together.

    None where it cannot be asked: too short, the mouth or the sound does not move.
    """
    count = len(mouth) * RATE // FPS
    if count < 2 * (SEARCH + NEVER) * RATE:
        return None
    time = np.arange(count) / RATE
    moving = np.interp(time, np.arange(len(mouth)) / FPS, mouth)
    heard = _steady(np.interp(time, np.arange(len(loud)) / RATE, loud), RATE)
    moving, heard = moving - moving.mean(), heard - heard.mean()
    scale = moving.std() * heard.std() * count
    if scale < 1e-9:
        return None
    curve = np.fft.irfft(np.fft.rfft(heard) * np.conj(np.fft.rfft(moving)), count) / scale
    shift = (np.arange(count) + count // 2) % count - count // 2  # curve[k] compares heard(t + shift) with moving(t)
    near = np.flatnonzero(np.abs(shift) <= SEARCH * RATE)
    null = curve[np.abs(shift) > NULL_FROM * RATE]
    peak = int(near[curve[near].argmax()])
    unit = max(float(null.std()), 1e-9)
    none = float(curve[np.abs(shift) <= RATE // FPS].max())
    height = float(curve[peak])
    return Lag(float(shift[peak] / RATE), height, (height - float(null.mean())) / unit, (height - none) / unit)


def lags_over_time(mouth: Float[np.ndarray, " T"], loud: Float[np.ndarray, " n"]) -> list[tuple[float, Lag]]:
    """(second, lag) of every window of WINDOW s, half overlapping, in which it is sure."""
    frames = round(WINDOW * FPS)
    found = []
    for first in range(0, len(mouth) - frames + 1, frames // 2):
        lag = find_lag(mouth[first : first + frames], loud[first * RATE // FPS :])
        if lag is not None and lag.sure:
            found.append(((first + frames / 2) / FPS, lag))
    return found


def check_sync(mouth: Float[np.ndarray, " T"], sound: Float[np.ndarray, " samples"]) -> list[Finding]:
    """Sound that is early, late, drifting or somebody else's."""
    frames = len(mouth)
    loud = loudness(sound)
    lag = find_lag(mouth, loud)
    if lag is None:
        return [_unclear(frames, "the clip is too short, or its mouth or its sound does not change")]
    drift = _drift(lags_over_time(mouth, loud))
    if drift is not None:
        begin, end = drift
        message = f"the lag of the sound after the mouth changes from {_ms(begin)} to {_ms(end)} over the clip"
        advice = (
            "sound and picture were recorded or converted at different speeds; take the original file, or stretch the "
            f"sound by {1 - (end - begin) * FPS / frames:.5f} and give it with --sound"
        )
        return [whole(frames, "sync_drift", Severity.ERROR, message, advice)]
    if lag.sure and lag.over_none >= BETTER and not EARLY <= lag.seconds <= LATE:
        severity = Severity.ERROR if abs(lag.seconds) >= GROSS else Severity.WARNING
        side = "late" if lag.seconds > 0 else "early"
        message = (
            f"the sound comes {abs(lag.seconds) * 1000:.0f} ms too {side} for the mouth "
            f"(correlation {lag.correlation:.2f}, {lag.confidence:.1f} standard deviations above chance)"
        )
        return [whole(frames, "sync", severity, message, _mend(lag.seconds))]
    if lag.confidence < UNRELATED and frames >= LONG * FPS:
        message = f"mouth and sound have nothing to do with each other (correlation {lag.correlation:.2f} at best)"
        advice = "check that the sound is this video's own, and that the person who is seen is the one who speaks"
        return [whole(frames, "sync_unrelated", Severity.WARNING, message, advice)]
    if not lag.sure:
        weak = f"mouth and loudness agree too weakly ({lag.confidence:.1f} standard deviations, {CONFIDENT:g} needed)"
        return [_unclear(frames, weak)]
    return []


# ---------------------------------------------------------------------------------------------------------------------


def _steady(values: np.ndarray, rate: int, boundaries: Sequence[int] = ()) -> np.ndarray:
    values = by_recording(lambda own: own - gaussian_filter1d(own, TREND * rate), values, boundaries)
    return values / max(float(values.std()), 1e-6)


def _unclear(frames: int, reason: str) -> Finding:
    advice = "watch a piece with sound; half a minute of speech is usually enough to measure it"
    return whole(
        frames, "sync_unclear", Severity.NOTE, f"sync of sound and mouth could not be judged: {reason}", advice
    )


def _drift(lags: list[tuple[float, Lag]]) -> tuple[float, float] | None:
    """The lag at the first and the last window by the line through all, when it changes much and the line explains it.

    The line goes through medians of slopes (Theil and Sen), so that a single wrong window changes nothing.
    """
    if len(lags) < 4:
        return None
    time = np.array([t for t, _ in lags])
    value = np.array([lag.seconds for _, lag in lags])
    i, j = np.triu_indices(len(lags), 1)
    slope = float(np.median((value[j] - value[i]) / (time[j] - time[i])))
    start = float(np.median(value - slope * time))
    residual = float(np.median(np.abs(value - start - slope * time)))
    change = slope * (time[-1] - time[0])
    if abs(change) < DRIFT or residual > abs(change) / 4:
        return None
    return start + slope * time[0], start + slope * time[-1]


def _mend(seconds: float) -> str:
    amount = f"{abs(seconds):.2f} s"
    act = f"cut {amount} off the beginning of" if seconds > 0 else f"put {amount} of silence before"
    return f"watch it; if so, {act} the sound in any sound editor and prepare again with --sound FILE"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:+.0f} ms"
