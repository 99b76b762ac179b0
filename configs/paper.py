"""The paper's method and nothing else: no deformation field and no detail of one's own (method.md).

    python -m jax_talker.train --config configs/paper.py --config.data.clip=data/me --workdir runs/me_paper

What configs/quickstart.py gains over it stands in docs/method.md.
"""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
    c = quickstart.get_config()
    c.prior.path = "small"  # what docs/method.md measured this with; give your own for real people
    c.model.deformation = "none"
    c.model.walk = "all"
    c.personalize.detail_rate = 0.0
    c.personalize.rough = 0.0
    c.personalize.units = False
    c.personalize.encode = False
    c.train.sound.room = 0.0
    c.data.level.background = 0.0
    c.personalize.tune_rate = 1e-3  # pivotal tuning of the generator, as in the paper
    return c
