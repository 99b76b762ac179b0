"""One person from a few minutes of HDTF (or any monocular video) at 512² on a GPU, with a pretrained GGHead.

    python -m converters gghead GGHEAD-1_ffhq512 priors/gghead512
    python -m jax_talker.prepare --video clip.mp4 --out data/person --size 512 \\
        --landmarks mediapipe --landmark-model face_landmarker.task
    python -m jax_talker.train --config configs/hdtf.py --config.prior.path=priors/gghead512 \\
        --config.data.clip=data/person --workdir runs/person

The field's split for HDTF's and AD-NeRF's clips: the first 10/11 of the frames train, the contiguous last 1/11 tests
(``config.data.test_fraction``); nothing of the tail is seen before evaluate.

Not run by us on real weights: they cannot be had on our machines. Steps and rates follow method.md and PTI.
"""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
    c = quickstart.get_config()
    c.prior.path = "priors/gghead512"
    c.prior.compute = "tf32"
    c.personalize.invert_steps = 1000
    c.personalize.tune_steps = 4000
    c.personalize.tune_rate = 3e-4
    c.personalize.locality = 0.1
    c.train.hear_steps = 4000
    c.model.audio_features = 64
    c.model.hidden = (256, 256)
    c.train.steps = 20_000
    c.train.batch = 8
    c.train.rate = 1e-3
    c.log.images = 1000
    c.log.checkpoint = 2000
    return c
