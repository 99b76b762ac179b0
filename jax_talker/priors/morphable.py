"""A morphable head: linear shape, expression, skin and hair under linear light, and what a StyleGAN2 adds to them.

A morphable model (Blanz and Vetter 1999) whose points are Gaussians. What is linear is carried by bases (positions are
linear in identity and in ARKit units, skins in log albedo, diffuse light in spherical harmonics); a small synthesis
network draws residuals in texture space as GGHead does: how identity and expression act together, shadows, gloss.

A style vector w has coordinates with a meaning, each of unit spread over people: shape | units | skin | hair | shade |
light. All rows of W+ hold the same coordinates; a row may be moved alone: the first six feed a basis each, the others a
layer of the network.
"""

import math
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

import jax_talker.priors.attributes as attributes
import jax_talker.priors.discs as discs
import jax_talker.priors.initial as initial
import jax_talker.priors.layers as layers
import jax_talker.priors.options as options
import jax_talker.priors.stylegan2 as stylegan2
from jax_talker.errors import UserError
from jax_talker.geometry import camera_from_label, rotation_from_quat
from jax_talker.priors.base import Variables
from jax_talker.priors.initial import constant
from jax_talker.types import Camera, Gaussians, Latent

ROWS = ("shape", "units", "skin", "hair", "shade", "light")  # of W+ before the network's; and the parts of a style vector
HARMONICS = 9  # numbers of light a colour
HEAD_CHANNELS = {"position": 3, "shade": 4, "color": 3}
SHELL_CHANNELS = {"position": 3, "alpha": 1, "color": 3}
UNIT = {"position": 0.01, "shade": 0.1, "color": 0.1, "alpha": 1.0}  # of the network's output, in world units, …
HAIR = 7  # position, logit of alpha, log albedo
ALPHA_OVERSHOOT = 0.02  # logits of hair reach 0 and 1
OVERLAP = 2.3  # discs that cover a point, in sum: what an alpha has to be shared among
BEHIND = 0.5  # how far behind a disc its second one lies, against its width
THICKNESS = 0.12  # of a disc, against its width
MIX = 6.0  # how much one person stands out in a mixture
OWN_SHAPE = 0.25  # share of a shape's variance that even a copy of one person gets anew
LIGHT_ENDS = 2.5  # deviations that no random light exceeds
DIFFUSE = np.array([1, *[0.593] * 3, *[0.152] * 5], np.float32)  # how much of each harmonic's light skin takes, unshaded
DARKEST = 0.01  # least light on a point
SHOULDER, STEEP = 0.8, 5.0  # where and how fast highlights are compressed, as in people.raster.display
RANGES = {
    **dict.fromkeys(ROWS, (1, 1 << 12)),
    **dict.fromkeys(("on_head", "on_shell", "backing", "people", "channel_base"), (1, 1 << 24)),
    "channel_max": (1, 1 << 16),
    "plane_resolution": (8, 1 << 13),
}


@dataclass(frozen=True)
class MorphableConfig:
    """Every option of the generator. ``shape`` … ``light`` are the numbers of coordinates."""

    on_head: int = 13_562  # K: points on the head's surface; the others lie on the hair's shell
    on_shell: int = 3_228
    backing: int = 3_400  # points of the head that have a second, wider Gaussian behind them, which closes gaps
    people: int = 240  # whose mixtures random latents are
    shape: int = 64
    units: int = 52
    skin: int = 48
    hair: int = 24
    shade: int = 20  # how much of the light reaches each point: other hair and other shapes shade elsewhere
    light: int = 27
    plane_resolution: int = 64  # of the network's planes, a power of two
    channel_base: int = 2048
    channel_max: int = 64
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self):
        options.check_ranges(self, RANGES)
        if self.plane_resolution & (self.plane_resolution - 1):
            raise UserError(f"plane_resolution must be a power of two, got {self.plane_resolution}")
        if self.light != 3 * HARMONICS:
            raise UserError(f"light must be {3 * HARMONICS}, got {self.light}")
        if self.backing > self.on_head:
            raise UserError(f"backing {self.backing} must be at most on_head, {self.on_head}")

    @classmethod
    def from_json(cls, stored: MappingType[str, Any]) -> "MorphableConfig":
        """Inverse of :meth:`to_json`; unknown names are refused."""
        return options.from_json(cls, stored)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return options.to_json(self)

    @property
    def parts(self) -> dict[str, slice]:
        """Where each part lies in a style vector."""
        where, start = {}, 0
        for name in ROWS:
            where[name] = slice(start, start + getattr(self, name))
            start += getattr(self, name)
        return where

    @property
    def w_dim(self) -> int:
        return sum(getattr(self, name) for name in ROWS)

    @property
    def points(self) -> int:
        """N: points of the head and of the shell."""
        return self.on_head + self.on_shell


