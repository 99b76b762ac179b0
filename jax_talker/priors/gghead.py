"""GGHead (Kirschstein et al., SIGGRAPH Asia 2024, arXiv:2406.09377): a StyleGAN2 that draws Gaussians in texture space.

z, label → w → image of raw attributes → one Gaussian for each fixed texture point, around a template head. The bundled
small prior is the same code at small size.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import jax_talker.priors.attributes as attributes
import jax_talker.priors.initial as initial
import jax_talker.priors.layers as layers
import jax_talker.priors.options as options
import jax_talker.priors.sh as sh
import jax_talker.priors.stylegan2 as stylegan2
import jax_talker.priors.template as templates
from jax_talker.errors import UserError
from jax_talker.geometry import split_label
from jax_talker.priors.base import Variables
from jax_talker.priors.cameras import invert_affine
from jax_talker.priors.initial import constant
from jax_talker.types import Camera, Gaussians, Latent

ATTRIBUTES = ("position", "scale", "rotation", "color", "opacity")
FRONT = (0.0, 0.0, 2.7)  # camera centre from which talking heads' colours are evaluated once (frontal EG3D camera)
W_AVG_DECAY = 0.998
RANGES = {
    **dict.fromkeys(("z_dim", "w_dim", "channel_max", "uv_samples"), (1, 1 << 16)),
    "c_dim": (0, 1 << 16),
    "mapping_layers": (1, 64),
    "plane_resolution": (4, 1 << 13),
    "channel_base": (1, 1 << 24),
    "num_gaussians": (1, 1 << 24),
    **dict.fromkeys(("max_scale", "scale_offset"), (-100, 100)),  # logarithms
}


@dataclass(frozen=True)
class GGHeadConfig:
    """Every option of the generator; the defaults are those of the published FFHQ-512 model."""

    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 25  # width of the conditioning label; 0 makes an unconditional generator
    mapping_layers: int = 2
    c_scale: float = 1.0
    c_gen_conditioning_zero: bool = False  # the mapping network sees zeros instead of the label
    plane_resolution: int = 256  # R, a power of two
    pretrained_plane_resolution: int | None = None  # of a generator grown after pre-training: counts one unused W+ row
    channel_base: int = 32768  # features at resolution r: min(channel_base / r, channel_max)
    channel_max: int = 512
    conv_clamp: float | None = None
    attributes: tuple[str, ...] = ATTRIBUTES  # order of the image's channels
    use_rodriguez_rotation: bool = True  # axis-angle (3 channels); otherwise quaternions (4)
    sh_degree: int = 1
    uv_samples: int = 512  # N: texture points are chosen from an N × N grid
    num_gaussians: int = 235_232  # G: how many of them lie on the template
    use_align_corners: bool = False
    use_flame_to_bfm_registration: bool = True  # the template mesh is in FLAME's space
    use_zero_conv_position: bool = True
    position_range: float = 0.25
    position_attenuation: float = 1.0
    rotation_attenuation: float = 1.0
    max_scale: float = -3.0
    scale_offset: float = -5.0
    center_scale_activation: bool = True
    color_overshoot: float = 0.001
    opacity_overshoot: float = 0.001
    clamp_opacity: bool = False
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self):
        options.check_ranges(self, RANGES)
        resolution = self.plane_resolution
        if resolution < 8 or resolution & (resolution - 1):
            raise UserError(f"plane_resolution must be a power of two from 8 on, got {resolution}")
        if sorted(self.attributes) != sorted(ATTRIBUTES):
            raise UserError(f"attributes must be {', '.join(ATTRIBUTES)} in some order, got {self.attributes}")
        if self.sh_degree not in range(4):
            raise UserError(f"sh_degree must be 0, 1, 2 or 3, got {self.sh_degree}")
        if self.channel_base < resolution:
            raise UserError(f"channel_base {self.channel_base} leaves no features at plane_resolution {resolution}")

    @classmethod
    def for_template(cls, template: templates.Template, **chosen: Any) -> "GGHeadConfig":
        """A configuration for these points: R and G are the template's."""
        chosen |= {"num_gaussians": len(template.uv), "plane_resolution": len(template.valid)}
        return cls(**chosen)

    @classmethod
    def from_json(cls, stored: MappingType[str, Any]) -> "GGHeadConfig":
        """Inverse of :meth:`to_json`; unknown names are refused."""
        return options.from_json(cls, stored)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return options.to_json(self)

    @property
    def channels(self) -> dict[str, slice]:
        """Where each attribute lies in the image."""
        sizes = {
            "position": 3,
            "scale": 3,
            "rotation": 3 if self.use_rodriguez_rotation else 4,
            "color": 3 * (self.sh_degree + 1) ** 2,
            "opacity": 1,
        }
        start, where = 0, {}
        for name in self.attributes:
            where[name] = slice(start, start + sizes[name])
            start += sizes[name]
        return where

    @property
    def num_channels(self) -> int:
        return max(where.stop for where in self.channels.values())


