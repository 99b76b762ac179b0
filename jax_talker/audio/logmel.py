"""Log-mel energies: the extractor that needs no weights."""

import numpy as np
from jaxtyping import Float32

from jax_talker.audio.extractor import digest_of, num_steps
from jax_talker.audio.mel import mel_centres, mel_power
from jax_talker.data.clip.clip import SAMPLE_RATE

LOW, HIGH = 55.0, 7600.0  # Hz
VERSION = "1"  # another one where other numbers come out


class LogMel:
    """Log-mel energies at 50 Hz: 80 bands of 55–7600 Hz (the band of SyncTalk's and Wav2Lip's mel), about [0, 1].

    Step r sees the 50 ms centred on r/50 s, so it looks 25 ms ahead and no further, and its scale is fixed: nothing
    depends on the rest of the utterance. A stream therefore gives the same numbers, 25 ms late. 0 is silence
    (−100 dB of full scale in a band, or less); 1 is a full-scale tone.
    """

    name = "logmel"
    num_features = 80
    rate = 50  # Hz
    lookahead = 25.0  # ms
    bands = tuple(mel_centres(num_features, LOW, HIGH).tolist())  # Hz
    digest = digest_of(name, VERSION)
    _floor_db = -100.0

    def extract(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "T F"]:
        """[round(seconds · 50), 80]."""
        hop, window = SAMPLE_RATE // self.rate, round(2 * self.lookahead * SAMPLE_RATE / 1000)
        power = mel_power(wave, rate=SAMPLE_RATE, window=window, hop=hop, bands=self.num_features, low=LOW, high=HIGH)
        reference = (window / 4) ** 2  # power of a full-scale sine under a Hann window
        db = 10 * np.log10(np.maximum(power / reference, 10 ** (self._floor_db / 10)))
        return np.maximum(1 - db[: num_steps(len(wave), self.rate)] / self._floor_db, 0).astype(np.float32)
