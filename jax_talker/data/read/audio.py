"""Sound in, and what audio-driven models hear of it: features at 50 Hz and AD-NeRF's windows of them.

Sound is 16 kHz mono float32 in [−1, 1]. Time zero is the first picture where the file has one, else the first sample.
Feature step r describes the sound around r/50 s; video frame i is shown at i/25 s, so it belongs to step 2i.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.data.read.boundaries import recordings
from jax_talker.data.read.mel import mel_power
from jax_talker.data.read.sound import Sound, open_sound
from jax_talker.errors import UserError

FEATURE_RATE = 50  # Hz, of every extractor (DeepSpeech and HuBERT in the field's pipelines, log-mel here)
WINDOW = 16  # feature steps that one video frame hears (AD-NeRF)


def load_sound(path: str | Path) -> Float32[np.ndarray, " samples"]:
    """The sound of any audio or video file: 16 kHz mono in [−1, 1], its time zero at the file's first picture.

    Its channels are mixed so that what they share is heard as in the loudest (channels.py), and pauses in the time
    stamps become silence. It is resampled while it is read, so that nothing but the result (3.8 MB a minute) is ever
    held. UserError when the file is missing or damaged, has no sound track, or holds less sound than one video frame
    lasts (0.04 s).
    """
    return speech_of(open_sound(path))


def speech_of(sound: Sound) -> Float32[np.ndarray, " samples"]:
    """The same of a file that is open."""
    samples = sound.for_speech()
    if num_video_frames(len(samples)) == 0:
        raise UserError(
            f"{sound.path}: lasts {len(samples) / SAMPLE_RATE:.3f} s, less than one video frame (1/{FPS} s)"
        )
    return samples


def num_video_frames(samples: int) -> int:
    """round(seconds · 25): how many video frames belong to ``samples`` of 16 kHz sound. Python's round, exact."""
    return round(Fraction(samples * FPS, SAMPLE_RATE))


LEVEL_DB = -26.0  # of full scale: what speech is brought to before features are made
SPEECH_DB = 25.0  # below the loudest twentieth of a recording: what is fainter is not speech
FAINTEST_DB = -70.0  # a recording in which nothing is louder stays as it is: silence must not become speech


def normalised(sound: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    """``sound`` with its speech at ``LEVEL_DB``, however loud it was recorded; silence stays silent."""
    if not len(sound):
        return sound
    block = SAMPLE_RATE // 20
    around = sound - sound.mean(dtype=np.float64)  # a microphone's constant is not loud
    power = (np.pad(around, (0, -len(sound) % block)).reshape(-1, block) ** 2).mean(1)
    loudest = np.percentile(power, 95)
    if loudest < 10 ** (FAINTEST_DB / 10):
        return sound
    speech = power[power >= loudest * 10 ** (-SPEECH_DB / 10)].mean()
    return (sound * np.sqrt(10 ** (LEVEL_DB / 10) / speech)).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# Features


@runtime_checkable
class FeatureExtractor(Protocol):
    """Turns sound into feature steps at 50 Hz; DeepSpeech, HuBERT and others share this door with log-mel."""

    @property
    def name(self) -> str:
        """What configs and checkpoints call it."""
        ...

    @property
    def num_features(self) -> int:
        """F, numbers per step."""
        ...

    def __call__(self, sound: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "steps F"]:
        """[round(seconds · 50), F]; step r belongs to the sound around r/50 s."""
        ...


class LogMel:
    """Log-mel energies at 50 Hz: 80 bands of 55–7600 Hz (the band of SyncTalk's and Wav2Lip's mel), about [0, 1].

    Step r sees the 50 ms centred on r/50 s, so it looks 25 ms ahead and no further, and its scale is fixed: nothing
    depends on the rest of the utterance. A stream therefore gives the same numbers, 25 ms late. 0 is silence
    (−100 dB of full scale in a band, or less), as are the zero rows of ``frame_windows``; 1 is a full-scale tone.
    """

    name = "logmel"
    num_features = 80
    lookahead = 0.025  # s
    _floor_db = -100.0

    def __call__(self, sound: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "steps F"]:
        hop, window = SAMPLE_RATE // FEATURE_RATE, round(2 * self.lookahead * SAMPLE_RATE)
        power = mel_power(
            sound, rate=SAMPLE_RATE, window=window, hop=hop, bands=self.num_features, low=55.0, high=7600.0
        )
        reference = (window / 4) ** 2  # power of a full-scale sine under a Hann window
        db = 10 * np.log10(np.maximum(power / reference, 10 ** (self._floor_db / 10)))
        steps = round(Fraction(len(sound), hop))
        return np.maximum(1 - db[:steps] / self._floor_db, 0).astype(np.float32)


def frame_windows(
    features: Float32[np.ndarray, "steps F"], num_frames: int, boundaries: Sequence[int] = ()
) -> Float32[np.ndarray, "num_frames 16 F"]:
    """What each 25 fps frame hears: the 16 steps 2i − 8 … 2i + 7 for frame i, zero rows outside the sound (AD-NeRF).

    Row 8 of window i is the step at exactly the frame's own time, i/25 s; rows 0–7 are the 160 ms before it. Rows of
    another recording are zero as well: ``boundaries`` are the frames with which one begins.
    """
    half, stride = WINDOW // 2, FEATURE_RATE // FPS
    if boundaries:
        parts = recordings(num_frames, boundaries)
        windows = [frame_windows(features[stride * r.start : stride * r.stop], r.stop - r.start) for r in parts[:-1]]
        last = parts[-1]
        return np.concatenate([*windows, frame_windows(features[stride * last.start :], last.stop - last.start)])
    missing = max(0, stride * num_frames + half - len(features))
    padded = np.pad(features, ((half, missing), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=0)  # [steps, F, 16]
    return np.ascontiguousarray(windows[: stride * num_frames : stride].swapaxes(1, 2))
