"""From the original's files to prior folders and back to its numbers, as a user does it."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters import checkpoint as checkpoints
from converters import gghead, gsgan
from converters.__main__ import main
from converters.assemble import Constant, Source, assemble
from converters.errors import CheckpointError
from converters.flat_options import flatten
from jax_talker.priors import load
from jax_talker.types import Latent


@pytest.fixture
def run_folder(shared):
    return next((shared / "golden" / "gghead" / "run").iterdir())


@pytest.fixture
def gsgan_file(shared):
    return shared / "golden" / "gsgan" / "gsgan_mini.pkl"


def cli(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


class TestGGHead:
    def test_round_trip(self, shared, run_folder, tmp_path, capsys):
        code, out, _ = cli(capsys, "gghead", run_folder, tmp_path / "out")
        assert (code, "num_ws 8, 388 Gaussians" in out) == (0, True)
        code, out, _ = cli(capsys, "verify", tmp_path / "out", "--golden", shared / "golden" / "gghead" / "io.npz")
        assert code == 0
        assert "within tolerance" in out
        assert "not compared" not in out  # every array of the file is
        assert out.count("grad__") == 9

    def test_a_file_and_its_folder_are_the_same(self, run_folder):
        one = gghead.convert(run_folder)
        two = gghead.convert(next(run_folder.glob("checkpoints/*.pkl")))
        assert one[0] == two[0]
        jax.tree.map(np.testing.assert_array_equal, one[1], two[1])

    def test_card(self, run_folder):
        prior, _, card = gghead.convert(run_folder)
        for fact in (
            "checkpoint-200.pkl",
            "46,411",
            "| 8 of width 32 |",
            "388",
            "use_sphere_template",
            "non-commercial",
        ):
            assert fact in card
        assert re.search(r"`[0-9a-f]{64}`", card)
        assert str(run_folder.parent) not in card  # the user's folders are nobody's business
        assert all(f"`{name}`" in card for name in prior.config.to_json())

    def test_half_precision_still_verifies_loosely(self, run_folder, tmp_path, capsys):
        assert cli(capsys, "gghead", run_folder, tmp_path / "out", "--dtype", "float16")[0] == 0
        _, exact, _ = gghead.convert(run_folder)
        _, stored = load(tmp_path / "out")
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), exact, stored)

    @pytest.mark.torch
    def test_verify_against_torch(self, run_folder, tmp_path, capsys):
        pytest.importorskip("torch")
        cli(capsys, "gghead", run_folder, tmp_path / "out")
        code, out, _ = cli(capsys, "verify", tmp_path / "out", "--torch")
        assert (code, out.count("W+: ")) == (0, 6)

    def test_other_weights_do_not_verify(self, shared, run_folder, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(checkpoints, "ema_generator", lambda found: checkpoints.networks(found)["G"])
        cli(capsys, "gghead", run_folder, tmp_path / "out")
        code, out, _ = cli(capsys, "verify", tmp_path / "out", "--golden", shared / "golden" / "gghead" / "io.npz")
        assert code == 1
        assert "stages beyond tolerance" in out
        assert re.search(r"ws_psi1 .* BAD", out)

    def test_latest_snapshot_of_a_folder(self, run_folder, tmp_path):
        folder = tmp_path / "GGHEAD-2_two"
        (folder / "checkpoints").mkdir(parents=True)
        data = next(run_folder.glob("checkpoints/*.pkl")).read_bytes()
        for kimg in (90, 1000):
            (folder / "checkpoints" / f"checkpoint-{kimg}.pkl").write_bytes(data)
        assert gghead.locate(folder)[0].name == "checkpoint-1000.pkl"
        assert gghead.locate(folder, 90)[0].name == "checkpoint-90.pkl"
        with pytest.raises(CheckpointError, match=r"no checkpoint of 5 kimg; it has \[90, 1000\]"):
            gghead.locate(folder, 5)

    def test_configurations_that_contradict(self, run_folder, tmp_path):
        folder = tmp_path / "GGHEAD-2_other"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints" / "checkpoint-1.pkl").write_bytes(
            next(run_folder.glob("checkpoints/*.pkl")).read_bytes()
        )
        config = json.loads((run_folder / "model_config.json").read_text())
        config["generator_config"]["max_scale"] = -2
        (folder / "model_config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError, match=r"option max_scale is -3 in the snapshot and -2 in model_config"):
            gghead.convert(folder)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("use_background_cnn", True, "use_background_cnn=True is not supported"),
            ("super_resolution_config.use_superresolution", True, "is not supported"),
            ("n_shells", 2, "n_shells=2"),
            ("use_rotation_activation", False, "use_rotation_activation=False"),
            ("synthesis_network_config.architecture", "resnet", "architecture='resnet'"),
            ("effective_plane_resolution", 16, "in the middle of growing"),
            ("new_fancy_option", 3, "new_fancy_option=3 is unknown"),
            ("uv_attributes", ["POSITION", "SCALE"], "in some order"),
            ("uv_attributes", "POSITION", "not a list"),
            ("plane_resolution", 31, "power of two"),
            ("plane_resolution", "32", "plane_resolution cannot be '32'"),
        ],
    )
    def test_options_that_are_not_ported(self, run_folder, name, value, message):
        options = flatten(json.loads((run_folder / "model_config.json").read_text())["generator_config"])
        tensors = {"_uv_grid": np.zeros((1, 388, 1, 2), np.float32)}
        gghead.config_from(options, tensors)
        with pytest.raises(Exception, match=message):
            gghead.config_from(options | {name: value}, tensors)

    def test_unknown_options_that_are_off_do_not_matter(self, run_folder):
        options = flatten(json.loads((run_folder / "model_config.json").read_text())["generator_config"])
        tensors = {"_uv_grid": np.zeros((1, 388, 1, 2), np.float32)}
        expected = gghead.config_from(options, tensors)
        assert gghead.config_from(options | {"use_new_thing": False, "new_size": None}, tensors) == expected


class TestGSGAN:
    def test_round_trip(self, shared, tmp_path, capsys):
        """The file as the real loop writes it: an old torch, storages tagged cuda:0."""
        folder = shared / "golden" / "gsgan"
        code, out, _ = cli(capsys, "gsgan", folder / "gsgan_mini_torch113_cuda0.pkl", tmp_path / "out")
        assert (code, "num_ws 9, 2,920 Gaussians" in out) == (0, True)
        code, out, _ = cli(capsys, "verify", tmp_path / "out", "--golden", folder / "mini" / "io.npz")
        assert code == 0
        for stage in (
            "wplus/fg/xyz",
            "intermediates/wplus/fg/block_32/mlp",
            "raster_inputs/psi1/1/viewmatrix",
            "grad/ws",
        ):
            assert re.search(rf"^{stage} ", out, re.M), stage

    @pytest.mark.slow
    def test_torch_versions_agree(self, shared):
        tags = ("", "_torch113", "_cuda0", "_torch113_cuda0")
        first, *others = (gsgan.convert(shared / "golden" / "gsgan" / f"gsgan_mini{tag}.pkl") for tag in tags)
        for other in others:
            assert other[0] == first[0]
            jax.tree.map(np.testing.assert_array_equal, other[1], first[1])

    def test_without_its_background(self, gsgan_file, tmp_path, capsys):
        code, out, _ = cli(capsys, "gsgan", gsgan_file, tmp_path / "out", "--foreground-only")
        assert (code, "2,720 Gaussians" in out) == (0, True)
        prior, variables = load(tmp_path / "out")
        assert prior.background == (1.0, 1.0, 1.0)
        scene = jax.jit(prior.gaussians)(variables, Latent(w=prior.mean_latent(variables)[None]))
        assert scene.mean.shape == (1, 2720, 3)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("rendering_kwargs.custom_options.output_multiplier", 2, "output_multiplier=2 is not supported"),
            ("rendering_kwargs.custom_options.res_end", 512, "res_end=512 must be"),
            ("rendering_kwargs.custom_options.num_pts", 16, "num_pts must be at least 17"),
            ("rendering_kwargs.custom_options.brand_new", True, "brand_new=True is unknown"),
            ("mapping_kwargs.layer_features", 64, "layer_features=64 is not supported"),
        ],
    )
    def test_options_that_are_not_ported(self, gsgan_file, name, value, message):
        found = checkpoints.read(gsgan_file)
        generator = checkpoints.ema_generator(found)
        options = flatten(checkpoints.plain(generator.state["_init_kwargs"]))
        tensors = checkpoints.arrays(checkpoints.state(generator), found)
        gsgan.config_from(options, tensors)
        with pytest.raises(Exception, match=message):
            gsgan.config_from(options | {name: value}, tensors)


class TestTensors:
    """Missing, extra, mis-shaped and non-finite tensors: one clear error each, and nothing is left behind."""

    @pytest.mark.parametrize("command", ["gghead", "gsgan"])
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t, name: t.pop(name), "1 tensors missing: {name}"),
            (
                lambda t, name: t.update({"extra.weight": t[name]}),
                "1 tensors that this network does not have: extra.weight",
            ),
            (lambda t, name: t.update({name: t[name][:-1]}), r"{name}: shape"),
            (
                lambda t, name: t.update({name: np.where(t[name] > 1, np.nan, t[name])}),
                r"{name}: \d+ of \d+ values are not finite",
            ),
            (lambda t, name: t.update({name: t[name].astype(np.int64)}), "{name}: has dtype int64"),
        ],
        ids=["missing", "extra", "mis-shaped", "not finite", "integers"],
    )
    def test_refused(self, run_folder, gsgan_file, tmp_path, capsys, monkeypatch, command, change, message):
        name = {"gghead": "backbone.mapping.embed.weight", "gsgan": "mapping_network.embed.weight"}[command]
        whole = checkpoints.arrays

        def changed(tensors, found):
            arrays = whole(tensors, found)
            change(arrays, name)
            return arrays

        monkeypatch.setattr(checkpoints, "arrays", changed)
        source = run_folder if command == "gghead" else gsgan_file
        code, out, err = cli(capsys, command, source, tmp_path / "out")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert re.search(message.format(name=re.escape(name)), err)
        assert not list(tmp_path.iterdir())

    def test_constants_are_checked(self, gsgan_file, monkeypatch):
        whole = checkpoints.arrays
        monkeypatch.setattr(
            checkpoints, "arrays", lambda t, f: whole(t, f) | {"point_gen.scale_init": np.zeros(3, np.float32)}
        )
        with pytest.raises(CheckpointError, match=r"point_gen.scale_init: is not the constant"):
            gsgan.convert(gsgan_file)

    def test_a_table_that_forgets_a_leaf_is_our_bug(self):
        shapes = {"params": {"a": jax.ShapeDtypeStruct((2,), jnp.float32), "b": jax.ShapeDtypeStruct((), jnp.float32)}}
        with pytest.raises(ValueError, match="params/b"):
            assemble(shapes, {"params/a": Source("a")}, {"a": np.zeros(2)}, constants={})

    def test_every_tensor_is_used_once(self):
        shapes = {"params": {"a": jax.ShapeDtypeStruct((2, 3), jnp.float32)}}
        made = assemble(
            shapes,
            {"params/a": Source("a", "dense")},
            {"a": np.arange(6.0).reshape(3, 2), "fir": np.ones(2)},
            constants={"fir": Constant((2,), 1.0)},
        )
        np.testing.assert_array_equal(made["params"]["a"], np.arange(6.0).reshape(3, 2).T)


class TestCommandLine:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ((), "required: COMMAND"),
            (("stylegan", "a", "b"), "invalid choice"),
            (("gghead", "nowhere", "OUT"), "nowhere: no such file or folder"),
            (("gghead", ".", "OUT"), "no checkpoints/checkpoint-<kimg>.pkl"),
            (("gsgan", "nowhere.pkl", "OUT"), "nowhere.pkl: cannot be read"),
            (("gsgan", "pyproject.toml", "OUT"), "neither a pickle nor a zip"),
            (("inspect", "."), "cannot be read"),
            (("verify", "nowhere", "--golden", "a.npz"), "nowhere: no prior there"),
            (("verify", "nowhere"), "verify needs --golden io.npz, --torch, or both"),
        ],
    )
    def test_mistakes_are_one_line(self, capsys, tmp_path, words, message):
        out = tmp_path / "out"
        code, printed, err = cli(capsys, *(out if word == "OUT" else word for word in words))
        assert (code, printed, err.count("\n")) == (2, "", 1)
        assert err.startswith("error: ")
        assert message in err
        assert not out.exists()

    def test_an_existing_folder_is_kept(self, capsys, tmp_path, run_folder):
        (tmp_path / "notes.txt").write_text("mine")
        code, _, err = cli(capsys, "gghead", run_folder, tmp_path)
        assert (code, "exists already" in err) == (2, True)
        assert (tmp_path / "notes.txt").read_text() == "mine"

    def test_truncated_file(self, capsys, tmp_path, gsgan_file):
        cut = tmp_path / "cut.pkl"
        cut.write_bytes(gsgan_file.read_bytes()[:1_000_000])
        code, _, err = cli(capsys, "gsgan", cut, tmp_path / "out")
        assert code == 2
        assert "the file ends where" in err
        assert [path.name for path in tmp_path.iterdir()] == ["cut.pkl"]

    def test_the_wrong_converter(self, capsys, tmp_path, gsgan_file):
        code, _, err = cli(capsys, "gghead", gsgan_file, tmp_path / "out")
        assert (code, "has no options (_config)" in err) == (2, True)

    def test_inspect(self, capsys, run_folder, gsgan_file):
        code, out, _ = cli(capsys, "inspect", next(run_folder.glob("checkpoints/*.pkl")))
        assert code == 0
        for line in (
            "G_ema: GGHeadModel, 85 tensors",
            "  gaussian_attribute_config.sh_degree = 1",
            r"  backbone\.synthesis\.b4\.const +float32 +\(24, 4, 4\)",
            "D: GaussianDiscriminator",
        ):
            assert re.search(line, out), line
        code, out, _ = cli(capsys, "inspect", gsgan_file)
        assert "G_ema: GSGenerator, 297 tensors" in out

    def test_golden_files_that_are_none(self, capsys, tmp_path, run_folder):
        cli(capsys, "gghead", run_folder, tmp_path / "out")
        (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
        code, _, err = cli(capsys, "verify", tmp_path / "out", "--golden", tmp_path / "bad.npz")
        assert (code, "not a readable npz" in err) == (2, True)
        np.savez(tmp_path / "other.npz", images=np.zeros(3))
        code, _, err = cli(capsys, "verify", tmp_path / "out", "--golden", tmp_path / "other.npz")
        assert (code, "holds none of the arrays" in err) == (2, True)
