"""Train the bundled small prior on procedural people, from nothing.

    python -m jax_talker.train --config configs/prior.py --workdir runs/prior

Films the people first (about 15 minutes on 2 cores, 3 GB in workdir/corpus), then trains (see the model card in
jax_talker/priors/assets/small/README.md for time and scores), then writes workdir/prior and scores it.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    c = ConfigDict()
    c.task = "prior"
    c.seed = 0

    c.corpus = ConfigDict()
    c.corpus.people = 8000
    c.corpus.motions = 3
    c.corpus.views = 2
    c.corpus.size = 128

    c.prior = ConfigDict()
    c.prior.w_dim = 128
    c.prior.mapping_layers = 3
    c.prior.plane_resolution = 64
    c.prior.channel_base = 2048
    c.prior.channel_max = 96
    c.prior.uv_samples = 96
    c.prior.sh_degree = 0
    c.prior.max_scale = -3.0
    c.prior.scale_offset = -5.0
    c.prior.compute = "float32"  # float32 | tf32 | bfloat16: the generator's heavy layers, while it is trained

    c.render = ConfigDict()
    c.render.implementation = placeholder(str)
    c.render.capacity = placeholder(int)

    c.loss = ConfigDict()
    c.loss.l1 = 1.0
    c.loss.ssim = 0.2

    c.train = ConfigDict()
    c.train.steps = 10_000
    c.train.batch = 4
    c.train.rate = 6e-3
    c.train.mapping_rate = 100.0  # times the rate; the mapping network's own multiplier is 0.01
    c.train.alpha = 0.5
    c.train.position = 0.02

    c.devices = ConfigDict()  # docs/scaling.md
    # "auto" is "jit" over as many devices as the batch can be dealt out to; "jit" and "pmap" take all; "single" one.
    c.devices.mode = "auto"
    c.devices.count = placeholder(int)  # devices; unset: all
    c.devices.accumulate = 1  # parts of a device's share that are worked on in turn, in less memory

    c.log = ConfigDict()
    c.log.scalars = 50
    c.log.images = 1000
    c.log.checkpoint = 1000
    c.log.keep = 2
    c.log.wandb = placeholder(str)  # a project of Weights & Biases that gets the records as well (extra wandb)
    return c
