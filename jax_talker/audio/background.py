"""Where a sound is nothing but its background: a room, a fan, keys. Nobody speaks there, and a mouth rests.

Noise keeps the shape of its spectrum, however it swells, and speech changes it all the time. So what each band falls to
again and again is the background's spectrum (minimum statistics, Martin 2001, doi:10.1109/89.928915), and steps whose
bands all stand about equally far above it are background. No loudness could tell them apart: a fan swells by more than
speech may stand above a room's noise.
"""

import numpy as np
from jaxtyping import Bool, Float32
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import binary_opening, maximum_filter1d, minimum_filter1d

from jax_talker.audio.extractor import digest_of, num_steps
from jax_talker.audio.mel import mel_power
from jax_talker.audio.streaming import StepStream
from jax_talker.data.clip.clip import SAMPLE_RATE

BANDS, LOW, HIGH = 20, 55.0, 7600.0  # Hz; so wide that noise's power in one flickers by no more than 2 dB
WINDOW, FFT = 800, 1024  # samples, 50 ms as log-mel's; of a spectrum
FAINT = 1e-7  # of the loudest power in memory, −70 dB: codecs leave nothing, or anything, in bands that are so faint
SILENT = 1e-11  # power, −110 dB of full scale: fainter than 16 bits' rounding, which is a noise like another
EVEN = 0.1  # s over which the background's power is averaged; shorter than the gaps between two keys
REMEMBERED = 3.0  # s that the background is the least of: nobody speaks so long without a gap
KNOWN = 2.0  # s without silence before there is a background: beside digital silence a note that is sung has no other
SWELLS = 22.0  # dB by which it may swell; what is louder is something else, whatever its shape
SHORTEST = 0.1  # s; a syllable lasts as long, a key's click (and the 50 ms of a window that hear it) does not
BEFORE, BEHIND = 0.02, 0.5  # s about speech that count as speech: soft consonants; closures, and gaps in a sentence
LOUD = 1e3  # power that no sound has
FED = 60 * SAMPLE_RATE  # samples of a whole sound whose spectra are made at once: a copy of an hour would be 230 MB


class _BandPower:
    """Power of a sound in wide bands, behind the door of extractors; all bands' together is the sound's own."""

    name = "band power"
    num_features = BANDS
    lookahead = 1000 * WINDOW / 2 / SAMPLE_RATE  # ms
    bands = ()
    digest = digest_of(name)

    def __init__(self, rate: int):
        self.rate = rate  # Hz

    def extract(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "T F"]:
        power = mel_power(
            wave,
            rate=SAMPLE_RATE,
            window=WINDOW,
            hop=SAMPLE_RATE // self.rate,
            bands=BANDS,
            low=LOW,
            high=HIGH,
            fft=FFT,
        )
        scale = np.float32(2 / (FFT * 0.375 * WINDOW))  # Parseval's, and the mean square of a Hann window
        return scale * power[: num_steps(len(wave), self.rate)]


def background_steps(wave: Float32[np.ndarray, " samples"], rate: int, spread: float) -> Bool[np.ndarray, " T"]:
    """Which steps at ``rate`` Hz (extractor.py) of a sound are its background alone.

    ``spread`` (dB) is how far their bands deviate, about their mean, from the background's spectrum at most. Silent
    steps (SILENT) are not told: they hold nothing that could be heard. As soon as a
    background is known, REMEMBERED seconds before are measured by it as well: a room in front of the first word.
    """
    stream = StepStream(_BandPower(rate))
    parts = [stream.feed(wave[first : first + FED]) for first in range(0, len(wave), FED)]
    return _told(np.concatenate([*parts, stream.finish()]), rate, spread, whole=True)


class BackgroundStream:
    """``background_steps`` of sound that comes in pieces, which knows no background at its beginning: until KNOWN
    seconds were heard, no step is called so. From then on it tells what is told of the whole."""

    def __init__(self, rate: int, spread: float):
        self._rate, self._spread = rate, spread
        self._stream = StepStream(_BandPower(rate))
        self._power, self._base, self._next = np.zeros((0, BANDS), np.float32), 0, 0  # from step ``base`` on; next one
        self._ahead = _steps(SHORTEST, rate) - 1 + _steps(BEFORE, rate)
        self._past = sum(_steps(time, rate) for time in (EVEN, REMEMBERED, SHORTEST, BEHIND))  # that a step depends on

    @property
    def lookahead(self) -> float:
        """ms: a step depends on no sound that is later than its own time plus this."""
        return _BandPower.lookahead + 1000 * self._ahead / self._rate

    def feed(self, sound: Float32[np.ndarray, " n"]) -> Bool[np.ndarray, " m"]:
        """Of the steps that are complete with these samples."""
        self._power = np.concatenate([self._power, self._stream.feed(sound)])
        return self._found(self._base + len(self._power) - self._ahead)

    def finish(self) -> Bool[np.ndarray, " m"]:
        """Of the last steps."""
        self._power = np.concatenate([self._power, self._stream.finish()])
        return self._found(self._base + len(self._power))

    def _found(self, until: int) -> Bool[np.ndarray, " m"]:
        if until <= self._next:
            return np.zeros(0, bool)
        told = _told(self._power, self._rate, self._spread, whole=False)[self._next - self._base : until - self._base]
        self._next, base = until, max(0, until - self._past)
        self._power, self._base = self._power[base - self._base :], base
        return told


def _told(power: Float32[np.ndarray, "T F"], rate: int, spread: float, *, whole: bool) -> Bool[np.ndarray, " T"]:
    """Of each step by those before it and a few behind; of the beginning of a ``whole`` sound by what comes later."""
    even, remembered, long, shortest, before, behind = (
        _steps(time, rate) for time in (EVEN, REMEMBERED, KNOWN, SHORTEST, BEFORE, BEHIND)
    )
    if not len(power):
        return np.zeros(0, bool)
    heard = power.sum(1) > SILENT
    recent = sliding_window_view(np.pad(power, ((even - 1, 0), (0, 0))), even, axis=0).mean(-1)
    known = np.asarray(sliding_window_view(np.pad(heard, (even - 1, 0)), even).all(1))
    trailing = {"size": remembered, "axis": 0, "origin": (remembered - 1) // 2, "mode": "constant"}
    least = np.where(known[:, None], recent, LOUD)  # of nothing but sound: silence is no noise
    least = minimum_filter1d(least, cval=LOUD, **trailing)
    faint = FAINT * np.maximum(maximum_filter1d(power.sum(1, keepdims=True), cval=0.0, **trailing), SILENT)
    enough = np.asarray(sliding_window_view(np.pad(known, (long - 1, 0)), long).all(1))
    first = int(enough.argmax()) if whole else 0
    least[:first] = least[first : first + 1]
    above = _decibels(np.maximum(power, faint)) - _decibels(np.maximum(least, faint))
    other = ~heard | (above.std(1) > spread) | (above.mean(1) > SWELLS)  # beside silence a short sound may be speech
    other = np.pad(binary_opening(other, np.ones(shortest)), (behind, before))
    told = ~np.asarray(sliding_window_view(other, behind + 1 + before).any(1))
    enough[max(0, first - remembered) : first] = enough[first]
    return told & enough


def _steps(seconds: float, rate: int) -> int:
    return round(seconds * rate)


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(power)
