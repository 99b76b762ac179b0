"""verify can fail: on shapes, on numbers, on gradients; and says what it compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters import gghead_golden
from converters.__main__ import main
from converters.assemble import LAYOUTS, laid_out
from converters.comparison import Row
from converters.golden_inputs import check_inputs
from converters.kinks import RELATIVE, jumps
from jax_talker.errors import UserError
from jax_talker.priors.gghead import GGHeadConfig, make_gghead
from jax_talker.priors.store import save
from jax_talker.priors.template import bake, ellipsoid

ARRAY = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


class TestRow:
    @pytest.mark.parametrize(
        ("got", "want", "good"),
        [
            (ARRAY, ARRAY + 5e-5, True),
            (ARRAY, ARRAY + 2e-4, False),
            (ARRAY, ARRAY[:2], False),
            (ARRAY, ARRAY[None], False),  # would be broadcast
            (ARRAY, ARRAY.T, False),
            (ARRAY * np.nan, ARRAY, False),
            (ARRAY, ARRAY * np.nan, False),  # every comparison with NaN is false
            (ARRAY * np.nan, ARRAY * np.nan, False),
            (ARRAY[:0], ARRAY[:0], True),
        ],
    )
    def test_shapes_and_numbers(self, got, want, good):
        assert Row("a", got, want).good is good

    def test_relative_to_the_largest(self):
        assert Row("a", ARRAY * 1.0001, ARRAY, atol=0, rtol=1.1e-4).good
        assert not Row("a", ARRAY * 1.0001, ARRAY, atol=0, rtol=0.9e-4).good

    def test_flips_are_a_share(self):
        want = np.zeros(1000, np.float32)
        got = want.copy()
        got[:2] = 1
        assert Row("a", got, want, flips=2e-3).good
        assert not Row("a", got, want, flips=1e-3).good

    def test_jumps_explain_their_own_entry_only(self):
        got = ARRAY.copy()
        got[0, 0] += 0.01
        there, elsewhere = np.zeros_like(ARRAY), np.zeros_like(ARRAY)
        there[0, 0] = elsewhere[1, 1] = 0.01
        assert Row("a", got, ARRAY, jumps=there).good
        assert not Row("a", got, ARRAY, jumps=elsewhere).good
        assert not Row("a", got, ARRAY).good

    def test_jumps_do_not_explain_everything(self):
        assert not Row("a", -ARRAY, ARRAY, jumps=np.full_like(ARRAY, 1e6)).good


class TestJumps:
    """A unit of a leaky ReLU at the edge, as made verify call a right port wrong on one kind of processor."""

    weights = np.ones(4, np.float32)

    def gradient(self, weights, x):
        return jax.grad(lambda w: jnp.sum(jax.nn.leaky_relu(x @ w, 0.2)))(weights)

    def test_a_unit_at_its_edge_is_seen(self):
        x = np.array([[1, -1, 1e-8, 0], [1, 2, 3, 4]], np.float32)  # 1e-8 from the edge, and far from it
        exact, moved = jumps(jax.jit(self.gradient), self.weights, x)
        other_side = np.array([1.2, 1.8, 3, 4])
        assert np.abs(exact - other_side).max() > 0.7
        assert Row("g", other_side.astype(np.float32), exact, rtol=1e-4, jumps=np.minimum(moved, 1)).beyond.any()
        np.testing.assert_allclose(moved, [0.8, 0.8, 0, 0], atol=1e-4)

    def test_elsewhere_there_is_only_rounding(self):
        x = np.array([[1, -1, 0.5, 0], [1, 2, 3, 4]], np.float32)
        exact, moved = jumps(jax.jit(self.gradient), self.weights, x)
        np.testing.assert_allclose(exact, [2, 1, 3.5, 4])
        assert moved.max() < 10 * RELATIVE * 4
        assert not Row("g", exact * 1.01, exact, atol=1e-6, rtol=1e-4, jumps=moved).good  # a factor is found

    def test_scalars_stay_arrays(self):
        exact, moved = jumps(jax.jit(jax.grad(lambda x: x * x)), np.float32(2))
        assert isinstance(exact, np.ndarray)
        assert isinstance(moved, np.ndarray)
        assert Row("loss", exact, np.asarray(4, np.float32), rtol=1e-4, jumps=moved).good

    def test_is_the_same_every_time(self):
        x = np.array([[1, -1, 1e-8, 0]], np.float32)
        one, two = (jumps(jax.jit(self.gradient), self.weights, x)[1] for _ in range(2))
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros((2, 5))}, r"z has shape \(2, 5\), \(2, 4\) expected"),
        ({"z": np.zeros(4)}, "z has shape"),
        ({"z": np.zeros((2, 4)), "c": np.zeros((3, 25))}, r"c has shape \(3, 25\), \(2, 25\) expected"),
        ({"z": np.full((2, 4), np.nan)}, "z: finite numbers expected"),
        ({"z": np.array([["a"] * 4])}, "z: finite numbers expected"),
    ],
)
def test_inputs_are_checked(arrays, message):
    wanted = {"z": ("B", 4), "c": ("B", 25), "absent": (1,)}
    check_inputs({"z": np.zeros((2, 4)), "c": np.zeros((2, 25))}, wanted)
    with pytest.raises(UserError, match=message):
        check_inputs(arrays, wanted)


class TestSubSampledImages:
    image = np.arange(2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8)

    def like(self, want, name="planes_trunc_const", **more):
        return gghead_golden._like(name, self.image, {name: want, **more})

    def test_the_layout_says_which_pixels(self):
        np.testing.assert_array_equal(self.like(self.image[..., ::4, ::4]), self.image[..., ::4, ::4])
        some = self.image[..., 1::2, 1::2]
        np.testing.assert_array_equal(self.like(some, "planes_plus_const"), some)

    def test_a_stored_offset_is_used(self):
        some = self.image[..., 3::4, 2::4]
        got = self.like(some, planes_trunc_const_offset=np.array([3, 2]))
        np.testing.assert_array_equal(got, some)

    def test_the_closest_is_not_chosen(self):
        """Pixels that are off by one are wrong, not another offset."""
        some = self.image[..., 1::4, ::4]
        assert not Row("a", self.like(some), some).good

    @pytest.mark.parametrize("offset", [np.array([4, 0]), np.array([-1, 0]), np.array(1)])
    def test_offsets_that_are_none(self, offset):
        with pytest.raises(UserError, match="planes_trunc_const_offset must be"):
            self.like(self.image[..., ::4, ::4], planes_trunc_const_offset=offset)

    def test_other_sizes_differ(self):
        assert not Row("a", self.like(self.image[..., :3, :3]), self.image[..., :3, :3]).good
        assert self.like(np.zeros((2, 3, 16, 16), np.float32)).shape == self.image.shape


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "prior"
    template = bake(ellipsoid(), plane_resolution=8, uv_samples=6, register=False)
    config = GGHeadConfig.for_template(template, z_dim=4, w_dim=6, channel_max=5, uv_samples=6, sh_degree=0)
    prior = make_gghead(config)
    variables = prior.init(jax.random.key(0), template)
    save(folder, prior, variables, card="")
    label = np.tile(np.r_[np.diag([1.0, -1, -1, 1]).ravel(), 4.3, 0, 0.5, 0, 4.3, 0.5, 0, 0, 1], (2, 1))
    label[:, 3], label[:, 11] = 0.1, 2.7
    z = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    w = prior.mapping(variables, jnp.asarray(z), jnp.asarray(label, jnp.float32)).w
    centre = label[:, [3, 7, 11]].astype(np.float32)
    return folder, {"z": z, "c": label.astype(np.float32), "ws_psi1": np.asarray(w), "cam_center": centre}


class TestProgram:
    """A prior and golden numbers of what compiles in a moment: latents and cameras."""

    def verify(self, prior, tmp_path, capsys, **changes):
        folder, arrays = prior
        np.savez(tmp_path / "io.npz", **(arrays | changes))
        code = main(["verify", str(folder), "--golden", str(tmp_path / "io.npz")])
        out, err = capsys.readouterr()
        return code, out + err

    def test_right(self, prior, tmp_path, capsys):
        code, said = self.verify(prior, tmp_path, capsys)
        assert (code, "2 of 2 arrays compared\nwithin tolerance" in said) == (0, True), said

    def test_what_is_not_known_is_counted(self, prior, tmp_path, capsys):
        code, said = self.verify(prior, tmp_path, capsys, something=np.zeros(3), ws_trunc=prior[1]["ws_psi1"])
        assert (code, "2 of 4 arrays compared" in said) == (0, True), said
        assert "not compared: verify does not know this array" in said
        assert "not compared: its truncation is not known" in said

    @pytest.mark.parametrize(
        "change",
        [lambda w: w[:, :-1], lambda w: w[:1], lambda w: w[..., None], lambda w: w + 2e-4, lambda w: w * np.nan],
        ids=["fewer rows", "fewer samples", "another axis", "other numbers", "no numbers"],
    )
    def test_wrong_arrays(self, prior, tmp_path, capsys, change):
        code, said = self.verify(prior, tmp_path, capsys, ws_psi1=change(prior[1]["ws_psi1"]))
        assert (code, "1 stages beyond tolerance" in said) == (1, True), said
        assert "BAD" in said

    def test_wrong_inputs(self, prior, tmp_path, capsys):
        code, said = self.verify(prior, tmp_path, capsys, z=np.zeros((2, 5), np.float32))
        assert (code, said.count("\n")) == (2, 1)
        assert "golden array z has shape (2, 5), (2, 4) expected for this prior" in said


def test_gradients_of_another_shape_are_not_folded():
    leaf = (3, 3, 4, 5)
    right = np.zeros((5, 4, 3, 3))
    assert laid_out("conv", right, leaf).shape == leaf
    assert laid_out("conv", right[:, :, 0], leaf).shape != leaf
    assert laid_out("conv", np.zeros((4, 5, 3, 3)), leaf).shape != leaf  # as many numbers, turned


@pytest.mark.torch
def test_layouts_and_their_inverses():
    pytest.importorskip("torch")
    from converters.torch_reference.state import INVERSE

    rng = np.random.default_rng(0)
    shapes = {"dense": (3, 4), "conv": (3, 3, 4, 5), "conv1x1": (4, 5), "image": (4, 6, 5), "table": (3, 4, 2)}
    assert set(LAYOUTS) == set(INVERSE) == {*shapes, "same"}
    for layout, shape in shapes.items():
        array = rng.standard_normal(shape).astype(np.float32)
        np.testing.assert_array_equal(LAYOUTS[layout](INVERSE[layout](array)), array, err_msg=layout)
