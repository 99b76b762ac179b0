"""A morphable head: linear shape, expression, skin and hair under linear light, and what a StyleGAN2 adds to them.

A morphable model (Blanz and Vetter 1999) whose points are Gaussians. What is linear is carried by bases (positions are
linear in identity and in ARKit units, skins in log albedo, diffuse light in spherical harmonics); a small synthesis
network draws residuals in texture space as GGHead does: how identity and expression act together, shadows, gloss.

A style vector w has coordinates with a meaning, each of unit spread over people: shape | units | skin | hair | shade |
light. All rows of W+ hold the same coordinates; a row may be moved alone: the first six feed a basis each, the others a
layer of the network.
"""

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
import jax_talker.priors.stylegan2 as stylegan2
from jax_talker.geometry import camera_from_label, rotation_from_quat
from jax_talker.priors.base import Variables
from jax_talker.priors.initial import constant
from jax_talker.priors.morphable_config import HARMONICS, ROWS, MorphableConfig, num_ws
from jax_talker.types import Camera, Gaussians, Latent

HEAD_CHANNELS = {"position": 3, "shade": 4, "color": 3}
SHELL_CHANNELS = {"position": 3, "alpha": 1, "color": 3}
CHANNELS = sum(HEAD_CHANNELS.values()) + sum(SHELL_CHANNELS.values())
UNIT = {"position": 0.01, "shade": 0.1, "color": 0.1, "alpha": 1.0}  # of the network's output, in world units, …
HAIR = 7  # position, logit of alpha, log albedo
ALPHA_OVERSHOOT = 0.02  # logits of hair reach 0 and 1
HAZE = 0.05  # hair of less alpha is none: mixtures of many styles would hang about heads as smoke
OVERLAP = 1.75  # discs that cover a point, in sum: what an alpha has to be shared among
# Found by search on true points of three people against their pictures (PSNR at 256²); in distances between texels.
BEHIND = 1.46  # depth of the second, wider disc
THICKNESS = 0.073
MIX = 6.0  # how much one person stands out in a mixture
OWN_SHAPE = 0.25  # share of a shape's variance that even a copy of one person gets anew
CALM = 0.7  # times the units' deviation: they are mostly 0, which a normal distribution is not
LIGHT_ENDS = 2.5  # deviations that no random light exceeds
# How much of each harmonic's light skin takes that nothing shades: a cosine wrapped by 0.22, the mean of R, G and B.
DIFFUSE = np.array([1, *[0.593] * 3, *[0.152] * 5], np.float32)
DARKEST = 0.01  # least light on a point
SHOULDER, STEEP = 0.8, 5.0  # where and how fast highlights are compressed, as in people.raster.display


