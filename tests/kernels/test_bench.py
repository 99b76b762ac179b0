"""The bench as a user runs it: results complete, pictures compared, refusals told, mistakes named."""

import json
from pathlib import Path

import numpy as np
import pytest

import kernels
from kernels import api, bench, pallas_triton, programs

FIELDS = {
    "implementation": str,
    "scene": str,
    "forward_ms": float,
    "forward_backward_ms": float,
    "compile_s": float,
    "peak_mb": float,
    "device": str,
    "versions": dict,
}


def test_results(shared, tmp_path, monkeypatch, capsys):
    """Two implementations that run, one that refuses, a peer that is not here (nor can be: no GPU)."""
    monkeypatch.setitem(api.IMPLEMENTATIONS, "pallas_triton", pallas_triton.rasterize)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(Path(kernels.__file__).parent / "__pycache__"))  # compiled before
    if bench.jax.default_backend() != "cpu":
        pytest.skip("numba is one of the two, and runs on a CPU")
    scene = shared / "scenes" / "tiny_300.npz"
    command = [
        "--implementation",
        "numba,reference,pallas_triton",
        "--peer",
        "splax",
        "--repeat",
        "3",
        "--json",
        str(tmp_path),
    ]
    assert bench.main(["--scene", str(scene), *command]) == 0
    (path,) = tmp_path.glob("*.json")  # named after the processor
    written = json.loads(path.read_text())
    assert [one["implementation"] for one in written["results"]] == ["numba", "reference"]
    for one in written["results"]:
        for name, kind in FIELDS.items():
            assert isinstance(one[name], kind), name
        assert one["scene"] == "tiny_300"
        assert 0 < one["forward_ms_min"] <= one["forward_ms"] < 60_000
        assert 0 < one["forward_backward_ms_min"] <= one["forward_backward_ms"] < 60_000
        assert one["peak_mb"] > 0
        assert one["versions"]["jax"]
        assert one["pixels_unlike_the_first"] == 0
    assert written["results"][0]["forward_ratio"] == 1
    reasons = {one["implementation"]: one["reason"] for one in written["skipped"]}
    assert "needs a GPU" in reasons["pallas_triton"]
    assert "splax" in reasons["splax"]
    out = capsys.readouterr().out
    assert "not measured: splax on tiny_300" in out
    assert "numba" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--implementation", "cuda"], "unknown cuda; choose from reference, xla, numba, pallas_triton"),
        (["--peer", "diff"], "unknown diff; choose from gsplat, splax"),
        ([], "at least one"),
    ],
)
def test_mistakes_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(["--scene", "a.npz", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_scenes_that_are_none(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", means=np.zeros((3, 3)))
    for name in ("a.npz", "none.npz"):
        assert bench.main(["--scene", str(tmp_path / name), "--implementation", "xla"]) == 2
        assert "not a scene for the bench" in capsys.readouterr().err


def test_a_device_that_is_not_here(tmp_path, capsys):
    assert bench.main(["--scene", "a.npz", "--implementation", "xla", "--device", "tpu"]) == 2
    assert "no tpu here" in capsys.readouterr().err


def test_overflow_stops_the_bench(shared, capsys):
    """A picture with Gaussians missing is no result."""
    scene = str(shared / "scenes" / "tiny_300.npz")
    arguments = ["--scene", scene, "--implementation", "xla", "--capacity", "64", "--repeat", "1", "--no-memory"]
    assert bench.main(arguments) == 2
    assert "capacity 64 is too small by" in capsys.readouterr().err


def test_batches_are_copies(shared):
    workload = programs.load(shared / "scenes" / "tiny_300.npz", 3)
    assert workload.gaussians.means.shape == (3, 300, 3)
    assert workload.camera.intrinsics.shape == (3, 1, 3, 3)