class MorphableNetwork(nn.Module):
    """The arrays and what is computed with them."""

    config: MorphableConfig
    compute: str

    def setup(self):
        c = self.config
        n, k, d = c.points, c.on_head, c.w_dim
        zero = lambda name, *shape: self.param(name, constant(0.0), shape)  # noqa: E731
        self.position_mean = zero("position_mean", n, 3)
        self.position_shape = zero("position_shape", c.shape, n, 3)
        self.position_units = zero("position_units", c.units, k, 3)
        self.albedo_mean = zero("albedo_mean", k, 3)
        self.albedo_skin = zero("albedo_skin", c.skin, k, 3)
        self.hair_mean = zero("hair_mean", n - k, HAIR)
        self.hair_basis = zero("hair_basis", c.hair, n - k, HAIR)
        self.transfer = zero("transfer", n, HARMONICS, 3)
        self.transfer_shade = zero("transfer_shade", c.shade, k, HARMONICS)
        self.gloss = zero("gloss", k, HARMONICS)
        self.opacity = zero("opacity", k)  # logit
        self.log_scale = zero("log_scale", n, 3)  # against the distance between texels
        self.backing_scale = zero("backing_scale", 3)
        fixed = lambda name, *shape: self.variable("buffers", name, constant(0.0), None, shape)  # noqa: E731
        self.w_avg = fixed("w_avg", d)
        self.people = fixed("people", c.people, c.shape + c.skin + c.hair + c.shade)
        self.keys = fixed("keys", c.people, c.skin + c.hair + c.shade)
        self.shape_mix = fixed("shape_mix", c.shape, c.shape)
        self.units_mix = fixed("units_mix", c.units, c.units)
        self.units_mean = fixed("units_mean", c.units)
        self.units_spread = fixed("units_spread", c.units)
        self.light_mix = fixed("light_mix", c.light, c.light)
        self.light_mean = fixed("light_mean", c.light)
        self.uv = fixed("uv", n, 2)
        self.neighbours = fixed("neighbours", n, 4)
        self.turn = fixed("turn", n, 2)
        self.rest_quat = fixed("rest_quat", n, 4)
        self.rest_width = fixed("rest_width", n, 2)
        self.facing = fixed("facing", k)
        self.backing = fixed("backing", c.backing)
        channels = sum(HEAD_CHANNELS.values()) + sum(SHELL_CHANNELS.values())
        self.gain = self.param("residual_gain", constant(0.0), (channels,))
        self.synthesis_net = stylegan2.Synthesis(
            c.plane_resolution,
            channels,
            c.channel_base,
            c.channel_max,
            layers.Numerics.named(self.compute),
            name="synthesis",
        )

    def __call__(self, z):
        return self.gaussians(self.mapping(z, 1.0, None))

    def mapping(self, z, psi, cutoff):
        """Skin and hair of a few people mixed; their shapes, too, and what is left of a shape's variance; units and
        light with the correlations of the people that the bases came from."""
        c = self.config
        where = c.parts
        dot = lambda a, b: jnp.matmul(a, b, precision="highest")  # noqa: E731
        key = jnp.concatenate([z[:, where[name]] for name in ("skin", "hair", "shade")], -1)
        share = jax.nn.softmax(MIX * dot(key, self.keys.value.T), -1)
        shape, rest = jnp.split(dot(share, self.people.value), [c.shape], -1)
        left = jnp.sqrt(1 - jnp.sum(jnp.square(share), -1, keepdims=True) * (1 - OWN_SHAPE))
        shape = shape + left * dot(z[:, where["shape"]], self.shape_mix.value)
        mean = self.units_mean.value[None]
        units = jnp.clip(mean + dot(z[:, where["units"]], self.units_mix.value), 0, 1)  # no face has negative weights
        light = LIGHT_ENDS * jnp.tanh(z[:, where["light"]] / LIGHT_ENDS)
        w = jnp.concatenate([shape, (units - mean) / self.units_spread.value[None], rest, light], -1)
        return layers.broadcast_and_truncate(w, self.w_avg.value, num_ws(c), psi, cutoff)

    def linear(self, ws):
        """What the bases say: position, log albedo [B, N, 3], logit of hair [B, N − K], light [B, 9, 3], how it is
        dimmed [B, K, 9]."""
        c = self.config
        row = {name: ws[:, k, c.parts[name]] for k, name in enumerate(ROWS)}
        units = self.units_mean.value[None] + self.units_spread.value[None] * row["units"]
        position = self.position_mean[None] + _combine(row["shape"], self.position_shape)
        moved = _combine(units, self.position_units)
        hair = self.hair_mean[None] + _combine(row["hair"], self.hair_basis)
        position = position + jnp.concatenate([moved, hair[..., :3]], 1)
        skin = self.albedo_mean[None] + _combine(row["skin"], self.albedo_skin)
        light = self.light_mean.value[None] + jnp.matmul(row["light"], self.light_mix.value, precision="highest")
        albedo = jnp.concatenate([skin, hair[..., 4:]], 1)
        return position, albedo, hair[..., 3], light.reshape(-1, HARMONICS, 3), _combine(row["shade"], self.transfer_shade)

    def residual(self, ws):
        """What the network adds, in units of UNIT: values [B, K, 10] on the head and [B, N − K, 7] on the shell."""
        k, head = self.config.on_head, sum(HEAD_CHANNELS.values())
        image, _ = self.synthesis_net(ws[:, len(ROWS) :], "none", None)
        image = image * self.gain
        uv = self.uv.value
        return (
            attributes.sample_plane(image[..., :head], uv[:k]),
            attributes.sample_plane(image[..., head:], uv[k:]),
        )

    def points(self, ws):
        """Position [B, N, 3], sRGB [B, N, 3], alpha [B, N] of every point; frames [B, K, 3, 3], widths [B, K, 2] of
        the head's discs."""
        k, n = self.config.on_head, self.config.points
        position, albedo, logit, light, dimmed = self.linear(ws)
        on_head, on_shell = self.residual(ws)
        head, shell = _split(on_head, HEAD_CHANNELS), _split(on_shell, SHELL_CHANNELS)
        position = position + jnp.concatenate([head["position"], shell["position"]], 1)
        frame, width = self.surface(position[:, :k])
        falling = jnp.einsum("nkc,bkc->bnc", self.transfer, light, precision="highest")
        dimmed = dimmed.at[..., :4].add(head["shade"])
        ambient = self.transfer[None, :k, 0] + dimmed[..., :1]
        bent = ambient * self.bend(frame[..., 2], light) + jnp.einsum(
            "bnk,bkc->bnc", dimmed, light, precision="highest"
        )
        shine = jnp.einsum("nk,bkc->bnc", self.gloss, light, precision="highest")
        beyond = ((0, 0), (0, n - k), (0, 0))
        lit = jnp.exp(albedo) * _positive(falling + jnp.pad(bent, beyond)) + jnp.pad(jnp.maximum(shine, 0), beyond)
        color = display(lit) + jnp.concatenate([head["color"], shell["color"]], 1)
        alpha = jax.nn.sigmoid(logit + shell["alpha"][..., 0]) * (1 + 2 * ALPHA_OVERSHOOT) - ALPHA_OVERSHOOT
        skin = jnp.broadcast_to(jax.nn.sigmoid(self.opacity)[None], (len(ws), k))
        return position, color, jnp.concatenate([skin, jnp.clip(alpha, 0, 1)], 1), frame, width

    def surface(self, position):
        """Frames and widths of the head's discs at positions [B, K, 3]."""
        k = self.config.on_head
        neighbours = self.neighbours.value[:k].astype(jnp.int32)
        return discs.frames(*discs.tangents(position, neighbours), self.turn.value[:k])

    def bend(self, normal, light):
        """How much more light [B, K, 3] would fall on the head because it faces elsewhere than the mean head does, if
        nothing cast shadows."""
        k = self.config.on_head
        rest = rotation_from_quat(self.rest_quat.value[:k])[..., 2]
        facing = self.facing.value[:, None]
        more = harmonics(facing * normal) - harmonics(facing * rest)
        return jnp.einsum("bnk,bkc->bnc", more * DIFFUSE, light, precision="highest")

    def gaussians(self, ws):
        k = self.config.on_head
        position, color, alpha, frame, width = self.points(ws)
        rest_quat, rest_width = self.rest_quat.value, self.rest_width.value
        quat = discs.turned(frame, rest_quat[:k])
        width = discs.stretched(width, rest_width[:k])
        batch = len(ws)
        on_shell = lambda x: jnp.broadcast_to(x[None, k:], (batch, *x[k:].shape))  # noqa: E731
        quat = jnp.concatenate([quat, on_shell(rest_quat)], 1)
        width = jnp.concatenate([width, on_shell(rest_width)], 1)
        thick = THICKNESS * jnp.sqrt(width[..., :1] * width[..., 1:])
        scale = jnp.concatenate([width, thick], -1)
        opacity = jnp.concatenate([alpha[:, :k], 1 - (1 - 0.999 * alpha[:, k:]) ** (1 / OVERLAP)], 1)
        # The second layer: every other texel's disc once more, wider, behind the first one.
        second = self.backing.value.astype(jnp.int32)
        inwards = -self.facing.value[second][:, None] * frame[..., 2][:, second]
        depth = BEHIND * jnp.sqrt(width[:, second, :1] * width[:, second, 1:])
        each = lambda x: jnp.concatenate([x, x[:, second]], 1)  # noqa: E731
        return Gaussians(
            mean=jnp.concatenate([position, position[:, second] + depth * inwards], 1),
            quat=each(quat),
            scale=jnp.concatenate(
                [scale * jnp.exp(self.log_scale)[None], scale[:, second] * jnp.exp(self.backing_scale)], 1
            ),
            opacity=each(opacity),
            rgb=each(color),
        )


