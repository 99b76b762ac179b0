"""GSGAN (Hyun and Heo, *Adversarial Generation of Hierarchical Gaussians for 3D GAN*, NeurIPS 2024, arXiv:2406.02968).

z, label → w → a hierarchy of Gaussians, coarse to fine, each inside its parent, and a sphere of background Gaussians.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float, Key

import jax_talker.priors.initial as initial
import jax_talker.priors.layers as layers
from jax_talker.geometry import split_label
from jax_talker.priors.anchors import Splats, concatenate
from jax_talker.priors.base import Variables
from jax_talker.priors.cameras import invert_affine
from jax_talker.priors.gsgan_config import STYLED_BLOCKS, GSGANConfig
from jax_talker.priors.gsgan_network import RECORD, Background, Foreground
from jax_talker.priors.initial import constant
from jax_talker.priors.sh import C0
from jax_talker.types import Camera, Gaussians, Latent

# The original passes 12.96, meant as degrees, where radians are expected: tan(12.96 / 2) = 0.199396.
HALF_TANGENT = 0.19939596839
FOCAL = 0.5 / HALF_TANGENT  # over the image size; the label's own intrinsics are not used
# The viewing direction that the original's scripts fix for colours that do not depend on the pose.
FRONT_DIRECTION = (-4.7208e-08, 4.7208e-08, -1.0)


class GSGANNetwork(nn.Module):
    """The learned part: mapping, foreground and background."""

    config: GSGANConfig
    compute: str

    def setup(self):
        c = self.config
        numerics = layers.Numerics.named(self.compute)
        self.mapping_net = layers.Mapping(
            c.w_dim, c.mapping_layers, c.c_scale, c.c_gen_conditioning_zero, name="mapping"
        )
        self.foreground_net = Foreground(c, numerics, name="foreground")
        self.background_net = Background(c, numerics, name="background")
        self.w_avg = self.variable("buffers", "w_avg", constant(0.0), None, (c.w_dim,))

    def __call__(self, z, label):
        return self.parts(self.mapping(z, label, 1.0, None), jnp.ones((z.shape[0], 3)))

    def mapping(self, z, label, psi, cutoff):
        w = self.mapping_net(z, label[:, : self.config.c_dim])
        return layers.broadcast_and_truncate(w, self.w_avg.value, self.config.num_ws, psi, cutoff)

    def parts(self, ws, direction):
        return *self.foreground_net(ws, direction), self.background_net(ws[:, -1])

    def foreground(self, ws, direction):
        return self.foreground_net(ws, direction)[0]


@dataclass(frozen=True)
class GSGAN:
    """A GSGAN generator without its arrays; see :class:`jax_talker.priors.base.Prior` for the interface."""

    config: GSGANConfig = field(default_factory=GSGANConfig)
    compute: str = "float32"  # layers.COMPUTE

    kind: ClassVar[str] = "gsgan"

    def __post_init__(self):
        layers.Numerics.named(self.compute)

    # -- sizes -------------------------------------------------------------------------------------------------------

    @property
    def num_ws(self) -> int:
        return self.config.num_ws

    @property
    def w_dim(self) -> int:
        return self.config.w_dim

    @property
    def z_dim(self) -> int:
        return self.config.z_dim

    @property
    def num_gaussians(self) -> int:
        """Foreground, coarse to fine, then background."""
        return self.config.num_foreground + self.config.num_background * self.config.use_background

    @property
    def background(self) -> tuple[float, float, float]:
        """Black behind the background sphere, as trained; white where the sphere is left out, as heads are prepared."""
        return (0.0, 0.0, 0.0) if self.config.use_background else (1.0, 1.0, 1.0)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Two rows for each transformer layer and styled block, the last one for the whole background."""
        names = [f"block_4.{i}.{part}" for i in range(self.config.transformer_layers) for part in ("attn", "mlp")]
        names += [f"block_{block}.{part}" for block in STYLED_BLOCKS for part in ("edge", "mlp")]
        return (*names, "background")

    # -- variables ---------------------------------------------------------------------------------------------------

    def init(self, key: Key[Array, ""]) -> Variables:
        """The original's initialisation; what it does not document (seeds, sine biases) is drawn at unit scale."""
        variables = initial.draw(self._init, key)
        background = dict(variables["params"]["background"])
        seeds = background["seeds"].at[:, 2].set(-jnp.abs(background["seeds"][:, 2]))  # behind the head
        background["seeds"] = jnp.sqrt(3.0) * seeds / jnp.linalg.norm(seeds, axis=-1, keepdims=True)
        return {**variables, "params": {**variables["params"], "background": background}}

    def shapes(self) -> Variables:
        """Shape and dtype of every variable, from the configuration alone."""
        return initial.shapes(self._init)

    def _init(self, key):
        c = self.config
        return GSGANNetwork(c, self.compute).init(key, jnp.zeros((1, c.z_dim)), jnp.zeros((1, c.c_dim)))

    # -- generation --------------------------------------------------------------------------------------------------

    def mapping(
        self,
        variables: Variables,
        z: Float[Array, "B Z"],
        label: Float[Array, "B C"],
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Latent:
        """z and the conditioning label → W+. ``truncation_cutoff`` rows (all when None) move towards the mean."""
        return Latent(w=self._apply("mapping", variables, z, label, truncation_psi, truncation_cutoff))

    def mean_latent(self, variables: Variables) -> Float[Array, "L D"]:
        """w_avg, repeated."""
        return jnp.broadcast_to(variables["buffers"]["w_avg"][None], (self.num_ws, self.w_dim))

    def parts(
        self, variables: Variables, latent: Latent, direction: Float[Array, "B 3"]
    ) -> tuple[Splats, Splats, Splats]:
        """(foreground, anchors, background) before their last activation, as the original returns them.

        ``direction`` is the unit viewing direction in the world that the foreground's colours are conditioned on.
        """
        return self._apply("parts", variables, latent.w, direction)

    def record(self, variables: Variables, latent: Latent, direction: Float[Array, "B 3"]) -> dict[str, Array]:
        """Intermediate values by the original's names ("fg/block_8/attn"), for comparison with other programs."""
        network = GSGANNetwork(self.config, self.compute)
        _, seen = network.apply(variables, latent.w, direction, method="parts", mutable=[RECORD])
        found = {}
        for (*scopes, name), (value, *_) in dict(flatten_dict(seen[RECORD])).items():
            scopes[0] = {"foreground": "fg", "background": "bg"}[scopes[0]]
            found["/".join([*scopes, name])] = value
        return found

    def gaussians(self, variables: Variables, latent: Latent) -> Gaussians:
        """W+ → Gaussians with ``rgb`` as the frontal camera sees them, whatever camera renders them later."""
        front = jnp.broadcast_to(jnp.asarray(FRONT_DIRECTION)[None], (latent.w.shape[0], 3))
        return self._scene(variables, latent, front)

    def gaussians_for_view(self, variables: Variables, latent: Latent, label: Float[Array, "B 25"]) -> Gaussians:
        """W+ → Gaussians with ``rgb`` for this label's camera."""
        return self._scene(variables, latent, viewing_direction(label))

    def camera(self, label: Float[Array, "*b 25"], size: int) -> Camera:
        """The camera that the generator was trained with, which is not quite the label's.

        Its x translation has the opposite sign (which shows for cameras that do not look straight at the origin), and
        its field of view is 22.55° whatever the label says.
        """
        world_from_cam, _ = split_label(label)
        view = invert_affine(world_from_cam)
        mirrored = view.at[..., 0, 3].multiply(-1)
        intrinsics = jnp.array([[FOCAL * size, 0, size / 2], [0, FOCAL * size, size / 2], [0, 0, 1]])
        return Camera(cam_from_world=mirrored, intrinsics=jnp.broadcast_to(intrinsics, (*label.shape[:-1], 3, 3)))

    def _scene(self, variables: Variables, latent: Latent, direction: Float[Array, "B 3"]) -> Gaussians:
        if self.config.use_background:
            foreground, _, background = self.parts(variables, latent, direction)
            return activate(concatenate([foreground, background]))
        return activate(self._apply("foreground", variables, latent.w, direction))

    def _apply(self, method: str, variables: Variables, *args) -> Any:
        network = GSGANNetwork(self.config, self.compute)
        return network.apply(variables, *args, method=method)


def make_gsgan(config: GSGANConfig, *, compute: str = "float32") -> GSGAN:
    """The generator of a configuration; ``compute`` is float32 (exact), tf32 or bfloat16."""
    return GSGAN(config, compute)


def viewing_direction(label: Float[Array, "*b 25"]) -> Float[Array, "*b 3"]:
    """The camera's forward axis in the world, (0, 0, −1) for the frontal camera."""
    forward = split_label(label)[0][..., :3, 2]
    return forward / jnp.maximum(jnp.linalg.norm(forward, axis=-1, keepdims=True), 1e-12)


def activate(splats: Splats) -> Gaussians:
    """What the rasteriser receives."""
    norm = jnp.linalg.norm(splats.rotation, axis=-1, keepdims=True)
    return Gaussians(
        mean=splats.xyz,
        quat=splats.rotation / jnp.maximum(norm, 1e-12),
        scale=jnp.exp(splats.scale),
        opacity=jax.nn.sigmoid(splats.opacity[..., 0]),
        rgb=jnp.maximum(0, 0.5 + C0 * splats.color),
    )