class GGHeadNetwork(nn.Module):
    """The learned part: mapping, synthesis and the convolution on the position channels."""

    config: GGHeadConfig
    compute: str

    def setup(self):
        c = self.config
        self.mapping_net = layers.Mapping(
            c.w_dim, c.mapping_layers, c.c_scale, c.c_gen_conditioning_zero, name="mapping"
        )
        self.synthesis_net = stylegan2.Synthesis(
            c.plane_resolution,
            c.num_channels,
            c.channel_base,
            c.channel_max,
            layers.Numerics.named(self.compute),
            c.conv_clamp,
            name="synthesis",
        )
        zeros = functools.partial(constant(0.0), None)  # needs no key
        self.w_avg = self.variable("buffers", "w_avg", zeros, (c.w_dim,))
        self.uv = self.variable("buffers", "uv", zeros, (c.num_gaussians, 2))
        self.base_position = self.variable("buffers", "base_position", zeros, (c.num_gaussians, 3))
        if c.use_zero_conv_position:
            self.position_kernel = self.param("zero_conv_position_kernel", constant(0.0), (3, 3))
            self.position_bias = self.param("zero_conv_position_bias", constant(0.0), (3,))

    def __call__(self, z, label):
        w = self.mapping(z, label, 1.0, None)
        return self.raw(w, "const", None)

    def mapping(self, z, label, psi, cutoff):
        c = self.config
        w = self.mapping_net(z, label[:, : c.c_dim])
        return layers.broadcast_and_truncate(w, self.w_avg.value, _num_ws(c), psi, cutoff)

    def planes(self, ws, noise, key):
        return self.synthesis_net(ws, noise, key)

    def raw(self, ws, noise, key):
        image = self.moved(ws, noise, key)
        return attributes.sample_plane(image, self.uv.value, align_corners=self.config.use_align_corners)

    def moved(self, ws, noise, key):
        image, _ = self.synthesis_net(ws, noise, key)
        if not self.config.use_zero_conv_position:
            return image
        where = self.config.channels["position"]
        moved = jnp.matmul(image[..., where], self.position_kernel, precision="highest")
        return image.at[..., where].set(moved + self.position_bias[None, None, None])


