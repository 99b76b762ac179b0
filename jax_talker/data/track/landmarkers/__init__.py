"""Landmarkers, one per file: MediaPipe (478 points), face-alignment (68 points), a file of landmarks made elsewhere."""

from jax_talker.data.track.landmarkers.choice import LANDMARKERS, make_landmarker

__all__ = ["LANDMARKERS", "make_landmarker"]
