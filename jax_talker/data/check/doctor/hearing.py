"""Is there speech in the sound, and was it recorded well?

Speech is told from other sound by three simple measures every 10 ms (no network, so music counts as speech): it is
louder than the clip's own floor, it has a pitch (the normalised autocorrelation between 70 and 400 Hz has a peak) at
least every 0.2 s, and the sound's level goes up and down with syllables, which a hum, a tone or a fan does not.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation, uniform_filter1d
from scipy.signal import butter, sosfilt

from jax_talker.data.check.doctor.spans import flagged, runs, whole
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.data.clip.findings import Finding, Severity

HOP = SAMPLE_RATE // 100  # samples: a step every 10 ms …
FRAME = 4 * HOP  # … that looks at 40 ms
RUMBLE = 70.0  # Hz; handling noise and hum below it are no speech
PITCH = (70.0, 400.0)  # Hz; deep men to small children
PITCHED = 0.5  # of the autocorrelation at lag 0; noise stays below 0.3 in 40 ms
ABOVE_FLOOR = 3.0  # dB over the noise floor; more would lose speech in noise, which is reported as such
BELOW_PEAK = 35.0  # dB; what is fainter than this under the loudest is breath or room
FAINTEST = -72.0  # dB of full scale; 16-bit sound has no more than a few steps there
SYLLABLES = 0.2  # s; unvoiced sounds next to a vowel belong to the word
FLAT = 1.0  # dB; tones, hums and noise vary by 0.2–0.3, speech by 6–12, speech in as much noise by 2
NO_SPEECH, LITTLE_SPEECH = 0.05, 0.3  # share of the clip; people who talk to a camera speak 60–90 % of the time
LONG_SILENCE = 3.0  # s; longer than the pauses of somebody who goes on speaking
QUIET = -60.0  # dB of full scale; the sound is as good as absent
FAINT = -35.0  # dB; speech at this level was recorded wrong
FULL = 0.985  # of full scale; clipped peaks come out of resampling a little lower than they went in
CLIPPED_RUN = 3  # samples at full scale in a row: a peak that only just touches it stays shorter
CLIPPED = 0.002  # share of a second's samples
NOISY = 15.0  # dB; between words and even within them speech falls by 24–36 (five clean recordings), over music by 7
BLOCK = 1024  # steps that are worked on at a time, in about 20 MB


@dataclass(frozen=True)
class Hearing:
    """What is heard, a value every 10 ms."""

    level: Float[np.ndarray, " n"]  # dB of full scale
    speech: Bool[np.ndarray, " n"]

    @property
    def share(self) -> float:
        """Of the clip in which somebody speaks."""
        return float(self.speech.mean()) if self.speech.size else 0.0

    @property
    def floor(self) -> float:
        """dB: what the quietest tenth has."""
        return float(np.percentile(self.level, 10)) if self.level.size else -100.0

    @property
    def voice(self) -> float:
        """dB: speech at its ordinary level."""
        return float(np.percentile(self.level[self.speech], 75)) if self.speech.any() else -100.0


def listen(sound: Float[np.ndarray, " samples"]) -> Hearing:
    """Level and speech of 16 kHz sound; step k is the 40 ms around k · 10 ms."""
    high = butter(2, RUMBLE, "highpass", fs=SAMPLE_RATE, output="sos")
    clean = np.asarray(sosfilt(high, sound.astype(np.float32)), np.float32)
    steps = max(1, len(clean) // HOP)
    padded = np.pad(clean, (FRAME // 2, FRAME))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[: steps * HOP : HOP]
    level, pitched = np.empty(steps), np.empty(steps, bool)
    for first in range(0, steps, BLOCK):
        block = slice(first, min(first + BLOCK, steps))
        level[block] = 10 * np.log10(np.square(frames[block], dtype=np.float64).mean(1) + 1e-10)
        pitched[block] = _pitch_strength(frames[block]) > PITCHED
    floor, peak = np.percentile(level, 10), np.percentile(level, 99)
    # In a clip without pauses the quietest tenth is speech as well; what is within reach of the peak then counts.
    threshold = max(min(floor + ABOVE_FLOOR, peak - BELOW_PEAK / 2), peak - BELOW_PEAK, FAINTEST)
    loud = level > threshold
    reach = round(SYLLABLES * 100)
    speech = loud & np.asarray(binary_dilation(loud & pitched, iterations=reach), bool)
    speech = np.asarray(binary_dilation(speech, iterations=reach // 2), bool)  # stops and soft endings
    if _unsteadiness(level) < FLAT:
        speech[:] = False
    return Hearing(level, speech)


def check_hearing(sound: Float[np.ndarray, " samples"], frames: int) -> list[Finding]:
    """Silence, no or little speech, long pauses, clipping, noise."""
    peak = 20 * np.log10(max(float(np.abs(sound).max(initial=0.0)), 1e-10))
    if peak < QUIET:
        advice = "give the sound with --sound FILE; without it nothing can be learnt of how this person speaks"
        return [whole(frames, "no_sound", Severity.ERROR, "the sound is silent", advice)]
    heard = listen(sound)
    if heard.share < NO_SPEECH:
        message = f"no speech was heard ({heard.share:.0%} of the time)"
        advice = "check that the sound is the right one and that the person speaks"
        return [whole(frames, "no_speech", Severity.ERROR, message, advice), *check_clipping(sound)]
    return [*check_speech(heard, frames), *check_level(heard, frames), *check_clipping(sound)]


def check_speech(heard: Hearing, frames: int) -> list[Finding]:
    """How much of the clip is speech, and where it stops for long."""
    found = []
    if heard.share < LITTLE_SPEECH:
        message = f"only {heard.share:.0%} of the clip is speech"
        found.append(whole(frames, "little_speech", Severity.WARNING, message, "prepare the parts with speech"))
    pauses = runs(~heard.speech, at_least=round(LONG_SILENCE * 100))
    advice = "harmless in moderation; cut long pauses, a mouth at rest is learnt quickly"
    found += [
        Finding("silence", Severity.NOTE, first / 100, end / 100, f"no speech for {(end - first) / 100:.1f} s", advice)
        for first, end in pauses
    ]
    return found


def check_level(heard: Hearing, frames: int) -> list[Finding]:
    """Speech that is faint, or drowned in noise."""
    found = []
    if heard.voice < FAINT:
        message = f"speech is faint ({heard.voice:.0f} dB of full scale)"
        advice = "features of sound depend on its level: raise it to about −20 dB and give it with --sound"
        found.append(whole(frames, "faint", Severity.WARNING, message, advice))
    if (distance := heard.voice - heard.floor) < NOISY:
        message = f"speech is only {distance:.0f} dB louder than the quietest tenth: noise or music lies under it"
        advice = "remove it with a tool of your choice and give the result with --sound"
        found.append(whole(frames, "noisy", Severity.WARNING, message, advice))
    return found


def check_clipping(sound: Float[np.ndarray, " samples"]) -> list[Finding]:
    """Peaks cut off at full scale: flat tops, not just a loud sample."""
    full = np.abs(sound) >= FULL
    flat = uniform_filter1d(full.astype(np.float32), CLIPPED_RUN, mode="constant") > 1 - 0.5 / CLIPPED_RUN
    seconds = -(-len(flat) // SAMPLE_RATE)
    padded = np.pad(flat, (0, seconds * SAMPLE_RATE - len(flat)))
    share = padded.reshape(seconds, SAMPLE_RATE).mean(1)
    message = f"the sound is clipped (up to {share.max(initial=0):.1%} of the samples of a second at full scale)"
    advice = "record with less gain, or use a part without; clipped vowels sound alike"
    return flagged(np.repeat(share > CLIPPED, FPS), "clipped", Severity.WARNING, message, advice)


# ---------------------------------------------------------------------------------------------------------------------


def _pitch_strength(frames: np.ndarray) -> np.ndarray:
    """Highest normalised autocorrelation in the range of PITCH, [n]."""
    count = 2 * FRAME
    window = np.hanning(FRAME).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(frames * window, count)) ** 2
    correlation = np.fft.irfft(spectrum, count)[:, :FRAME]
    fading = np.fft.irfft(np.abs(np.fft.rfft(window, count)) ** 2, count)[:FRAME]  # what the window alone takes away
    first, last = (int(SAMPLE_RATE / f) for f in PITCH[::-1])
    lags = slice(first, last + 1)
    strength = correlation[:, lags] / (fading[lags] / fading[0])
    return strength.max(1) / np.maximum(correlation[:, 0], 1e-9)


def _unsteadiness(level: np.ndarray) -> float:
    """dB by which a level varies, its slow changes left out."""
    return float(np.std(level - uniform_filter1d(level, 100, mode="nearest")))
