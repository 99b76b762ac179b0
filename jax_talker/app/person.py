"""Where a person is in the latent space, and what else was learnt of them: ``personal/person.safetensors`` of a run.

Beside it lies the generator as a prior folder, tuned or not. Everything is stored by its path: ``params/anchor``,
``params/detail/mean``, ``params/talker/…``, ``params/deformation/…``, ``layout/parent``, ….
"""

from dataclasses import dataclass, fields
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from jax_talker.data.batches.motion_features import MotionSpace
from jax_talker.errors import UserError
from jax_talker.models.deformation import Poses
from jax_talker.models.detail import Layout
from jax_talker.priors.base import Prior, Variables, draw
from jax_talker.priors.store import write_arrays
from jax_talker.training.talking_head import Fixed, Params
from jax_talker.types import Latent

FILE = "person.safetensors"
FORMAT = "7"


@dataclass(frozen=True)
class Person:
    """What personalisation leaves. ``params`` lack the generator; ``gain`` is the length of a typical walk in W+."""

    params: Params
    layout: Layout
    poses: Poses
    motion: MotionSpace
    gain: float

    def fixed(self, prior: Prior, variables: Variables) -> Fixed:
        """What stands still while the person speaks; ``variables`` are those of the person's own generator."""
        all_walk = bool((self.layout.walks == 1).all())
        rest = None if all_walk else draw(prior, variables, Latent(self.params["anchor"][None]))
        return Fixed(variables, self.layout, self.poses, rest)

    def save(self, folder: Path) -> None:
        """Write ``FILE`` into the folder of the person's generator, whole or not at all."""
        parts = {
            name: {f.name: getattr(part, f.name) for f in fields(part)}
            for name, part in (("layout", self.layout), ("poses", self.poses), ("motion", self.motion))
        }
        flat = flatten_dict({"params": self.params, **parts, "gain": np.float32(self.gain)}, sep="/")
        arrays = {name: np.array(array, order="C") for name, array in flat.items()}
        beside = folder.parent / f".{FILE}.partial"  # a folder of a prior holds nothing but its files
        try:
            write_arrays(beside, arrays, {"format": FORMAT})
            beside.replace(folder / FILE)
        finally:
            beside.unlink(missing_ok=True)


def load_person(folder: Path) -> Person:
    """Read what ``Person.save`` wrote; UserError where it is damaged or of another version."""
    path = folder / FILE
    try:
        with safetensors.safe_open(path, "numpy") as stored:
            version = (stored.metadata() or {}).get("format")
            flat = {name: jnp.asarray(stored.get_tensor(name)) for name in stored.keys()}  # noqa: SIM118
        if version != FORMAT:
            raise UserError(f"{path}: format {version!r}, this version reads {FORMAT}; personalise again")
        tree = unflatten_dict(flat, sep="/")
        motion = MotionSpace(**{name: np.asarray(value) for name, value in tree["motion"].items()})
        return Person(tree["params"], Layout(**tree["layout"]), Poses(**tree["poses"]), motion, float(tree["gain"]))
    except FileNotFoundError:
        raise UserError(
            f"{path}: missing, so this run is not personalised, or an earlier version did it; train in a new --workdir"
        ) from None
    except (safetensors.SafetensorError, OSError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); personalise again in another --workdir") from None
