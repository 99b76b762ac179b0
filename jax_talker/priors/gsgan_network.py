"""GSGAN's networks in Linen: the mapping, a hierarchy of foreground points, and a sphere of background points.

Section numbers are those of gsgan_spec. Arrays are [B, N, C]; level l has num_pts · up_ratio^l points.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import jax_talker.priors.anchors as anchors
import jax_talker.priors.layers as layers
import jax_talker.priors.points as points
from jax_talker.priors.anchors import SIZES, Splats
from jax_talker.priors.gsgan_config import BACKGROUND_RATIO, GSGANConfig, Level
from jax_talker.priors.initial import constant, normal
from jax_talker.priors.layers import Linear, Numerics, lrelu

DIRECTION_WIDTH = 32
BACKGROUND_RADIUS = 3.0
BACKGROUND_SPLIT_ABOVE = 0.05
BACKGROUND_LOG_RATIO = math.log(BACKGROUND_RATIO ** (1 / 3))
MODULATED_CLAMP = 256.0
FOREGROUND_SPREAD = {"xyz": 1.0, "scale": 0.1, "rotation": 0.1, "color": 1.0, "opacity": 1.0}  # initial deviations
BACKGROUND_SPREAD = {"xyz": 1.0, "scale": 0.01, "rotation": 0.01, "color": 1.0, "opacity": 1.0}
RECORD = "intermediates"  # collection of intermediate values under the original's names, when it is asked for
FINE_ROWS = 2048  # parents of a fine level that are worked on at once
HEAD_WIDTH = sum(SIZES.values())


class AdaNorm(nn.Module):
    """Instance norm, then scale and shift from a style."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "B N C"], w: Float[Array, "B D"]) -> Float[Array, "B N C"]:
        gamma = layers.Dense(self.features, bias_init=1.0, name="gamma")(w)
        beta = layers.Dense(self.features, name="beta")(w)
        return points.instance_norm(x) * gamma[:, None] + beta[:, None]


class Gate(nn.Module):
    """A factor for each channel from a style; zero at the start, so that a new branch changes nothing."""

    features: int

    @nn.compact
    def __call__(self, w: Float[Array, "B D"]) -> Float[Array, "B 1 C"]:
        return layers.Dense(self.features, weight_scale=0.0, name="fc")(w)[:, None]


class Transformer(nn.Module):
    """Section 6: pre-norm attention and MLP layers over the coarsest points; two style rows each."""

    features: int
    depth: int
    numerics: Numerics

    @nn.compact
    def __call__(self, x: Float[Array, "B N C"], ws: Float[Array, "B L D"]) -> Float[Array, "B N C"]:
        c = self.features
        for i in range(self.depth):
            w0, w1 = ws[:, 2 * i], ws[:, 2 * i + 1]
            qkv = Linear(c, 3 * c, name=f"layer{i}_qkv")()
            out = Linear(c, c, name=f"layer{i}_out")()
            n = AdaNorm(c, name=f"layer{i}_norm1")(x, w0)
            mixed = points.attention(n, qkv, out, self.numerics)
            self.sow(RECORD, f"resblock_{i}/ln_1", n)
            self.sow(RECORD, f"resblock_{i}/attn", mixed)
            x = x + mixed * Gate(c, name=f"layer{i}_gate1")(w0)
            n = AdaNorm(c, name=f"layer{i}_norm2")(x, w1)
            widen, narrow = Linear(c, 4 * c, name=f"layer{i}_widen")(), Linear(4 * c, c, name=f"layer{i}_narrow")()
            changed = points.mlp(n, widen, narrow, self.numerics)
            self.sow(RECORD, f"resblock_{i}/ln_2", n)
            self.sow(RECORD, f"resblock_{i}/mlp", changed)
            x = x + changed * Gate(c, name=f"layer{i}_gate2")(w1)
            self.sow(RECORD, f"resblock_{i}", x)
        return x


