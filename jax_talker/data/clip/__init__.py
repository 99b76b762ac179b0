"""The clip folder on disk. In: frames, masks, arrays, sound, findings. Out: a folder that opens again, checked."""
