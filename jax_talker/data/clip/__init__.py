"""The clip folder on disk. In: frames, masks, arrays, sound, findings. Out: a folder that opens again, checked."""

from jax_talker.data.clip.clip import Clip, open_clip

__all__ = ["Clip", "open_clip"]