@dataclass(frozen=True)
class GGHead:
    """A GGHead generator without its arrays; see :class:`jax_talker.priors.base.Prior` for the interface."""

    config: GGHeadConfig = field(default_factory=GGHeadConfig)
    compute: str = "float32"  # layers.COMPUTE

    kind: ClassVar[str] = "gghead"

    def __post_init__(self):
        layers.Numerics.named(self.compute)

    # -- sizes -------------------------------------------------------------------------------------------------------

    @property
    def num_ws(self) -> int:
        return _num_ws(self.config)

    @property
    def w_dim(self) -> int:
        return self.config.w_dim

    @property
    def z_dim(self) -> int:
        return self.config.z_dim

    @property
    def num_gaussians(self) -> int:
        return self.config.num_gaussians

    @property
    def background(self) -> tuple[float, float, float]:
        return self.config.background

    @property
    def layer_names(self) -> tuple[str, ...]:
        """As the original names them; a row also feeds the next block's conv0 when it feeds a torgb."""
        names = stylegan2.layer_names(self.config.plane_resolution)
        return (*names, *["unused"] * (self.num_ws - len(names)))

    # -- variables ---------------------------------------------------------------------------------------------------

    def init(self, key: Key[Array, ""], template: templates.Template | None = None) -> Variables:
        """StyleGAN2's initialisation around ``template`` (None: the built-in ellipsoid patch, unregistered)."""
        c = self.config
        if template is None:
            template = templates.bake(
                templates.ellipsoid(),
                plane_resolution=c.plane_resolution,
                uv_samples=c.uv_samples,
                register=False,
                align_corners=c.use_align_corners,
            )
        if len(template.uv) != c.num_gaussians:
            raise UserError(
                f"the template gives {len(template.uv)} Gaussians, the configuration says {c.num_gaussians}; "
                "make it with GGHeadConfig.for_template(template, …)"
            )
        variables = initial.draw(self._init, key)
        points = {"uv": jnp.asarray(template.uv), "base_position": jnp.asarray(template.base_position)}
        return {"params": variables["params"], "buffers": {**variables["buffers"], **points}}

    def shapes(self) -> Variables:
        """Shape and dtype of every variable, from the configuration alone."""
        return initial.shapes(self._init)

    def _init(self, key):
        c = self.config
        return GGHeadNetwork(c, self.compute).init(key, jnp.zeros((1, c.z_dim)), jnp.zeros((1, c.c_dim)))

    def update_w_avg(self, variables: Variables, w: Float[Array, "B D"]) -> Variables:
        """Training: move the mean latent towards the batch mean of untruncated w (decay 0.998)."""
        old = variables["buffers"]["w_avg"]
        mean = jnp.mean(w, 0)
        return {**variables, "buffers": {**variables["buffers"], "w_avg": mean + W_AVG_DECAY * (old - mean)}}

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

    def planes(
        self, variables: Variables, latent: Latent, *, noise: str = "const", key: Key[Array, ""] | None = None
    ) -> Float[Array, "B R R C"]:
        """The image of raw attributes in texture space, before the convolution on its position channels."""
        return self._apply("planes", variables, latent.w, noise, key)[0]

    def planes_moved(self, variables: Variables, latent: Latent) -> Float[Array, "B R R C"]:
        """The image after the convolution on its position channels: what the texture points read."""
        return self._apply("moved", variables, latent.w, "const", None)

    def blocks(self, variables: Variables, latent: Latent) -> list[tuple[Array, Array]]:
        """(features, image) after each resolution, for comparison with other programs."""
        return self._apply("planes", variables, latent.w, "const", None)[1]

    def raw(
        self, variables: Variables, latent: Latent, *, noise: str = "const", key: Key[Array, ""] | None = None
    ) -> dict[str, Float[Array, "B G _"]]:
        """Attributes of each Gaussian before activation: what the regularisers of training look at."""
        values = self._apply("raw", variables, latent.w, noise, key)
        return {name: values[..., where] for name, where in self.config.channels.items()}

    def attributes(self, variables: Variables, raw: MappingType[str, Array]) -> dict[str, Array]:
        """Raw → position, scale (log σ), rotation (wxyz), color (SH [B, G, K, 3]), opacity (logit), as the original."""
        c = self.config
        base = variables["buffers"]["base_position"][None]
        if c.use_rodriguez_rotation:
            quat = attributes.rotation_from_axis_angle(raw["rotation"], c.rotation_attenuation)
        else:
            quat = attributes.rotation_from_quaternion(raw["rotation"])
        scale = attributes.log_scale(raw["scale"], c.scale_offset, c.max_scale, center=c.center_scale_activation)
        return {
            "position": base + attributes.position_offset(raw["position"], c.position_range, c.position_attenuation),
            "scale": scale,
            "rotation": quat,
            "color": attributes.spherical_harmonics(raw["color"], c.color_overshoot),
            "opacity": raw["opacity"],
        }

    def activate(self, variables: Variables, raw: MappingType[str, Array]) -> Gaussians:
        """Raw attributes → Gaussians with ``sh``."""
        c = self.config
        got = self.attributes(variables, raw)
        return Gaussians(
            mean=got["position"],
            quat=got["rotation"],
            scale=jnp.exp(got["scale"]),
            opacity=attributes.opacity(got["opacity"][..., 0], c.opacity_overshoot, clip=c.clamp_opacity),
            sh=got["color"],
        )

    def gaussians(
        self, variables: Variables, latent: Latent, *, noise: str = "const", key: Key[Array, ""] | None = None
    ) -> Gaussians:
        """W+ → Gaussians with ``rgb`` as the frontal camera sees them, whatever camera renders them later."""
        seen = self.activate(variables, self.raw(variables, latent, noise=noise, key=key))
        away = seen.mean - jnp.asarray(FRONT)[None, None]
        direction = away / jnp.linalg.norm(away, axis=-1, keepdims=True)
        return dataclasses.replace(seen, sh=None, rgb=sh.colour(jnp.asarray(seen.sh), direction))

    def gaussians_for_view(self, variables: Variables, latent: Latent, label: Float[Array, "B 25"]) -> Gaussians:
        """W+ → Gaussians with ``sh``; the rasteriser evaluates them for its camera, the label is not needed."""
        del label
        return self.activate(variables, self.raw(variables, latent))

    def camera(self, label: Float[Array, "*b 25"], size: int) -> Camera:
        """The label's camera for ``size`` × ``size`` pixels; GGHead renders EG3D labels as they are."""
        world_from_cam, intrinsics = split_label(label)
        fx, fy = intrinsics[..., 0, 0] * size, intrinsics[..., 1, 1] * size
        cx, cy = intrinsics[..., 0, 2] * size, intrinsics[..., 1, 2] * size
        zero, one = jnp.zeros_like(fx), jnp.ones_like(fx)
        rows = [[fx, zero, cx], [zero, fy, cy], [zero, zero, one]]
        pixels = jnp.stack([jnp.stack(row, -1) for row in rows], -2)
        return Camera(cam_from_world=invert_affine(world_from_cam), intrinsics=pixels)

    def _apply(self, method: str, variables: Variables, *args) -> Any:
        network = GGHeadNetwork(self.config, self.compute)
        return network.apply(variables, *args, method=method)


def make_gghead(config: GGHeadConfig, *, compute: str = "float32") -> GGHead:
    """The generator of a configuration; ``compute`` is float32 (exact), tf32 or bfloat16."""
    return GGHead(config, compute)


def _num_ws(config: GGHeadConfig) -> int:
    """One row for each convolution, one for the last torgb, and one that nothing reads in generators grown later."""
    rows = 2 * int(math.log2(config.plane_resolution)) - 2
    grown = (config.pretrained_plane_resolution or config.plane_resolution) < config.plane_resolution
    return rows + grown
