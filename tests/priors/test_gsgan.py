"""GSGAN against the original's golden data, and other options against the PyTorch port."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters import gsgan_golden, verify
from converters.comparison import Row, Skipped
from converters.gsgan_names import to_variables
from jax_talker import geometry
from jax_talker.errors import UserError
from jax_talker.priors import GSGANConfig, make_gsgan, points
from jax_talker.priors.layers import Numerics
from jax_talker.types import Latent
from tests.kernels.scenes import quickly_compiled

SCALE = math.log(1 / math.sqrt(32))
MINI = GSGANConfig(
    z_dim=32,
    w_dim=32,
    num_pts=32,
    res_end=64,
    scale_init=SCALE,
    scale_threshold=SCALE,
    scale_end=math.log(1 / 32),
    channels=(32, 32, 32, 16, 8, 8, 8),
    transformer_layers=2,
    background_width=16,
    background_points=40,
)
OPTIONS = {
    "fewest levels": {"res_end": 32, "mapping_layers": 1},
    "five levels, fewest points": {"res_end": 128, "num_pts": 20, "up_ratio": 2, "mapping_layers": 3},
    "three children, no encoding": {"up_ratio": 3, "use_start_pe": False, "c_scale": 0.5},
    "no viewing direction": {"use_dir_cond": False, "c_gen_conditioning_zero": True, "xyz_output_scale": 0.7},
    "other scales": {"scale_end": -5.0, "scale_init": -1.0, "scale_threshold": -1.5, "scale_init_bg": -3.0, "c_dim": 0},
    "wide": {"channels": (48, 48, 24, 24, 10, 8, 8), "w_dim": 20, "transformer_layers": 1, "background_width": 12},
}


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "gsgan" / "mini"
    prior = make_gsgan(MINI)
    return prior, to_variables(prior, dict(np.load(folder / "state_dict.npz"))), verify.read_golden(folder / "io.npz")


@pytest.fixture(scope="module")
def golden_rows(golden):
    return list(gsgan_golden.rows(*golden, set()))


def test_every_golden_array(golden, golden_rows):
    """Latents, scenes, intermediate values, what the rasteriser receives, gradients: the file's own tolerances."""
    rows = golden_rows
    compared = [row for row in rows if isinstance(row, Row)]
    bad = [f"{row.stage}: {row.difference.max():.2e} > {row.limit:.2e}" for row in compared if not row.good]
    assert not bad
    skipped = [row.stage for row in rows if isinstance(row, Skipped)]
    assert len(compared) > 350
    # Unused tensors of the original have no leaf here; everything else must have been compared.
    assert all(name.startswith("grad/param/") for name in skipped)
    for name in skipped:
        assert not np.any(golden[2][name]), f"{name} has an effect"


def test_no_golden_point_flips(golden_rows):
    """The golden files were chosen with margins: neighbours and splits agree everywhere, not only mostly."""
    for row in golden_rows:
        if isinstance(row, Row) and row.flips:
            assert row.difference.max() <= row.limit, row.stage


def random_variables(prior, seed=0):
    """Fresh variables with every zero-initialised branch switched on."""
    rng = np.random.default_rng(seed)
    variables = prior.init(jax.random.key(seed))
    return jax.tree.map(
        lambda x: x if np.any(x) else jnp.asarray(0.3 * rng.standard_normal(x.shape), jnp.float32), variables
    )


QUICK = ("fewest levels", "three children, no encoding")  # each of the others compiles for most of a minute


