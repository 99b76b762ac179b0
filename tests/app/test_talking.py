"""What a video shows: whose pose a head has while a camera goes around it."""

import numpy as np

from jax_talker import geometry
from jax_talker.app import talking
from jax_talker.data.clip.clip import SAMPLE_RATE


def test_new_speech_is_held_as_usual_wherever_it_is_seen_from():
    usual = geometry.make_label(geometry.orbit(12, -4)).astype(np.float32)
    sound = np.zeros(SAMPLE_RATE // 5, np.float32)
    for camera in ("front", "yaw=30,pitch=20", "spiral"):
        script = talking.script_for(sound, camera, held=usual, clip=None, seed=0)
        assert len(script.held) == len(script.label) == 5
        np.testing.assert_array_equal(script.held, np.tile(usual, (5, 1)))
        np.testing.assert_array_equal(script.label, talking.camera_path(camera, 5).astype(np.float32))
