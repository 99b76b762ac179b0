"""Train an encoder for a prior: pictures that it draws → the latents they were drawn from.

    python -m jax_talker.train --config configs/encoder.py --workdir runs/encoder

Draws the pictures first (workdir/corpus, 20 kB each), then trains, then writes workdir/encoder.safetensors. Put it
beside the prior's params.safetensors, and personalising starts from what it finds. --resume goes on; the same command
uses a GPU where there is one.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    c = ConfigDict()
    c.task = "encoder"
    c.seed = 0

    c.prior = ConfigDict()
    c.prior.path = "human"
    c.prior.compute = "float32"

    c.corpus = ConfigDict()
    c.corpus.pictures = 30_000
    c.corpus.held_out = 500

    c.train = ConfigDict()
    c.train.steps = 6000
    c.train.batch = 64
    c.train.rate = 1.5e-3

    c.render = ConfigDict()
    c.render.implementation = placeholder(str)
    c.render.capacity = placeholder(int)

    c.devices = ConfigDict()  # docs/scaling.md
    # "auto" is "jit" over as many devices as the batch can be dealt out to; "jit" and "pmap" take all; "single" one.
    c.devices.mode = "auto"
    c.devices.count = placeholder(int)  # devices; unset: all
    c.devices.accumulate = 1  # parts of a device's share that are worked on in turn, in less memory

    c.log = ConfigDict()
    c.log.scalars = 50
    c.log.images = 0
    c.log.checkpoint = 500
    c.log.keep = 2
    c.log.wandb = placeholder(str)  # a project of Weights & Biases that gets the records as well (extra wandb)
    return c
