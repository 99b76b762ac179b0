"""MEAD's protocol: train on one actor's front camera only, as configs/hdtf.py does.

    python -m jax_talker.train --config configs/mead.py --config.prior.path=priors/gghead512 \\
        --config.data.clip=data/m003 --workdir runs/m003

MEAD's clips are seconds long; its loader and the side cameras' test protocol are not part of this version.
"""

from ml_collections import ConfigDict

from configs import hdtf


def get_config() -> ConfigDict:
    c = hdtf.get_config()
    c.train.steps = 10_000
    return c
