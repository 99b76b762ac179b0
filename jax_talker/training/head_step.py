"""The one step of personalising and navigating: masked cross-view supervision of a talking head (method.md 2 to 5).

A batch holds couples of successive frames. In most couples the whole face shows one frame i and the whole picture is
compared. In the last ``cross`` of them the upper face follows frame i and the lips follow frame j; the one mixed face
is rendered from both frames' cameras, camera i answers for the upper face and camera j for the lower one, so neither
branch can explain what belongs to the other.

Stages differ only in who leads (motion seen in landmarks, or sound), in whether couples are crossed and in what is
learnt (``Control``), so one compiled program serves them all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Key

from jax_talker.models import detail
from jax_talker.models.navigator import EXPRESSION_CHANNEL, Coefficients
from jax_talker.priors.base import Prior, Variables
from jax_talker.training import backgrounds, cameras
from jax_talker.training.objective import ImageLoss
from jax_talker.training.shares import WHOLE, Batch, Shares, keys_of, normal
from jax_talker.training.sound_variation import AS_IT_IS, Variation, room, varied
from jax_talker.training.state import TrainState, descend
from jax_talker.training.talking_head import Params, TalkingHead
from jax_talker.types import FrameBatch, Gaussians, Given, Latent


@dataclass(frozen=True)
class HeadWeights:
    """Weights of the loss. Lengths of latents are in units of the prior's spread, coefficients in typical walks."""

    lower: float = 3.0  # how much more a pixel of the lower face weighs than one outside the face
    upper: float = 1.0
    alpha: float = 0.2  # coverage against the head mask
    detail: float = 0.01  # models.detail.size_of: draws the residual back to the prior
    rough: float = 0.0  # models.detail.roughness of detail and blendshapes
    deformation: float = 1e-3  # squared parameters' mean of blendshapes
    anchor: float = 1e-4  # squared distance of the anchor from the prior's centre
    delta: float = 3e-2  # squared distance of the anchor's rows from one another: near W, where unseen sides are right
    camera: float = 1e-3  # training.cameras.size_of
    smooth: float = 1e-3  # squared change of coefficients between successive frames
    size: float = 1e-4  # squared coefficients
    still: float = 2e-3  # length of expression coefficients that sound led to: brows rest when it tells nothing
    rest: float = 1e-2  # squared lip coefficients of silence: a mouth that hears nothing rests
    locality: float = 0.03  # how strongly a tuned generator stays itself away from the person
    sound: Variation = AS_IT_IS
    any_background: bool = False  # whether pictures are compared on a colour of chance (training.backgrounds)


NEAR = 0.05  # typical walks; coefficients nearer than this are taken for equal


@struct.dataclass
class Control:
    """What makes a stage of the step. Traced, so that it compiles once."""

    rates: dict[str, Given]  # learning rate of each entry of Params; 0 stands still
    hear: Float[Given, ""]  # 0: motion as landmarks show it leads; 1: sound does
    crossed: Float[Given, ""]  # 0: all couples are shown whole, and what only crossing needs is drawn for nothing
    focus: Float[Given, ""]  # 0: all pixels weigh alike; 1: those of the face more (HeadWeights.lower, upper)


