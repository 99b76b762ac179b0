"""A person's own detail and the deformation field, by what they promise."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.geometry import make_label, orbit, rotation_from_quat
from jax_talker.models import detail
from jax_talker.models.deformation import POSE_RANGE, Blendshapes, DeformationField, Motion, pose_of, poses_of
from jax_talker.types import Gaussians

N = 7


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.fixture
def gaussians():
    return Gaussians(
        mean=0.2 * normal(0, 2, N, 3),
        quat=normal(1, 2, N, 4),
        scale=jnp.exp(normal(2, 2, N, 3) - 4),
        opacity=jax.nn.sigmoid(normal(3, 2, N)),
        rgb=jax.nn.sigmoid(normal(4, 2, N, 3)),
    )


def residual(count, seed=5):
    return {name: normal(seed + k, count, size) for k, (name, size) in enumerate(detail.SIZES.items())}


def same(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


def test_nothing_changes_nothing(gaussians):
    found = detail.add_detail(gaussians, detail.as_they_are(N), detail.nothing(N))
    same(found, gaussians, atol=1e-6)  # float32: opacities through logits and back


def test_what_does_not_walk_rests(gaussians):
    """By degrees; and a quaternion and its negative are one rotation."""
    rest = jax.tree.map(lambda x: x[:1] + 0.01, gaussians)
    layout = replace(detail.as_they_are(N), walks=jnp.zeros(N).at[2].set(1).at[3].set(0.5))
    turned = replace(gaussians, quat=gaussians.quat * jnp.array([1.0, -1.0])[:, None, None])
    found = detail.add_detail(turned, layout, detail.nothing(N), rest)
    same(found.mean[:, 0], jnp.broadcast_to(rest.mean[:, 0], (2, 3)), atol=1e-6)
    same(found.mean[:, 2], gaussians.mean[:, 2], atol=1e-6)
    same(found.mean[:, 3], (gaussians.mean[:, 3] + rest.mean[:, 3]) / 2, atol=1e-6)
    straight = detail.add_detail(gaussians, layout, detail.nothing(N), rest)
    same(rotation_from_quat(found.quat), rotation_from_quat(straight.quat), atol=1e-5)


@pytest.mark.parametrize("how", ["detail", "deformation"])
def test_what_is_seen_at_the_edge_alone_keeps_its_colours(gaussians, how):
    layout = replace(detail.as_they_are(N), colours=jnp.ones(N).at[2].set(0))
    if how == "detail":
        found = detail.add_detail(gaussians, layout, residual(N))
    else:
        field = Blendshapes(N, expressions=3, lips=2)
        motion = Motion(normal(8, 2, 3), normal(9, 2, 2), jnp.zeros((2, 5)))
        params = jax.tree.map(lambda x: x + 0.3, field.init(jax.random.key(0), gaussians, motion, layout))
        layout = replace(layout, upper=jnp.full(N, 0.5), lower=jnp.full(N, 0.5))
        found = field.apply(params, gaussians, motion, layout)
    same(found.rgb[:, 2], gaussians.rgb[:, 2], atol=1e-6)
    assert jnp.abs(found.rgb - gaussians.rgb)[:, 3].max() > 0.01
    assert jnp.abs(found.mean - gaussians.mean)[:, 2].max() > 1e-3, "it may move and fade"


def test_what_is_unseen_neither_changes_nor_learns(gaussians):
    layout = replace(detail.as_they_are(N), seen=jnp.ones(N).at[2].set(0))

    def total(residual):
        found = detail.add_detail(gaussians, layout, residual)
        return sum((x**2).sum() for x in jax.tree.leaves(found)), found

    gradient, found = jax.grad(total, has_aux=True)(residual(N))
    same(jax.tree.map(lambda x: x[:, 2], found), jax.tree.map(lambda x: x[:, 2], gaussians), atol=1e-6)
    assert jnp.abs(found.mean - gaussians.mean)[:, 3].max() > 1e-3
    for name, g in gradient.items():
        assert not g[2].any(), name
        assert g[3].any(), name


def test_divided_gaussians_lie_around_their_parents(gaussians):
    layout = detail.divided(detail.as_they_are(N), gaussians.scale[0], jnp.array([1, 4]))
    assert len(layout.parent) == N + 2 * 3
    assert sorted(np.bincount(np.asarray(layout.parent), minlength=N).tolist()) == [1] * (N - 2) + [4, 4]
    found = detail.add_detail(gaussians, layout, detail.nothing(len(layout.parent)))
    for parent in (1, 4):
        mine = np.flatnonzero(np.asarray(layout.parent) == parent)
        for batch in (0, 1):
            children = np.asarray(found.mean[batch, mine])
            np.testing.assert_allclose(children.mean(0), gaussians.mean[batch, parent], atol=1e-6)
            axes = np.asarray(rotation_from_quat(gaussians.quat[batch, parent]))
            local = (children - children.mean(0)) @ axes / np.asarray(gaussians.scale[batch, parent])
            np.testing.assert_allclose(
                np.abs(local).sum(1), 1.2, atol=1e-3
            )  # 0.6 along two of its axes, turned with it
            assert np.linalg.matrix_rank(local, tol=1e-2) == 2
        assert (np.asarray(found.scale[0, mine]) <= np.asarray(gaussians.scale[0, parent]) + 1e-9).all()


def test_detail_needs_colours_that_it_can_change(gaussians):
    harmonics = replace(gaussians, rgb=None, sh=jnp.zeros((2, N, 1, 3)))
    with pytest.raises(ValueError, match="rgb"):
        detail.add_detail(harmonics, detail.as_they_are(N), detail.nothing(N))


def test_size_is_in_usual_units():
    one = {name: jnp.full((N, size), detail.USUAL[name] / detail.UNITS[name]) for name, size in detail.SIZES.items()}
    np.testing.assert_allclose(detail.size_of(one), sum(detail.SIZES.values()), rtol=1e-6)
    assert detail.size_of(detail.nothing(N)) == 0


FORMS = {"blendshapes": Blendshapes(N, 2, 3, pose="all"), "field": DeformationField(hidden=(8,))}
STRAIGHT = jnp.zeros((2, 5))


@pytest.fixture(params=FORMS)
def field(request, gaussians):
    """(a form, its fresh parameters, perturbed ones)"""
    form = FORMS[request.param]
    params = form.init(
        jax.random.key(0), gaussians, Motion(normal(5, 2, 4), normal(6, 2, 5), STRAIGHT), detail.as_they_are(N)
    )
    return form, params, jax.tree.map(lambda x: x + 0.3 * normal(8, *x.shape), params)


def test_a_field_starts_as_the_identity(field, gaussians):
    form, fresh, alive = field
    motion = Motion(normal(5, 2, 4), normal(6, 2, 5), STRAIGHT)
    layout = replace(detail.as_they_are(N), upper=jnp.full(N, 0.5), lower=jnp.full(N, 0.5))  # all of it is face
    same(form.apply(fresh, gaussians, motion, layout), gaussians, atol=1e-6)
    moved = form.apply(alive, gaussians, motion, layout)
    for name in ("mean", "scale", "quat", "opacity", "rgb"):
        assert jnp.abs(getattr(moved, name) - getattr(gaussians, name)).max() > 1e-4, name


def test_a_field_obeys_the_masks(field, gaussians):
    """Lips do not touch what only expression may move, nor the reverse, nor either what is unseen."""
    form, _, alive = field
    layout = detail.as_they_are(N)
    upper, lower = layout.upper.at[0].set(1).at[2:].set(0.5), layout.lower.at[1].set(1).at[2:].set(0.5)
    layout = replace(layout, upper=upper, lower=lower, seen=layout.seen.at[2].set(0))
    show = lambda e, p: form.apply(alive, gaussians, Motion(e, p, STRAIGHT), layout)  # noqa: E731
    expression, lips = normal(5, 2, 4), normal(6, 2, 5)
    base, spoken, frowned = show(expression, lips), show(expression, -lips), show(-expression, lips)
    changed = lambda a, b: np.asarray(jnp.abs(a.mean - b.mean).max((0, 2)) > 1e-7)  # noqa: E731
    np.testing.assert_array_equal(changed(base, spoken)[:4], [False, True, False, True])
    np.testing.assert_array_equal(changed(base, frowned)[:4], [True, False, False, True])
    same(jax.tree.map(lambda x: x[:, 2], base), jax.tree.map(lambda x: x[:, 2], gaussians), atol=1e-6)


def test_speech_moves_the_face_alone(gaussians):
    """Blendshapes leave hair and neck alone, and fade in over the face's edge."""
    form = FORMS["blendshapes"]
    motion = Motion(normal(5, 2, 4), normal(6, 2, 5), STRAIGHT)
    layout = detail.as_they_are(N)
    layout = replace(layout, lower=layout.lower.at[:].set(0).at[1].set(1 / 12).at[2].set(1 / 6), upper=0 * layout.upper)
    alive = jax.tree.map(lambda x: x + 0.3, form.init(jax.random.key(0), gaussians, motion, layout))
    still = jax.tree.map(jnp.zeros_like, motion)._replace(pose=STRAIGHT)
    moved = form.apply(alive, gaussians, motion, layout).mean - form.apply(alive, gaussians, still, layout).mean
    size = np.linalg.norm(moved, axis=-1)
    assert size[:, 2].min() > 1e-3
    np.testing.assert_allclose(size[:, 1], 0.5 * size[:, 2], rtol=0.1)  # expression's share is weighed by 1 − lower
    np.testing.assert_allclose(np.delete(size, [1, 2], axis=1), 0, atol=1e-7)


