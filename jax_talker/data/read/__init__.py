"""Files as people have them. In: videos, sound, archives. Out: upright frames at 25 fps and 16 kHz mono sound."""
