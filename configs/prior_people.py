"""Train a prior of human heads from a pack of CC0 heads (not in this repository), from nothing.

    python -m jax_talker.train --config configs/prior_people.py --config.corpus.pack=HEADS --workdir runs/people

HEADS is the pack's folder. Makes the people first (1 GB), then bases, and writes workdir/prior with its card; with
--config.network.network=True --config.train.steps=4000 --config.corpus.moments=4 a network is trained in texture space
in between. --resume goes on; the same command uses a GPU where there is one.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    c = ConfigDict()
    c.task = "people_prior"
    c.seed = 0

    c.corpus = ConfigDict()
    c.corpus.pack = placeholder(str)  # folder of the pack
    c.corpus.people = 200
    c.corpus.moments = 1  # expressions of each, each in its own light
    c.corpus.size = 192  # of the plane of the head's points
    c.corpus.shell = 80  # of the hair's
    c.corpus.shapes = 700  # people for the basis of shapes
    c.corpus.strangers = 8  # people to score on

    c.basis = ConfigDict()  # coordinates of an identity
    c.basis.shape = 64
    c.basis.skin = 48
    c.basis.hair = 40
    c.basis.shade = 20

    c.network = ConfigDict()
    c.network.network = False  # True: a network learns what the bases leave; give it c.train.steps
    c.network.plane_resolution = 64
    c.network.channel_base = 2048
    c.network.channel_max = 64

    c.prior = ConfigDict()
    c.prior.compute = "float32"  # float32 | tf32 | bfloat16: the network's heavy layers, while it is trained

    c.loss = ConfigDict()
    c.loss.position = 1.0
    c.loss.color = 1.0

    c.train = ConfigDict()
    c.train.steps = 0
    c.train.batch = 4
    c.train.rate = 4e-3

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