def test_the_pose_counts(field, gaussians):
    form, _, alive = field
    show = lambda pose: form.apply(  # noqa: E731
        alive, gaussians, Motion(normal(5, 2, 4), normal(6, 2, 5), pose), detail.as_they_are(N)
    )
    assert jnp.abs(show(STRAIGHT + 0.5).mean - show(STRAIGHT).mean).max() > 1e-5


def test_the_pose_is_in_units_of_the_persons_turns():
    """Zero at their mean pose, bounded far from it, and the tracker's noise is no turn."""
    yaws = [0.0, 5.0, 8.0, 10.0, 15.0]
    label = lambda yaw: jnp.asarray(make_label(orbit(yaw, 0)), jnp.float32)[None]  # noqa: E731
    poses = poses_of(jnp.concatenate([label(yaw) for yaw in yaws]))
    found = np.array([pose_of(label(yaw), poses)[0] for yaw in (8, 8 + np.std(yaws), 60, 90)])
    assert not found[0].any()
    np.testing.assert_allclose(np.abs(found[1, [0, 3]]), [1, 0.5], atol=0.03)  # sines of angles this small
    np.testing.assert_allclose(np.abs(found[2:, 0]), POSE_RANGE)
    still = poses_of(jnp.concatenate([label(yaw) for yaw in (0, 0.01)]))
    np.testing.assert_allclose(still.deviation, 0.02)