class PointBlock(nn.Module):
    """Sections 7 and 8: attention over neighbours, upsampling, MLP; then the level's heads.

    Styled blocks look at the nearest neighbours in feature space. The others look at their siblings only, so that every
    four parents and their children are a computation of their own: it is done for a slice of them at a time and the
    features of the finest level never exist as a whole.
    """

    level: Level
    ratio: int
    numerics: Numerics

    @nn.compact
    def __call__(self, x, styles, heads):
        """Features [B, N, I], styles (w0, w1) or None, heads: features → outputs. Features [B, rN, O] and outputs."""
        c, features = self.level.inputs, self.level.features
        logits = Linear(c, c // 2, name="logits0")(), Linear(c // 2, c, name="logits1")()
        values = Linear(2 * c, c, name="values0")(), Linear(c, c, name="values1")()
        spread = Linear(c, self.ratio * features, name="up")()
        skip = Linear(c, features, name="up_skip")() if c != features else None
        widen, narrow = Linear(features, 4 * features, name="widen")(), Linear(4 * features, features, name="narrow")()
        edge = partial(points.edge_attention, logits=logits, values=values, numerics=self.numerics)
        grow = partial(points.upsample, spread=spread, skip=skip, ratio=self.ratio, numerics=self.numerics)
        mix = partial(points.mlp, widen=widen, narrow=narrow, numerics=self.numerics)
        if self.level.styled:
            w0, w1 = styles
            n = AdaNorm(c, name="norm0")(x, w0)
            found = jax.vmap(points.nearest)(jax.lax.stop_gradient(n))
            self.sow(RECORD, "knn_idx", found)
            near = jax.vmap(lambda features, index: features[index])
            attended = x + edge(n, lambda features: near(features, found)) * Gate(c, name="gate0")(w0)
            grown = grow(attended)
            mixed = grown + mix(AdaNorm(features, name="norm1")(grown, w1)) * Gate(features, name="gate1")(w1)
            self._record(attended, grown, mixed)
            return mixed, heads(mixed)

        gate0 = self.param("gate0", constant(0.0), (c,))[None]
        gate1 = self.param("gate1", constant(0.0), (features,))[None]

        def family(parents: Float[Array, "n I"]):
            attended = parents + edge(parents, points.siblings) * gate0
            grown = grow(attended)
            return attended, grown, grown + mix(grown) * gate1

        def outputs(parents: Float[Array, "n I"]):
            *_, children = family(parents)
            return (None if self.level.last else children), heads(children)

        batch, count, _ = x.shape
        flat = x.reshape(batch * count, c)
        if self.is_mutable_collection(RECORD):
            self._record(*(a.reshape(batch, -1, a.shape[-1]) for a in family(flat)))
        out = map_rows(outputs, flat, FINE_ROWS)
        return jax.tree.map(lambda a: a.reshape(batch, self.ratio * count, a.shape[-1]), out)

    def _record(self, attended, grown, mixed):
        self.sow(RECORD, "attn", attended)
        self.sow(RECORD, "upsample", grown)
        self.sow(RECORD, "mlp", mixed)


def map_rows(function, x: Float[Array, "n C"], rows: int):
    """``function`` on ``rows`` rows at a time; its outputs joined along the first axis.

    The backward pass keeps the products and recomputes what is cheap between them.
    """
    function = jax.checkpoint(function, policy=jax.checkpoint_policies.dots_saveable)
    whole = x.shape[0] // rows
    if whole == 0:
        return function(x)
    parts = [jax.lax.map(function, x[: whole * rows].reshape(whole, rows, -1))]
    parts[0] = jax.tree.map(lambda a: a.reshape(-1, a.shape[-1]), parts[0])
    if whole * rows < x.shape[0]:
        parts.append(function(x[whole * rows :]))
    return jax.tree.map(lambda *a: jnp.concatenate(a), *parts)


class Heads(nn.Module):
    """The weights of a level's linear heads side by side: anchors (not for the last level) and outputs.

    Colours of outputs also see an embedding of the viewing direction, which adds the same amount to every point.
    """

    features: int
    anchors: bool

    @nn.compact
    def __call__(self, embedding: Float[Array, "B E"] | None):
        """(kernel [C, H], bias [H], what the viewing direction adds to the colours [B, 3] or None)"""
        kernels, biases, from_view = [], [], None
        for kind in ("anchor", "output") if self.anchors else ("output",):
            for name, size in SIZES.items():
                viewed = embedding is not None and (kind, name) == ("output", "color")
                inputs = self.features + DIRECTION_WIDTH * viewed
                kernel, bias = Linear(inputs, size, weight_scale=FOREGROUND_SPREAD[name], name=f"{kind}_{name}")()
                if viewed and embedding is not None:
                    from_view = jnp.matmul(embedding, kernel[self.features :], precision="highest")
                kernels.append(kernel[: self.features])
                biases.append(bias)
        return jnp.concatenate(kernels, 1), jnp.concatenate(biases), from_view


class PointEncoding(nn.Module):
    """Section 5: features of the coarsest points from their learned coordinates.

    The original reads its table along an axis of length 1; what remains of it are two columns, faded by |p|.
    """

    features: int
    encode: bool

    @nn.compact
    def __call__(self, p: Float[Array, "N 3"]) -> Float[Array, "N C"]:
        if not self.encode:
            return layers.Dense(self.features, name="linear")(p)
        half = self.features // 2
        waves = Sine(half, name="sine")(p)
        table = self.param("table", normal(1.0), (3, half, 2))
        fade = jnp.maximum(0, 1 - jnp.abs(p) / 2)
        read = jnp.matmul(fade, jnp.mean(table, -1), precision="highest") / math.sqrt(3)
        return jnp.concatenate([waves, read], -1)


class Sine(nn.Module):
    """sin(A p + b), a plain dense layer."""

    features: int

    @nn.compact
    def __call__(self, p: Float[Array, "N 3"]) -> Float[Array, "N C"]:
        kernel = self.param("kernel", normal(math.sqrt(3), uniform=True), (3, self.features))
        bias = self.param("bias", normal(1 / math.sqrt(3), uniform=True), (self.features,))
        return jnp.sin(jnp.matmul(p, kernel, precision="highest") + bias[None])


class Foreground(nn.Module):
    """Sections 5 to 9: Gaussians of all levels, and the anchors of all levels but the last."""

    config: GSGANConfig
    numerics: Numerics

    @nn.compact
    def __call__(self, ws: Float[Array, "B L D"], direction: Float[Array, "B 3"]) -> tuple[Splats, Splats]:
        c = self.config
        embedding = layers.Dense(DIRECTION_WIDTH, lrelu, name="direction")(direction) if c.use_dir_cond else None
        seeds = self.param("seeds", normal(1.0), (c.num_pts, 3))
        x = PointEncoding(c.channels[0], c.use_start_pe, name="encoding")(jnp.tanh(seeds))
        self.sow(RECORD, "conv_in", x)
        self.sow(RECORD, "encoder_camera_cond", embedding)
        x = jnp.broadcast_to(x[None], (ws.shape[0], *x.shape))
        outputs: list[Splats] = []
        kept: list[Splats] = []
        for i, level in enumerate(c.levels):
            heads = Heads(level.features, not level.last, name=f"{level.name}_heads")
            kernel, bias, from_view = heads(embedding)
            read = partial(points.affine, weights=(kernel, bias), numerics=self.numerics)
            if i == 0:
                x = Transformer(level.features, c.transformer_layers, self.numerics, name=level.name)(x, ws)
                values = read(x)
            else:
                row = 2 * (c.transformer_layers + i - 1)
                styles = (ws[:, row], ws[:, row + 1]) if level.styled else None
                x, values = PointBlock(level, c.up_ratio, self.numerics, name=level.name)(x, styles, read)
            output = anchors.split(values[..., -HEAD_WIDTH:])
            if from_view is not None:
                output = dataclasses.replace(output, color=output.color + from_view[:, None])
            anchor = anchors.split(values[..., :HEAD_WIDTH])  # of the last level: its outputs, not used
            if kept:
                place = partial(
                    anchors.child,
                    anchors.repeat(kept[-1], c.up_ratio),
                    split_above=c.split_above,
                    log_ratio=c.log_split_ratio,
                    smallest=-8.0,
                )
                outputs.append(place(output))
                kept += [] if level.last else [place(anchor)]
            else:
                kept.append(self._first(anchor, jnp.tanh(c.xyz_output_scale * anchor.xyz)))
                outputs.append(self._first(output, anchors.inside(kept[0], output.xyz)))
        found = anchors.concatenate(outputs)
        return dataclasses.replace(found, xyz=jnp.clip(found.xyz, -1, 1)), anchors.concatenate(kept)

    def _first(self, h: Splats, xyz: Float[Array, "B N 3"]) -> Splats:
        return anchors.first(h, xyz, self.config.scale_init, self.config.scale_threshold)


class Modulated(nn.Module):
    """Section 2, ModFC: a dense layer whose inputs a style scales, optionally demodulated and residual."""

    features: int
    numerics: Numerics
    activation: Callable | None = None
    demodulate: bool = False
    residual: bool = False
    spread: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "B N I"], w: Float[Array, "B D"]) -> Float[Array, "B N O"]:
        inputs = x.shape[-1]
        kernel = self.param("kernel", normal(self.spread), (inputs, self.features))
        bias = self.param("bias", constant(0.0), (self.features,))[None, None]
        style = layers.Dense(inputs, bias_init=1.0, name="affine")(w)
        if not self.demodulate:
            style = style / math.sqrt(inputs)
        y = self.numerics.dot(x * style[:, None], kernel)
        if self.demodulate:
            energy = jnp.matmul(jnp.square(style), jnp.square(kernel), precision="highest")
            y = y * jax.lax.rsqrt(energy + layers.NORM_EPSILON)[:, None]
        y = y + bias
        y = jnp.clip(self.activation(y) if self.activation else y, -MODULATED_CLAMP, MODULATED_CLAMP)
        if self.residual:
            y = y * self.param("layerscale", constant(0.01), (self.features,))[None, None] + x
        return y


