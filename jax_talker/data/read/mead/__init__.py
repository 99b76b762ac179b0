"""MEAD (ECCV 2020): one actor's short multi-view recordings as one synchronised footage per camera."""

from jax_talker.data.read.mead.recordings import EMOTIONS, VIEWS, open_catalogue
from jax_talker.data.read.mead.session import MeadSession, open_mead

__all__ = ["EMOTIONS", "VIEWS", "MeadSession", "open_catalogue", "open_mead"]