@pytest.mark.torch
@pytest.mark.parametrize(
    "options",
    [pytest.param(OPTIONS[name], id=name, marks=() if name in QUICK else pytest.mark.slow) for name in OPTIONS],
)
def test_other_options_agree_with_torch(options):
    torch = pytest.importorskip("torch")
    from converters.torch_reference import gsgan as port
    from converters.torch_reference.state import to_torch

    prior = make_gsgan(dataclasses.replace(MINI, **options))
    variables = random_variables(prior)
    state = to_torch(prior, variables)
    rng = np.random.default_rng(1)
    z = rng.standard_normal((2, prior.z_dim)).astype(np.float32)
    label = rng.standard_normal((2, prior.config.c_dim)).astype(np.float32)
    ws = rng.standard_normal((2, prior.num_ws, prior.w_dim)).astype(np.float32)
    direction = rng.standard_normal((2, 3)).astype(np.float32)
    with torch.no_grad():
        for psi, cutoff in ((1.0, None), (0.7, 3)):
            want = port.mapping(state, prior.config, torch.tensor(z), torch.tensor(label), psi, cutoff)
            got = prior.mapping(
                variables, jnp.asarray(z), jnp.asarray(label), truncation_psi=psi, truncation_cutoff=cutoff
            ).w
            np.testing.assert_allclose(got, want.numpy(), atol=5e-6)
        wanted = port.parts(state, prior.config, torch.tensor(ws), torch.tensor(direction))
    found = quickly_compiled(prior.parts)(variables, Latent(w=jnp.asarray(ws)), jnp.asarray(direction))
    for part, got, want in zip(("fg", "anchor", "bg"), found, wanted, strict=True):
        for head, atol in gsgan_golden.TOLERANCE.items():
            difference = np.abs(np.asarray(getattr(got, head)) - want[head].numpy())
            assert np.mean(difference > atol) <= (0 if part == "bg" else 2e-3), f"{part} {head} {difference.max()}"


@pytest.mark.slow
def test_slices_of_fine_levels_change_nothing(golden, monkeypatch):
    """Fine levels are computed a few parents at a time, with a remainder; the numbers are those of one piece."""
    prior, variables, io = golden
    ws, direction = jnp.asarray(io["ws_wplus"]), jnp.asarray(io["camera_cond"])

    def loss(ws):
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(prior.parts(variables, Latent(w=ws), direction)))

    whole, whole_gradient = quickly_compiled(jax.value_and_grad(loss))(ws)
    monkeypatch.setattr("jax_talker.priors.gsgan_network.FINE_ROWS", 96)  # 1024 parents: ten slices and a rest
    sliced, gradient = quickly_compiled(jax.value_and_grad(lambda ws: loss(ws)))(ws)
    np.testing.assert_allclose(sliced, whole, rtol=1e-5)
    np.testing.assert_allclose(gradient, whole_gradient, atol=1e-4 * np.abs(whole_gradient).max())


@pytest.mark.parametrize("count", [20, 64, 100])
def test_nearest_in_blocks(monkeypatch, count):
    """Against sorting all distances, with blocks that do not divide the number of points."""
    monkeypatch.setattr(points, "KNN_ROWS", 32)
    features = jnp.asarray(np.random.default_rng(0).standard_normal((count, 5)), jnp.float32)
    distance = np.linalg.norm(np.asarray(features)[:, None] - np.asarray(features)[None], axis=-1)
    expected = np.sort(np.argsort(distance, 1)[:, 1:17], 1)
    np.testing.assert_array_equal(np.sort(points.nearest(features), 1), expected)


