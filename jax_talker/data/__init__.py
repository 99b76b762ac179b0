"""What the camera saw and the microphone heard: decoding, landmarks, masks, audio features, clips, datasets.

Host side only: NumPy, PyAV, OpenCV. Imports nothing of models, rendering or training.
"""
