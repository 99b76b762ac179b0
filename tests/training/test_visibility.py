"""Who is seen and whose part of the face it is, on a hand-made scene."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.models import detail
from jax_talker.rendering import FASTEST, Rasteriser
from jax_talker.training import visibility
from jax_talker.types import Gaussians, Latent

BELOW, ABOVE, WALL, BEHIND, OUTSIDE = range(5)


def scene():
    """Five Gaussians before, behind and beside three opaque walls."""
    walls = [[0, 0, -0.02 * k] for k in range(3)]
    mean = jnp.array([[0, -0.12, 0.2], [0, 0.12, 0.2], walls[0], [0, 0, -0.3], [3.0, 0, 0], walls[1], walls[2]])
    small, wide = [0.02] * 3, [0.6, 0.6, 0.01]
    scale = jnp.array([small, small, wide, [0.05] * 3, [0.05] * 3, wide, wide])
    quat = jnp.zeros((7, 4)).at[:, 0].set(1)
    return Gaussians(mean[None], quat[None], scale[None], jnp.full((1, 7), 0.999), rgb=jnp.ones((1, 7, 3)))


def weights(small_prior, frames, rasteriser=FASTEST):
    return np.asarray(sum(visibility._weights(small_prior[0], scene(), f, rasteriser)[0] for f in frames))


def halves(frames):
    """Frames whose upper half is the upper face."""
    top = jnp.zeros_like(frames.upper).at[:, : frames.upper.shape[1] // 2].set(1)
    return replace(frames, upper=top, lower=1 - top)


def test_blending_weights_say_who_is_seen_and_where(small_prior, make_frames):
    found = weights(small_prior, [halves(make_frames([0, 1]))])
    seen = found[:, 0]
    assert seen[[BELOW, ABOVE, WALL]].min() > 1
    assert seen[[BEHIND, OUTSIDE]].max() < 1e-3
    upper, lower = (found[:, k] / np.maximum(seen, 1e-6) for k in (1, 2))
    assert lower[BELOW] > 0.9 > 0.1 > upper[BELOW]
    assert upper[ABOVE] > 0.9 > 0.1 > lower[ABOVE]


def test_only_those_inside_the_head_take_on_its_colours(small_prior, make_frames):
    """A head whose edge lies across one of them, and a Gaussian that the head's mask leaves out."""
    frames = make_frames([0, 1])
    size = frames.head.shape[1]
    head = jnp.zeros_like(frames.head).at[:, size // 2 :].set(1)
    found = weights(small_prior, [replace(frames, head=head)])
    inside = found[:, 3] / np.maximum(found[:, 0], 1e-6)
    assert inside[BELOW] > 0.95
    assert inside[ABOVE] < 1e-3
    assert 0.1 < inside[WALL] < 0.9
    soft = weights(small_prior, [replace(frames, head=0.9 * head)])
    assert not soft[:, 3].any(), "hair that lets the background through is an edge everywhere"
    layout = detail.as_they_are(7)
    layout, _ = visibility.layout_seen(small_prior[0], lambda _: scene(), layout, [replace(frames, head=head)])
    assert layout.colours[BELOW] > 0.9
    assert layout.colours[ABOVE] == 0
    assert layout.seen[ABOVE] > 0.9


@pytest.mark.parametrize(("edge", "pixels"), [(1 / 1000, 1), (1 / 8, 3), (1 / 6, 4)])
def test_an_edge_is_a_share_of_the_picture(small_prior, make_frames, monkeypatch, edge, pixels):
    """For poses are as wrong in large ones as in small ones; a pixel at least."""
    frames = make_frames([0, 1])
    size = frames.head.shape[1]
    assert size == 24
    monkeypatch.setattr(visibility, "EDGE", edge)
    half = jnp.zeros_like(frames.head).at[:, size // 2 :].set(1)
    seen, _, _, inside = weights(small_prior, [replace(frames, head=half)])[WALL]
    np.testing.assert_allclose(inside / seen, 0.5 - pixels / size, atol=0.01)  # the wall is nearly as wide as the view


def test_a_quarter_at_the_edge_is_too_much_for_colours(small_prior, make_frames):
    frames = make_frames([0, 1])
    size = frames.head.shape[1]

    def colours(rows):
        head = jnp.zeros_like(frames.head).at[:, rows:].set(1)
        shown = [replace(frames, head=head)]
        return float(
            visibility.layout_seen(small_prior[0], lambda _: scene(), detail.as_they_are(7), shown)[0].colours[WALL]
        )

    assert colours(0) > 0.99
    inside = 1 - 5 / size  # four rows, and one beside them
    np.testing.assert_allclose(colours(4), 4 * inside - 3, atol=0.05)
    assert colours(6) == 0


def test_what_was_not_filmed_sees_nobody(small_prior, make_frames):
    """Nor are the face's masks counted there, or a Gaussian would belong to the face more than it is seen."""
    frames = halves(make_frames([0, 1]))
    assert not weights(small_prior, [replace(frames, valid=0 * frames.valid)]).any()


def test_want_of_room_hides_nobody(small_prior, make_frames):
    frames = halves(make_frames([0, 1]))
    tight = Rasteriser("xla", capacity=2)
    found, used = visibility._weights(small_prior[0], scene(), frames, tight)
    assert used.implementation == "xla"
    assert (used.capacity or 0) > 2
    # float32 sums over a picture by two implementations
    np.testing.assert_allclose(found, weights(small_prior, [frames]), rtol=1e-3, atol=1e-3)


def test_each_frame_shows_its_own_gaussians(small_prior, make_frames):
    """What is hidden in one frame and seen in another (teeth) counts as seen."""
    frames = make_frames([0, 1])
    shown, layout = scene(), detail.as_they_are(7)
    hidden = replace(shown, mean=shown.mean.at[:, BELOW, 2].set(-0.3))
    pair = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), shown, hidden)
    once, never, always = (
        visibility.layout_seen(small_prior[0], lambda batch, x=x: x, layout, [frames])[0].seen[BELOW]
        for x in (pair, hidden, shown)
    )
    assert never < 0.1 < 0.5 < once < always


def test_a_layout_is_between_zero_and_one(small_prior, make_frames):
    prior, variables = small_prior
    layout = detail.as_they_are(prior.num_gaussians)
    frames = halves(make_frames([0, 1]))
    mean = prior.gaussians(variables, Latent(prior.mean_latent(variables)[None]))
    found, used = visibility.layout_seen(prior, lambda batch: mean, layout, [frames, frames])
    assert used == FASTEST  # there was room
    for name in ("seen", "upper", "lower"):
        assert 0 <= getattr(found, name).min() <= getattr(found, name).max() <= 1 + 1e-5, name
    assert found.seen.max() > 0.9