def harmonics(towards: Float[Array, "*b 3"]) -> Float[Array, "*b 9"]:
    """``people.corpus.harmonics`` for JAX: polynomials that span the harmonics to degree 2."""
    x, y, z = towards[..., 0], towards[..., 1], towards[..., 2]
    return jnp.stack([jnp.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], -1)


def _combine(weights: Float[Array, "B C"], basis: Float[Array, "C n _"]) -> Float[Array, "B n _"]:
    flat = jnp.matmul(weights, basis.reshape(basis.shape[0], -1), precision="highest")
    return flat.reshape(-1, *basis.shape[1:])


def _split(values: Float[Array, "B n C"], channels: dict[str, int]) -> dict[str, Array]:
    """Named channels in their units."""
    ends = list(channels.values())
    pieces = jnp.split(values, [sum(ends[: k + 1]) for k in range(len(ends) - 1)], -1)
    return {name: UNIT[name] * piece for name, piece in zip(channels, pieces, strict=True)}


def _positive(light: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Light that is never less than almost none: harmonics ring below 0 behind strong lights."""
    return DARKEST * jax.nn.softplus(light / DARKEST)


def display(light: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """sRGB of linear light ≥ 0, with a soft shoulder above 0.8: ``people.raster.display`` for JAX."""
    over = jnp.maximum(light - SHOULDER, 0)
    light = jnp.where(light > SHOULDER, SHOULDER + (1 - jnp.exp(-STEEP * over)) / STEEP, light)
    return jnp.where(light <= 0.0031308, 12.92 * light, 1.055 * jnp.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


@dataclass(frozen=True)
class Morphable:
    """A morphable head without its arrays; see :class:`jax_talker.priors.base.Prior` for the interface."""

    config: MorphableConfig = field(default_factory=MorphableConfig)
    compute: str = "float32"  # layers.COMPUTE

    kind: ClassVar[str] = "morphable"

    def __post_init__(self):
        layers.Numerics.named(self.compute)

    # -- sizes -------------------------------------------------------------------------------------------------------

    @property
    def num_ws(self) -> int:
        return num_ws(self.config)

    @property
    def w_dim(self) -> int:
        return self.config.w_dim

    @property
    def z_dim(self) -> int:
        return self.config.w_dim

    @property
    def num_gaussians(self) -> int:
        return self.config.points + self.config.backing

    @property
    def background(self) -> tuple[float, float, float]:
        return self.config.background

    @property
    def layer_names(self) -> tuple[str, ...]:
        return (*ROWS, *stylegan2.layer_names(self.config.plane_resolution))

    # -- variables ---------------------------------------------------------------------------------------------------

    def init(self, key: Key[Array, ""]) -> Variables:
        """Fresh variables: a StyleGAN2 that adds nothing yet to bases of zeros (``people.statistics`` finds them)."""
        return initial.draw(self._init, key)

    def shapes(self) -> Variables:
        """Shape and dtype of every variable, from the configuration alone."""
        return initial.shapes(self._init)

    def _init(self, key):
        return MorphableNetwork(self.config, self.compute).init(key, jnp.zeros((1, self.z_dim)))

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
        """z → W+; the label is not needed. ``truncation_cutoff`` rows (all when None) move towards the mean."""
        del label
        return Latent(w=self._apply("mapping", variables, z, truncation_psi, truncation_cutoff))

    def mean_latent(self, variables: Variables) -> Float[Array, "L D"]:
        """w_avg, repeated."""
        return jnp.broadcast_to(variables["buffers"]["w_avg"][None], (self.num_ws, self.w_dim))

    def points(self, variables: Variables, latent: Latent) -> tuple[Array, Array, Array]:
        """Position [B, N, 3], sRGB [B, N, 3] and alpha [B, N] of every point: what training in texture space sees."""
        return self._apply("points", variables, latent.w)[:3]

    def gaussians(self, variables: Variables, latent: Latent) -> Gaussians:
        """W+ → Gaussians with ``rgb``, which is the same from all sides."""
        return self._apply("gaussians", variables, latent.w)

    def gaussians_for_view(self, variables: Variables, latent: Latent, label: Float[Array, "B 25"]) -> Gaussians:
        """The same: this generator's colours do not depend on the view."""
        del label
        return self.gaussians(variables, latent)

    def camera(self, label: Float[Array, "*b 25"], size: int) -> Camera:
        """The label's camera for ``size`` × ``size`` pixels."""
        return camera_from_label(label, size)

    def _apply(self, method: str, variables: Variables, *args) -> Any:
        return MorphableNetwork(self.config, self.compute).apply(variables, *args, method=method)


def num_ws(config: MorphableConfig) -> int:
    """A row for each basis and for each layer of the network."""
    return len(ROWS) + 2 * int(math.log2(config.plane_resolution)) - 2