class Background(nn.Module):
    """Section 10: Gaussians on a sphere around the scene, some points and their four children each."""

    config: GSGANConfig
    numerics: Numerics

    @nn.compact
    def __call__(self, w: Float[Array, "B D"]) -> Splats:
        c, width = self.config, self.config.background_width
        seeds = self.param("seeds", normal(1.0), (c.background_points, 3))
        x = Sine(width, name="sine")(seeds)
        self.sow(RECORD, "conv_in", x)
        x = jnp.broadcast_to(x[None], (w.shape[0], *x.shape))
        x = self._mix(x, w, "coarse", "block_0/", 0)
        h = self._heads(x, w, "coarse", without=("xyz",))
        place = jnp.broadcast_to(on_sphere(seeds)[None], h.xyz.shape)
        parents = anchors.first(h, place, c.scale_init_bg, c.scale_threshold_bg)

        grown = Modulated(BACKGROUND_RATIO * width, self.numerics, lrelu, demodulate=True, name="fine_up")(x, w)
        grown = grown.reshape(*x.shape[:2], BACKGROUND_RATIO, width)
        x = ((x[:, :, None] + grown) / math.sqrt(2)).reshape(w.shape[0], -1, width)
        self.sow(RECORD, "block_1/0", x)
        x = self._mix(x, w, "fine", "block_1/", 1)
        children = anchors.child(
            anchors.repeat(parents, BACKGROUND_RATIO),
            self._heads(x, w, "fine"),
            split_above=BACKGROUND_SPLIT_ABOVE,
            log_ratio=BACKGROUND_LOG_RATIO,
            smallest=-10.0,
        )
        children = dataclasses.replace(children, xyz=on_sphere(children.xyz))
        found = anchors.concatenate([parents, children])
        return dataclasses.replace(found, xyz=on_sphere(found.xyz))

    def _mix(self, x, w, name: str, record: str, start: int):
        for i in range(2):
            layer = Modulated(x.shape[-1], self.numerics, lrelu, demodulate=True, residual=True, name=f"{name}_mix{i}")
            x = layer(x, w)
            self.sow(RECORD, f"{record}{start + i}", x)
        return x

    def _heads(self, x, w, name: str, without: tuple[str, ...] = ()) -> Splats:
        found = {}
        for head, size in SIZES.items():
            layer = Modulated(size, self.numerics, spread=BACKGROUND_SPREAD[head], name=f"{name}_{head}")
            found[head] = jnp.zeros((*x.shape[:2], size)) if head in without else layer(x, w)
        return Splats(**found)


def on_sphere(p: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """The point of the background sphere in the direction of p."""
    return BACKGROUND_RADIUS * p / jnp.maximum(jnp.linalg.norm(p, axis=-1, keepdims=True), 1e-12)