def test_edge_attention_is_the_written_formula():
    """Layers applied to points and combined per pair, against layers applied to δ = n_j − n_i of each pair."""
    rng = np.random.default_rng(0)
    channels = 6

    def weights(inputs, outputs):
        return (jnp.asarray(rng.standard_normal((inputs, outputs)), jnp.float32), jnp.ones(outputs))

    logits = weights(channels, 3), weights(3, channels)
    values = weights(2 * channels, channels), weights(channels, channels)
    own = jnp.asarray(rng.standard_normal((8, channels)), jnp.float32)
    exact = Numerics.named("float32")
    got = points.edge_attention(own, points.siblings, logits, values, exact)
    lrelu = lambda x: math.sqrt(2) * np.where(x > 0, x, 0.2 * x)  # noqa: E731
    for i in range(8):
        group = np.asarray(own)[i // 4 * 4 : i // 4 * 4 + 4]
        delta = group - np.asarray(own)[i]
        score = lrelu(delta @ logits[0][0] + 1) @ np.asarray(logits[1][0]) + 1
        both = np.concatenate([np.broadcast_to(own[i], delta.shape), delta], 1)
        value = lrelu(both @ values[0][0] + 1) @ np.asarray(values[1][0]) + 1
        softmax = np.exp(score - score.max(0)) / np.exp(score - score.max(0)).sum(0)
        np.testing.assert_allclose(got[i], (softmax * value).sum(0), rtol=2e-5, atol=2e-5)


class TestCamera:
    def test_frontal_camera_is_almost_the_labels(self):
        """Looking straight at the origin nothing is mirrored; only the field of view differs."""
        label = jnp.asarray(geometry.make_label(geometry.orbit(0, 0)))
        camera, plain = make_gsgan(MINI).camera(label, 512), geometry.camera_from_label(label, 512)
        np.testing.assert_allclose(camera.cam_from_world, plain.cam_from_world, atol=1e-6)
        np.testing.assert_allclose(camera.intrinsics[0, 0], 512 * 2.507573, rtol=1e-6)
        np.testing.assert_allclose(camera.intrinsics[:2, 2], 256)

    def test_turned_cameras_are_mirrored_in_x(self):
        label = jnp.asarray(geometry.make_label(geometry.orbit(math.degrees(0.4), 0, pivot=geometry.EG3D_PIVOT)))
        camera, plain = make_gsgan(MINI).camera(label, 512), geometry.camera_from_label(label, 512)
        difference = np.array(camera.cam_from_world - plain.cam_from_world)
        assert abs(difference[0, 3]) == pytest.approx(2 * 0.0836, abs=2e-3)  # spec section 11
        difference[0, 3] = 0
        np.testing.assert_allclose(difference, 0, atol=1e-6)


class TestPrior:
    def test_full_size_facts(self):
        prior = make_gsgan(GSGANConfig())
        assert (prior.num_ws, prior.num_gaussians) == (17, 359_440)
        assert prior.config.split_above == pytest.approx(0.001953125)
        assert prior.config.log_split_ratio == pytest.approx(math.log(2))
        assert prior.layer_names[12:] == ("block_8.edge", "block_8.mlp", "block_16.edge", "block_16.mlp", "background")

    def test_view_changes_colours_only(self, golden):
        prior, variables, io = golden
        latent = Latent(w=jnp.asarray(io["ws_psi07"]))
        frozen = jax.jit(prior.gaussians)(variables, latent)
        seen = jax.jit(prior.gaussians_for_view)(variables, latent, jnp.asarray(io["c"]))
        np.testing.assert_array_equal(frozen.mean, seen.mean)
        assert np.abs(np.asarray(frozen.rgb - seen.rgb)).max() > 0.01  # far beyond rounding
        front = jnp.asarray(geometry.make_label(geometry.orbit(0, 0, pivot=geometry.EG3D_PIVOT)))[None].repeat(2, 0)
        again = jax.jit(prior.gaussians_for_view)(variables, latent, front)
        np.testing.assert_allclose(again.rgb, frozen.rgb, atol=1e-6)

    def test_round_trip_of_options(self):
        assert GSGANConfig.from_json(MINI.to_json()) == MINI
        assert hash(GSGANConfig.from_json(MINI.to_json())) == hash(MINI)

    def test_fresh_background_is_behind_the_head(self):
        prior = make_gsgan(MINI)
        variables = prior.init(jax.random.key(0))
        seeds = variables["params"]["background"]["seeds"]
        assert np.all(seeds[:, 2] <= 0)
        np.testing.assert_allclose(np.linalg.norm(seeds, axis=1), math.sqrt(3), rtol=1e-5)

    def test_bfloat16_is_close(self, golden):
        _, variables, io = golden
        latent, direction = Latent(w=jnp.asarray(io["ws_psi07"])), jnp.asarray(io["camera_cond"])
        exact, rough = (
            jax.jit(make_gsgan(MINI, compute=c).parts)(variables, latent, direction)[0] for c in ("float32", "bfloat16")
        )
        # 8 bits of mantissa: features are off by a per cent or two; the finest points may split otherwise.
        assert np.median(np.abs(np.asarray(exact.color - rough.color))) < 0.05 * np.std(exact.color)
        assert np.median(np.abs(np.asarray(exact.xyz - rough.xyz))) < 1e-3

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"res_end": 16}, "res_end"),
            ({"res_end": 96}, "res_end"),
            ({"num_pts": 16}, "at least 17"),
            ({"num_pts": 17, "up_ratio": 3}, "multiple of 4"),
            ({"channels": (32, 32, 32)}, "a width for each"),
            ({"channels": (32, 16, 32, 16, 8)}, "must be equal"),
            ({"channels": (24, 24, 32, 16, 8)}, "multiple of 16"),
            ({"transformer_layers": 0}, "at least 1"),
        ],
    )
    def test_impossible_options_are_refused(self, options, message):
        with pytest.raises(UserError, match=message):
            dataclasses.replace(MINI, **options)
