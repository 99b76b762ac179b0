"""The main job on the embedded default, in minutes on a CPU: ``make demo``.

A procedural person is filmed, a head is personalised and trained on the front camera alone, then speaks words it never
heard, seen from the front and along a spiral, and is scored against true cameras at the sides.
"""

from absl import flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", "configs/demo.py", "A file of configs/.")
WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "Where everything goes.")
SEED = flags.DEFINE_integer("seed", 11, "Which person speaks, and what.")
SECONDS = flags.DEFINE_float("seconds", 22.0, "Length of the film; its last eleventh is held out.")
SPEECH = flags.DEFINE_float("speech", 6.0, "Length of the speech that the head never heard.")
SIZE = flags.DEFINE_integer("size", 128, "Pixels on a side.")

VIEWS = {f"yaw_{yaw:+d}": (float(yaw), 0.0) for yaw in (-30, -20, 20, 30)}


def main() -> None: ...