class MorphableNetwork(nn.Module):
    """The arrays and what is computed with them."""

    config: MorphableConfig
    compute: str

    def setup(self):
        c = self.config
        n, k, u, d = c.points, c.on_head, c.vertices, c.w_dim
        zero = lambda name, *shape: self.param(name, constant(0.0), shape)  # noqa: E731
        self.position_mean = zero("position_mean", u, 3)
        self.position_shape = zero("position_shape", c.shape, u, 3)
        self.position_units = zero("position_units", c.units, u, 3)
        self.shell_mean = zero("shell_mean", n - k, 3)
        self.shell_shape = zero("shell_shape", c.shape, n - k, 3)
        self.albedo_mean = zero("albedo_mean", k, 3)
        self.albedo_skin = zero("albedo_skin", c.skin, k, 3)
        self.hair_mean = zero("hair_mean", n - k, HAIR)
        self.hair_basis = zero("hair_basis", c.hair, n - k, HAIR)
        self.transfer = zero("transfer", u, HARMONICS, 3)
        self.transfer_shade = zero("transfer_shade", c.shade, u, HARMONICS)
        self.shell_transfer = zero("shell_transfer", n - k, HARMONICS)
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
        self.corners = fixed("corners", k, 3)
        self.weights = fixed("weights", k, 3)
        self.neighbours = fixed("neighbours", k, 4)
        self.turn = fixed("turn", k, 2)
        self.rest_quat = fixed("rest_quat", n, 4)
        self.rest_width = fixed("rest_width", n, 2)
        self.facing = fixed("facing", k)
        self.backing = fixed("backing", c.backing)
        self.inside = fixed("inside", n)
        if not c.network:
            return
        self.gain = self.param("residual_gain", constant(0.0), (CHANNELS,))
        self.synthesis_net = stylegan2.Synthesis(
            c.plane_resolution,
            CHANNELS,
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
        units = jnp.clip(mean + CALM * dot(z[:, where["units"]], self.units_mix.value), 0, 1)  # never below 0
        light = LIGHT_ENDS * jnp.tanh(z[:, where["light"]] / LIGHT_ENDS)
        w = jnp.concatenate([shape, (units - mean) / self.units_spread.value[None], rest, light], -1)
        return layers.broadcast_and_truncate(w, self.w_avg.value, num_ws(c), psi, cutoff)

    def linear(self, ws):
        """What the bases say: position, log albedo [B, N, 3], logit of hair [B, N − K], light [B, 9, 3], and how much
        of it reaches each point, [B, K, 9, 3] on the head."""
        c = self.config
        row = {name: ws[:, k, c.parts[name]] for k, name in enumerate(ROWS)}
        units = self.units_mean.value[None] + self.units_spread.value[None] * row["units"]
        bases = jnp.concatenate([self.position_shape, self.position_units])
        vertices = self.position_mean[None] + _combine(jnp.concatenate([row["shape"], units], -1), bases)
        hair = self.hair_mean[None] + _combine(row["hair"], self.hair_basis)
        shell = self.shell_mean[None] + _combine(row["shape"], self.shell_shape) + hair[..., :3]
        reaching = self.transfer[None] + _combine(row["shade"], self.transfer_shade)[..., None]
        skin = self.albedo_mean[None] + _combine(row["skin"], self.albedo_skin)
        light = self.light_mean.value[None] + jnp.matmul(row["light"], self.light_mix.value, precision="highest")
        light = light.reshape(-1, HARMONICS, 3)
        falling = jnp.einsum("bukc,bkc->buc", reaching, light, precision="highest")
        # One gather for all that vertices carry: position, diffuse light, and the share of even light.
        on_head: Any = self.between(jnp.concatenate([vertices, falling, reaching[..., 0, :1]], -1))
        position = jnp.concatenate([on_head[..., :3], shell], 1)
        albedo = jnp.concatenate([skin, hair[..., 4:]], 1)
        return position, albedo, hair[..., 3], light, on_head[..., 3:6], on_head[..., 6:]

    def between(self, values):
        """Values [B, U, C] of the vertices at the head's points [B, K, C]."""
        corners, weights = self.corners.value.astype(jnp.int32), self.weights.value
        a, b, c = (weights[None, :, j, None] * jnp.take(values, corners[:, j], axis=1) for j in range(3))
        return a + b + c

    def residual(self, ws):
        """What the network adds, in units of UNIT: values [B, K, 10] on the head and [B, N − K, 7] on the shell."""
        k, head = self.config.on_head, sum(HEAD_CHANNELS.values())
        if not self.config.network:
            zeros = jnp.zeros((len(ws), self.config.points, CHANNELS))
            return zeros[:, :k, :head], zeros[:, k:, head:]
        image, _ = self.synthesis_net(ws[:, len(ROWS) :], "none", None)
        image = image * self.gain[None, None, None]
        uv = self.uv.value
        return (
            attributes.sample_plane(image[..., :head], uv[:k]),
            attributes.sample_plane(image[..., head:], uv[k:]),
        )

    def points(self, ws):
        """Position [B, N, 3], sRGB [B, N, 3] and alpha [B, N] of every point."""
        k, n = self.config.on_head, self.config.points
        position, albedo, logit, light, falling, open_to = self.linear(ws)
        on_head, on_shell = self.residual(ws)
        head, shell = _split(on_head, HEAD_CHANNELS), _split(on_shell, SHELL_CHANNELS)
        position = position + jnp.concatenate([head["position"], shell["position"]], 1)
        frame, _ = self.surface(position[:, :k])
        falling = falling + open_to * self.bend(frame[..., 2], light)
        falling = falling + jnp.einsum("bnk,bkc->bnc", head["shade"], light[:, :4], precision="highest")
        on_hair = jnp.einsum("nk,bkc->bnc", self.shell_transfer, light, precision="highest")
        lit = jnp.exp(albedo) * _positive(jnp.concatenate([falling, on_hair], 1))
        shine = jnp.einsum("nk,bkc->bnc", self.gloss, light, precision="highest")
        lit = lit + jnp.pad(jnp.maximum(shine, 0), ((0, 0), (0, n - k), (0, 0)))
        color = display(lit) + jnp.concatenate([head["color"], shell["color"]], 1)
        alpha = jax.nn.sigmoid(logit + shell["alpha"][..., 0])
        alpha = alpha * (1 + 2 * ALPHA_OVERSHOOT + HAZE) - ALPHA_OVERSHOOT - HAZE
        skin = jnp.broadcast_to(jax.nn.sigmoid(self.opacity)[None], (len(ws), k))
        return position, color, jnp.concatenate([skin, jnp.clip(alpha, 0, 1)], 1)

    def surface(self, position):
        """Frames and widths of the head's discs at positions [B, K, 3]."""
        neighbours = self.neighbours.value.astype(jnp.int32)
        return discs.frames(*discs.tangents(position, neighbours), self.turn.value)

    def bend(self, normal, light):
        """How much more light [B, K, 3] would fall on the head because it faces elsewhere than the mean head does, if
        nothing cast shadows."""
        k = self.config.on_head
        rest = rotation_from_quat(self.rest_quat.value[:k])[..., 2]
        facing = self.facing.value[None, :, None]
        more = harmonics(facing * normal) - harmonics(facing * rest[None])
        return jnp.einsum("bnk,bkc->bnc", more * DIFFUSE[None, None], light, precision="highest")

    def gaussians(self, ws):
        return self.splats(*self.points(ws))

    def splats(self, position, color, alpha):
        """Gaussians of points."""
        k = self.config.on_head
        frame, width = self.surface(position[:, :k])
        rest_quat, rest_width = self.rest_quat.value, self.rest_width.value
        quat = discs.turned(frame, rest_quat[:k])
        width = discs.stretched(width, rest_width[:k])
        batch = len(position)
        on_shell = lambda x: jnp.broadcast_to(x[None, k:], (batch, *x[k:].shape))  # noqa: E731
        quat = jnp.concatenate([quat, on_shell(rest_quat)], 1)
        middle = jnp.mean(self.shell_mean, 0)
        out, usual = (discs.length(x - middle[None, None]) for x in (position[:, k:], self.shell_mean[None]))
        width = jnp.concatenate([width, on_shell(rest_width) * jnp.clip(out / usual, 0.7, 2.0)], 1)
        apart = jnp.sqrt(width[..., :1] * width[..., 1:])
        scale = jnp.concatenate([width, THICKNESS * apart], -1)
        opacity = jnp.concatenate([alpha[:, :k], 1 - (1 - 0.999 * alpha[:, k:]) ** (1 / OVERLAP)], 1)
        outwards = self.facing.value[None, :, None] * frame[..., 2]
        from_middle = (position[:, k:] - middle[None, None]) / out
        inside = self.inside.value[None, :, None] * jnp.concatenate([outwards, from_middle], 1) * apart
        # The second layer: every other texel's disc once more, wider, behind the first one.
        second = self.backing.value.astype(jnp.int32)
        behind = position[:, second] - BEHIND * apart[:, second] * outwards[:, second]
        each = lambda x: jnp.concatenate([x, x[:, second]], 1)  # noqa: E731
        return Gaussians(
            mean=jnp.concatenate([position - inside, behind], 1),
            quat=each(quat),
            scale=jnp.concatenate(
                [scale * jnp.exp(self.log_scale)[None], scale[:, second] * jnp.exp(self.backing_scale)[None, None]], 1
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
        return (*ROWS, *(stylegan2.layer_names(self.config.plane_resolution) if self.config.network else ()))

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
        return self._apply("points", variables, latent.w)

    def splats(self, variables: Variables, position: Array, color: Array, alpha: Array) -> Gaussians:
        """Gaussians of given points: what a generator without faults would draw of a corpus's truth."""
        return self._apply("splats", variables, position, color, alpha)

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
