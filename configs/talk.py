"""What ``python -m jax_talker.talk`` trains, by quality. Any field can be changed: --config.train.steps=2000.

python -m jax_talker.talk video.mp4 speech.wav --out talking.mp4 --quality good
"""

from ml_collections import ConfigDict

from configs import quickstart

QUALITIES = ("quick", "good", "best")


def get_config(quality: str = "quick") -> ConfigDict:
    c = quickstart.get_config()
    c.prepare = ConfigDict()
    c.prepare.size = {"quick": 128, "good": 256, "best": 512}[quality]  # pixels on a side
    p, t = c.personalize, c.train
    steps = {  # invert, tune, hear, navigate
        "quick": (120, 500, 400, 400),
        "good": (150, 800, 600, 1000),
        "best": (300, 2000, 1000, 3000),
    }
    p.invert_steps, p.tune_steps, t.hear_steps, t.steps = steps[quality]
    c.log.checkpoint = 100  # what an interruption costs at most
    c.log.images = 0
    return c
