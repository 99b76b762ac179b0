"""Which extractors there are, by the name that configurations give them."""

from jax_talker.audio.deepspeech import DeepSpeech
from jax_talker.audio.deepspeech_live import DeepSpeechLive
from jax_talker.audio.extractor import Extractor
from jax_talker.audio.logmel import LogMel
from jax_talker.audio.wav2vec2 import Wav2Vec2
from jax_talker.audio.whisper import Whisper
from jax_talker.errors import UserError
from jax_talker.networks import deepspeech, wav2vec2, whisper

WITH_WEIGHTS = {
    "deepspeech": (DeepSpeech, deepspeech.CONVERT, deepspeech.ORIGIN),
    "deepspeech_live": (DeepSpeechLive, deepspeech.CONVERT, deepspeech.ORIGIN),
    "wav2vec2": (Wav2Vec2, wav2vec2.CONVERT, wav2vec2.ORIGIN),
    "whisper": (Whisper, whisper.CONVERT, whisper.ORIGIN),
}
NAMES = ("logmel", *WITH_WEIGHTS)


def choose(name: str, weights: str | None = None) -> Extractor:
    """The extractor ``name``, with converted ``weights`` (a folder or a file) where it needs any; UserError says which
    names there are, and where weights are to be had."""
    if name not in NAMES:
        raise UserError(f"config.data.features: no extractor {name!r}; choose from {', '.join(NAMES)}")
    if name == "logmel":
        if weights:
            raise UserError(f"config.data.features_weights: {name} has no weights, but {weights} is given")
        return LogMel()
    if not weights:
        raise UserError(f"config.data.features: {name} needs config.data.features_weights; {where_from(name)}")
    return WITH_WEIGHTS[name][0](weights)


def bands(name: str) -> tuple[float, ...]:
    """Extractor.bands of the extractor ``name``, which needs no weights for it."""
    return LogMel.bands if name == "logmel" else WITH_WEIGHTS[name][0].bands


def where_from(name: str) -> str:
    """How the weights of an extractor are made, in words."""
    _, convert, origin = WITH_WEIGHTS[name]
    return f"get {origin}, then python -m converters {convert} FILE FOLDER"
