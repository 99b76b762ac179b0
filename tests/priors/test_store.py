"""A prior on disk: what is written is what is read, and damage is named."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jax_talker.errors import UserError
from jax_talker.priors import load, save, store


def test_round_trip(small, tmp_path):
    prior, variables = small
    save(tmp_path / "prior", prior, variables, card="# A prior\n")
    again, restored = load(tmp_path / "prior")
    assert again == prior
    jax.tree.map(np.testing.assert_array_equal, variables, restored)
    assert (tmp_path / "prior" / "README.md").read_text() == "# A prior\n"
    assert [p.name for p in tmp_path.iterdir()] == ["prior"]


class TestExpressions:
    """Directions of W+ for ARKit units, beside priors that know them."""

    @pytest.fixture
    def folder(self, small, tmp_path):
        save(tmp_path / "prior", *small, card="")
        return tmp_path / "prior"

    def written(self, folder, directions):
        safetensors.numpy.save_file(directions, folder / store.EXPRESSIONS)

    def test_are_read(self, small, folder):
        direction = np.arange(small[0].num_ws * 6, dtype=np.float16).reshape(-1, 6)
        self.written(folder, {"jawOpen": direction})
        found = store.expressions(folder, small[0])
        assert list(found) == ["jawOpen"]
        assert found["jawOpen"].dtype == np.float32
        np.testing.assert_array_equal(found["jawOpen"], direction)

    def test_a_prior_may_know_none(self, small, folder):
        assert store.expressions(folder, small[0]) == {}

    @pytest.mark.parametrize("direction", [np.zeros((1, 6)), np.full((14, 6), np.nan)], ids=["shape", "finite"])
    def test_of_another_prior(self, small, folder, direction):
        self.written(folder, {"jawOpen": direction[: small[0].num_ws].astype(np.float32)})
        with pytest.raises(UserError, match="jawOpen is no finite"):
            store.expressions(folder, small[0])

    def test_damaged(self, small, folder):
        (folder / store.EXPRESSIONS).write_bytes(b"directions")
        with pytest.raises(UserError, match="damaged"):
            store.expressions(folder, small[0])


def test_half_precision(small, tmp_path):
    prior, variables = small
    save(tmp_path / "prior", prior, variables, card="", dtype="float16")
    _, restored = load(tmp_path / "prior")
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(restored))
    np.testing.assert_array_equal(restored["buffers"]["base_position"], variables["buffers"]["base_position"])
    # float16 has 11 significant bits
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-11, atol=1e-7), variables, restored)
    stored = safetensors.numpy.load_file(tmp_path / "prior" / "params.safetensors")
    assert {str(a.dtype) for name, a in stored.items() if name.startswith("params/")} == {"float16"}


def test_compute_travels_with_the_call(small, tmp_path):
    prior, variables = small
    save(tmp_path / "prior", prior, variables, card="")
    assert load(tmp_path / "prior", compute="bfloat16")[0].compute == "bfloat16"
    with pytest.raises(ValueError, match="compute must be one of"):
        load(tmp_path / "prior", compute="int4")


def test_an_existing_folder_is_not_overwritten_unasked(small, tmp_path):
    prior, variables = small
    save(tmp_path / "prior", prior, variables, card="one")
    with pytest.raises(UserError, match="exists already"):
        save(tmp_path / "prior", prior, variables, card="two")
    save(tmp_path / "prior", prior, variables, card="two", overwrite=True)
    assert (tmp_path / "prior" / "README.md").read_text() == "two"


class TestOverwrite:
    """``overwrite`` replaces a prior and nothing else."""

    @pytest.fixture
    def write(self, small):
        return lambda folder: save(folder, *small, card="new", overwrite=True)

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ({"thesis.tex": "mine", "photos/one.jpg": "mine"}, "is no prior"),
            ({"config.json": '{"model_type": "bert"}', "weights.bin": "mine"}, "not that of a prior"),
            ({"config.json": "{", "params.safetensors": "mine"}, "not that of a prior"),
            ({"config.json": "[" * 100_000}, "not that of a prior"),
            ({"config.json": '{"format": 1, "kind": ["gghead"]}'}, "not that of a prior"),
            ({"config.json": '{"format": 1, "kind": "gghead"}', "notes.txt": "mine"}, "holds notes.txt as well"),
            ({"config.json": '{"format": 1, "kind": "gghead"}', "README.md/a": "mine"}, "holds README.md as well"),
        ],
    )
    def test_what_is_not_ours_is_kept(self, write, tmp_path, files, message):
        for name, text in files.items():
            (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "out" / name).write_text(text)
        with pytest.raises(UserError, match=message):
            write(tmp_path / "out")
        assert {name: (tmp_path / "out" / name).read_text() for name in files} == files
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
    def test_a_pipe_is_not_waited_for(self, write, tmp_path):
        (tmp_path / "out").mkdir()
        os.mkfifo(tmp_path / "out" / "config.json")
        with pytest.raises(UserError, match="not that of a prior"):
            write(tmp_path / "out")

    def test_a_file_is_kept(self, write, tmp_path):
        (tmp_path / "out").write_text("mine")
        with pytest.raises(UserError, match="is a file"):
            write(tmp_path / "out")
        assert (tmp_path / "out").read_text() == "mine"

    def test_an_empty_folder_and_a_persons_prior(self, small, write, tmp_path):
        (tmp_path / "out").mkdir()
        write(tmp_path / "out")
        (tmp_path / "out" / "anchor.safetensors").write_bytes(b"latents of the generator that goes")
        write(tmp_path / "out")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "README.md",
            "config.json",
            "params.safetensors",
        ]

    def test_links_are_written_through(self, write, tmp_path):
        (tmp_path / "far").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "far", target_is_directory=True)
        write(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert load(tmp_path / "far")[0] == load(tmp_path / "link")[0]
        write(tmp_path / "link")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "link"]

    def test_a_link_to_someones_folder_is_refused(self, write, tmp_path):
        (tmp_path / "far").mkdir()
        (tmp_path / "far" / "thesis.tex").write_text("mine")
        (tmp_path / "link").symlink_to(tmp_path / "far")
        with pytest.raises(UserError, match="is no prior"):
            write(tmp_path / "link")
        assert (tmp_path / "far" / "thesis.tex").read_text() == "mine"

    def test_links_in_a_circle(self, write, tmp_path):
        (tmp_path / "a").symlink_to(tmp_path / "b")
        (tmp_path / "b").symlink_to(tmp_path / "a")
        with pytest.raises(UserError, match="cannot be written"):
            write(tmp_path / "a")

    def test_the_old_one_comes_back_when_the_exchange_fails(self, small, write, tmp_path, monkeypatch):
        write(tmp_path / "out")
        rename = type(tmp_path).rename

        def fail(path, target):
            if path.name.endswith(".partial"):
                raise OSError(5, "Input/output error")
            return rename(path, target)

        monkeypatch.setattr(type(tmp_path), "rename", fail)
        with pytest.raises(OSError, match="Input/output"):
            save(tmp_path / "out", *small, card="newer", overwrite=True)
        assert (tmp_path / "out" / "README.md").read_text() == "new"
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_not_saved(small, tmp_path, value):
    prior, variables = small
    broken = {**variables, "buffers": {**variables["buffers"], "w_avg": jnp.full(6, value)}}
    with pytest.raises(UserError, match=r"buffers/w_avg.*not finite"):
        save(tmp_path / "prior", prior, broken, card="")
    assert not list(tmp_path.iterdir())


def test_values_beyond_half_precision_are_not_saved_in_it(small, tmp_path):
    prior, variables = small
    broken = {**variables, "buffers": {**variables["buffers"], "w_avg": jnp.full(6, 1e6)}}
    with pytest.raises(UserError, match="beyond float16"), np.errstate(over="ignore"):
        save(tmp_path / "prior", prior, broken, card="", dtype="float16")
    assert not list(tmp_path.iterdir())


def test_interruption_leaves_nothing(small, tmp_path, monkeypatch):
    prior, variables = small

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(store.json, "dumps", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "prior", prior, variables, card="")
    assert not list(tmp_path.iterdir())


class TestDamage:
    @pytest.fixture
    def folder(self, small, tmp_path):
        prior, variables = small
        save(tmp_path / "prior", prior, variables, card="")
        return tmp_path / "prior"

    def rewrite(self, folder, change):
        arrays = safetensors.numpy.load_file(folder / "params.safetensors")
        change(arrays)
        safetensors.numpy.save_file(arrays, folder / "params.safetensors")

    def test_absent(self, tmp_path):
        with pytest.raises(UserError, match="no prior there"):
            load(tmp_path / "nothing")

    def test_config(self, folder):
        (folder / "config.json").write_text("{")
        with pytest.raises(UserError, match=r"config.json: damaged"):
            load(folder)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [("format", 9, "format 9"), ("kind", "stylenerf", "kind 'stylenerf'"), ("options", {"depth": 1}, "depth")],
    )
    def test_of_another_version(self, folder, key, value, message):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(UserError, match=message):
            load(folder)

    def test_truncated(self, folder):
        path = folder / "params.safetensors"
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(UserError, match="damaged"):
            load(folder)

    def test_no_arrays(self, folder):
        (folder / "params.safetensors").unlink()
        with pytest.raises(UserError, match="missing"):
            load(folder)

    def test_array_missing(self, folder):
        self.rewrite(folder, lambda arrays: arrays.pop("buffers/w_avg"))
        with pytest.raises(UserError, match="buffers/w_avg"):
            load(folder)

    def test_array_of_another_shape(self, folder):
        self.rewrite(folder, lambda arrays: arrays.update({"buffers/w_avg": np.zeros(7, np.float32)}))
        with pytest.raises(UserError, match="w_avg is float32"):
            load(folder)

    def test_array_of_another_kind(self, folder):
        self.rewrite(folder, lambda arrays: arrays.update({"buffers/w_avg": np.zeros(6, np.int32)}))
        with pytest.raises(UserError, match="w_avg is int32"):
            load(folder)

    def test_not_finite(self, folder):
        self.rewrite(folder, lambda arrays: arrays.update({"buffers/w_avg": np.full(6, np.nan, np.float32)}))
        with pytest.raises(UserError, match="w_avg holds values that are not finite"):
            load(folder)
