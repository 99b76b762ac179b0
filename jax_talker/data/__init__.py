"""What the camera saw and the microphone heard, from files to batches. Host side only: NumPy, PyAV, OpenCV.

Rooms, each importing only those before it: ``clip`` ← ``read`` ← ``track`` ← ``camera`` ← ``cut`` ← ``check`` ←
``preparation``; ``batches`` needs ``clip`` alone. Imports nothing of models, rendering or training.
"""

from jax_talker.data import moved as moved  # names from before the rooms