def make_head_step(
    head: TalkingHead,
    optimiser: optax.GradientTransformation,
    loss: ImageLoss,
    weights: HeadWeights,
    *,
    spread: float,
    cross: int,
    shares: Shares = WHOLE,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """A step on batches of rows (i, j, drawn) and common (Fixed, Control); i and j are FrameBatches [B], as
    data.batches.dataset.ClipFrames.pairs draws them, ``drawn`` is None or the generator's Gaussians [B, N] of i.

    The last 2·``cross`` frames are those of couples whose lips follow j; before them j is i. Of a batch in shares, each
    share ends with its part of them (shares.dealt). ``spread`` is the prior's unit of distance in W
    (``latent_spread``). Where Gaussians of i are given (training.drawn), seen motion leads, and neither generator nor
    anchor nor talker learns: a step of half the work.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        fixed, control = batch.common
        cross_here = cross // shares.pieces()
        sound_key, quiet_key, place_key, behind_key = jax.random.split(state.step_key(), 4)
        centre = head.prior.mean_latent(fixed.variables)

        def objective(params: Params, batch: Batch) -> tuple[Array, dict[str, Any]]:
            i, j, drawn = batch.rows
            if drawn is not None and cross:
                raise ValueError("Gaussians that are drawn already show frames as they are; none can be crossed")
            size, count, twice = i.image.shape[1], len(i.index), 2 * cross_here
            alone = count - twice  # frames that are shown whole
            views = jax.tree.map(lambda a, b: jnp.concatenate([a, b[alone:]]), i, j)
            number = jnp.arange(count + twice)
            whole = number < jnp.where(control.crossed > 0, alone, count)
            inside = [jnp.zeros_like(i.head[:alone]), i.upper[alone:], j.lower[alone:]]
            mask = jnp.where(whole[:, None, None], 1.0, jnp.concatenate(inside) * control.crossed) * views.valid
            emphasis = 1 + control.focus * (weights.lower * views.lower + weights.upper * views.upper)
            if drawn is None:
                keys = keys_of(sound_key, batch.slot)
                coefficients, quiet = _coefficients(head, params, i, j, control.hear, keys, quiet_key, weights.sound)
            else:
                seen = jax.lax.stop_gradient(head.seen(params, i.expression, i.lips))
                coefficients, quiet = seen, jnp.zeros_like(seen.lips[:1])
            label = cameras.move_labels(views.label, params["camera"])
            shown = head.show(params, fixed, coefficients, views.label, label, size, drawn=drawn, twice=twice)
            made, filmed = shown.image, views.image
            if weights.any_background:
                behind = backgrounds.colours(keys_of(behind_key, batch.slot))
                behind = jnp.concatenate([behind, behind[alone:]])
                made, filmed = backgrounds.on(behind, made, shown.alpha), backgrounds.on(behind, filmed, views.head)
            image = loss(made, filmed, mask, emphasis, fixed.perceptual)
            image *= 1 + (1 - control.crossed) * twice / count  # a mean over the views that are looked at
            off = jnp.abs(shown.alpha - views.head) * views.valid
            alpha = (off * whole[:, None, None]).mean() / jnp.maximum(whole.mean(), 1 / len(whole))
            both = jnp.concatenate(coefficients, -1) / head.talker.gain
            kept = {
                "detail": weights.detail * detail.size_of(params["detail"]),
                "anchor": weights.anchor * ((params["anchor"] - centre) ** 2).mean() / spread**2,
                # As e4e's delta regulariser (Tov et al. 2021, arXiv 2102.02766): a latent of W+ far from W fits what
                # is seen and is free to be wrong elsewhere.
                "delta": weights.delta * ((params["anchor"] - params["anchor"].mean(0)[None]) ** 2).mean() / spread**2,
                "camera": weights.camera * cameras.size_of(params["camera"]),
                "smooth": weights.smooth * ((both[0::2] - both[1::2]) ** 2).sum(-1).mean(),
                "size": weights.size * (both**2).sum(-1).mean(),
                "still": weights.still * control.hear * _distance(coefficients.expression, head),
                "rest": weights.rest * control.hear * (quiet**2).sum(-1).mean() / head.talker.gain**2,
            }
            if weights.rough:
                near = jnp.take(fixed.layout.near, state.step % detail.NEIGHBOURS, axis=1)
                kept["rough"] = weights.rough * detail.roughness(_depths(params), near)
            if "deformation" in params:
                squares = [(x**2).mean() for x in jax.tree.leaves(params["deformation"])]
                kept["deformation"] = weights.deformation * jnp.stack(squares).mean()
            if "generator" in params:
                tuned = {**fixed.variables, "params": params["generator"]}
                kept["locality"] = weights.locality * _locality(head.prior, fixed.variables, tuned, params, place_key)
            total = image + weights.alpha * alpha + jnp.stack([*kept.values()]).sum()
            mse = ((shown.image - views.image) ** 2).mean(-1) * views.valid
            answers = whole | ((number >= count) & (control.crossed > 0))  # views that answer for the lower face
            measured = {
                "image": image,
                "alpha": alpha,
                "walk": (both**2).sum(-1).mean(),
                "psnr": _masked(mse, whole[:, None, None] * views.valid),
                "psnr_lower": _masked(mse, views.lower * answers[:, None, None]),
                "overflow": shown.overflow.sum().astype(jnp.float32),
            }
            return total, measured | kept

        state, means = descend(state, optimiser, objective, batch, control.rates, shares)
        measured = {"walk": jnp.sqrt(means["walk"]), "overflow": means["overflow"] * shares.pieces()}
        measured |= {name: -10 * jnp.log10(_of_mask(means[name]) + 1e-9) for name in ("psnr", "psnr_lower")}
        return state, means | measured

    return step


def _depths(params: Params) -> Float[Array, "K M"]:
    """All that moves single Gaussians along z: their detail, and each shape of blendshapes."""
    moves = [params["detail"]["mean"][None, :, 2]]
    shapes = params.get("deformation", {}).values()
    moves += [x[..., 2] for x in shapes if getattr(x, "ndim", 0) == 3]  # a network's are not Gaussians' own
    return jnp.concatenate(moves)


def _masked(values: Float[Array, "V H W"], mask: Float[Array, "V H W"]) -> dict[str, Array]:
    """Two means over all pixels whose ratio is the mean inside the mask: of shares, means can be averaged."""
    return {"inside": (values * mask).mean(), "mask": mask.mean()}


def _of_mask(means: dict[str, Array]) -> Float[Array, ""]:
    return means["inside"] / jnp.maximum(means["mask"], 1e-9)


def _coefficients(
    head: TalkingHead,
    params: Params,
    i: FrameBatch,
    j: FrameBatch,
    hear: Array,
    keys: Key[Array, "B"],
    quiet_key: Key[Array, ""],
    how: Variation,
) -> tuple[Coefficients, Array]:
    """What leads the batch, and the lip coefficients of silence and of a room's noise.

    ``keys`` are the frames' own; all shares of a batch hear the same silence (``quiet_key``).
    """
    sound_keys, noise_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    room_key, quiet_noise_key = jax.random.split(quiet_key)
    silence = jnp.zeros_like(i.audio[:1])
    if how.in_rooms:
        silence = jnp.concatenate([silence, room(room_key[None], silence.shape[1:], how)])
    lip_audio = jnp.concatenate([varied(j.audio, sound_keys, how), silence])
    expression_audio = jnp.concatenate([varied(i.audio, sound_keys, how), silence])
    blink = jnp.concatenate([i.blink, jnp.zeros(len(silence))])
    quiet_noise = jax.random.normal(quiet_noise_key, (len(silence), EXPRESSION_CHANNEL))
    noise = jnp.concatenate([normal(noise_keys, EXPRESSION_CHANNEL), quiet_noise])
    heard = head.heard(params, expression_audio, blink, lip_audio, noise)
    seen = head.seen(params, i.expression, j.lips)
    count = len(i.index)
    led = [hear * h[:count] + (1 - hear) * s for h, s in zip(heard, seen, strict=True)]
    return Coefficients(*led), heard.lips[count:]


def make_hearing_step(
    head: TalkingHead, optimiser: optax.GradientTransformation, how: Variation, shares: Shares = WHOLE
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """A step on batches of rows frames and common rate that regresses what is heard on what is seen; nothing is
    rendered.

    The state's params are those of the talker; only its adapter and its encoders have a gradient.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        sound_key, quiet_key = jax.random.split(state.step_key())

        def objective(talker: Any, batch: Batch) -> tuple[Array, dict[str, Array]]:
            params, frames = {"talker": talker}, batch.rows
            keys = keys_of(sound_key, batch.slot)
            heard, quiet = _coefficients(head, params, frames, frames, jnp.ones(()), keys, quiet_key, how)
            seen = jax.lax.stop_gradient(head.seen(params, frames.expression, frames.lips))
            lips = ((heard.lips - seen.lips) ** 2).sum(-1).mean() / head.talker.gain**2
            # Distances, not squares, and half as strongly to rest: brows that sound does not tell of then stay where
            # they mostly are instead of half raised.
            expression = _distance(heard.expression - seen.expression, head) + 0.5 * _distance(heard.expression, head)
            away = (quiet**2).sum(-1).mean() / head.talker.gain**2
            measured = {"expression": expression, "lips": lips, "rest": away}
            return expression + lips + 0.1 * away, measured

        return descend(state, optimiser, objective, batch, batch.common, shares)

    return step


def _distance(coefficients: Float[Array, "B K"], head: TalkingHead) -> Float[Array, ""]:
    """Mean length, in typical walks."""
    return jnp.sqrt((coefficients**2).sum(-1) / head.talker.gain**2 + NEAR**2).mean()


def latent_spread(prior: Prior, variables: Variables, key: Array, samples: int = 256) -> Float[Array, ""]:
    """Root mean square of w − w_avg over random latents: the prior's unit of distance in W."""
    z = jax.random.normal(key, (samples, prior.z_dim))
    w = prior.mapping(variables, z, jnp.zeros((samples, 25))).w
    return jnp.sqrt(((w - prior.mean_latent(variables)[None]) ** 2).mean())


def _locality(prior: Prior, original: Variables, tuned: Variables, params: Params, key: Key[Array, ""]) -> Array:
    """How differently the tuned generator draws latents between the person and strangers (PTI, arXiv 2106.05744)."""
    z_key, t_key = jax.random.split(key)
    elsewhere = prior.mapping(original, jax.random.normal(z_key, (2, prior.z_dim)), jnp.zeros((2, 25))).w
    t = jax.random.uniform(t_key, (2, 1, 1), minval=0.3, maxval=1.0)
    anchor = jax.lax.stop_gradient(params["anchor"])[None]
    between = Latent(anchor + t * (elsewhere - anchor))
    return attribute_distance(prior.gaussians(tuned, between), prior.gaussians(original, between))


def attribute_distance(a: Gaussians, b: Gaussians) -> Float[Array, ""]:
    """How differently two sets of the same Gaussians look, without rendering them: each attribute in its own unit."""
    mean = (((a.mean - b.mean) / 0.02) ** 2).mean()  # 0.02 units: 7 mm
    scale = (jnp.log(a.scale / b.scale) ** 2).mean()
    turn = 1 - ((a.quat * b.quat).sum(-1) ** 2 / ((a.quat**2).sum(-1) * (b.quat**2).sum(-1))).mean()
    opacity = ((a.opacity - b.opacity) ** 2).mean() / 0.25**2
    rgb = 0.0 if a.rgb is None or b.rgb is None else ((a.rgb - b.rgb) ** 2).mean() / 0.25**2
    return mean + scale + turn + opacity + rgb