@pytest.mark.parametrize(("pose", "recoloured"), [("outside", False), ("shaded", True)])
def test_the_pose_may_be_kept_out_of_the_face(gaussians, pose, recoloured):
    """Only what lies outside the face moves; light that turns with the head may change colours everywhere."""
    form = Blendshapes(N, 2, 3, pose=pose)
    still = Motion(jnp.zeros((2, 4)), jnp.zeros((2, 5)), STRAIGHT)
    layout = detail.as_they_are(N)
    alive = jax.tree.map(lambda x: x + 0.3, form.init(jax.random.key(0), gaussians, still, layout))
    layout = replace(layout, upper=layout.upper.at[0].set(1), lower=layout.lower.at[1].set(1))
    turned = form.apply(alive, gaussians, still._replace(pose=STRAIGHT.at[:, 0].set(0.5)), layout)

    def changed(name):
        amount = np.abs(getattr(turned, name) - getattr(gaussians, name))
        return amount.reshape(2, N, -1).max((0, 2)) > 1e-6

    for name in ("mean", "scale", "quat", "opacity"):
        np.testing.assert_array_equal(changed(name)[:4], [False, False, True, True], err_msg=name)
    np.testing.assert_array_equal(changed("rgb")[:4], [recoloured, recoloured, True, True])


def test_roughness_is_what_neighbours_go_apart_by():
    """Nothing for what moves together; a millimetre is 1. Each is pulled to its neighbour, which is not pulled back."""
    count = 6
    near = jnp.roll(jnp.arange(count), 1)
    together = jnp.broadcast_to(normal(0, 2, 1), (2, count))
    assert detail.roughness(together, near) == 0
    assert detail.roughness(normal(0, 1, count), detail.alone(count)[:, 0]) == 0
    apart = detail.APART / detail.UNITS["mean"]
    one = jnp.zeros((1, count)).at[0, 3].set(apart)
    # It goes apart from its neighbour, and the one whose neighbour it is from it.
    np.testing.assert_allclose(detail.roughness(one, near), 2 / count, rtol=1e-5)
    pull = jax.grad(detail.roughness)(one, near) * apart * count / 2
    np.testing.assert_allclose(pull, jnp.zeros((1, count)).at[0, 3].set(1.0).at[0, 4].set(-1.0), atol=1e-6)


def test_divided_gaussians_have_no_neighbours_yet(gaussians):
    layout = replace(detail.as_they_are(N), near=jnp.zeros((N, detail.NEIGHBOURS), jnp.int32))
    four = detail.divided(layout, gaussians.scale[0], jnp.array([1, 3]))
    np.testing.assert_array_equal(four.near, detail.alone(len(four.parent)))
