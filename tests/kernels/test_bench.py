"""The bench as a user runs it: results complete, pictures compared, refusals told, mistakes named."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import kernels
from benchmarks import __main__ as program
from benchmarks import opensplat, splats, workloads
from kernels import api, pallas_triton

FIELDS = {
    "of": str,
    "workload": str,
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
    if jax.default_backend() != "cpu":
        pytest.skip("numba is one of the two, and runs on a CPU")
    command = ["splats", "--workload", "tiny_300", "--of", "numba,reference,pallas_triton,splax"]
    assert program.main([*command, "--repeat", "3", "--json", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*.json")  # named after the processor
    written = json.loads(path.read_text())
    assert [one["of"] for one in written["results"]] == ["numba", "reference"]
    for one in written["results"]:
        for name, kind in FIELDS.items():
            assert isinstance(one[name], kind), name
        assert one["workload"] == "tiny_300"
        assert 0 < one["forward_ms_min"] <= one["forward_ms"] < 60_000
        assert 0 < one["forward_backward_ms_min"] <= one["forward_backward_ms"] < 60_000
        assert one["peak_mb"] > 0
        assert one["versions"]["jax"]
        assert one["unlike_the_first"] == 0
    assert written["results"][0]["psnr_to_the_first"] is None
    assert written["results"][1]["psnr_to_the_first"] > 100  # two ways to round
    assert written["results"][0]["forward_ratio"] == 1
    reasons = {one["of"]: one["reason"] for one in written["skipped"]}
    assert "needs a GPU" in reasons["pallas_triton"]
    assert "splax" in reasons["splax"]
    out = capsys.readouterr().out
    assert "not measured: splax on tiny_300" in out
    assert "numba" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--of", "cuda"], "unknown cuda; choose from reference, xla, numba, pallas_triton, gsplat"),
        ([], "required: --of"),
    ],
)
def test_mistakes_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(["splats", "--workload", "a.npz", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_convolutions(tmp_path, capsys):
    """Both give the same pictures; what is no workload is named."""
    command = ["convolutions", "--of", "direct,winograd", "--repeat", "1", "--warmup", "0", "--no-memory"]
    assert program.main([*command, "--workload", "8x3", "--json", str(tmp_path / "a.json")]) == 0
    direct, other = json.loads((tmp_path / "a.json").read_text())["results"]
    assert (direct["of"], other["of"]) == ("direct", "winograd")
    assert other["unlike_the_first"] == 0
    assert not other["pays"]
    assert program.main([*command, "--workload", "large"]) == 2
    assert "64x512 is one" in capsys.readouterr().err
    assert program.main([*command, "--workload", "9x3"]) == 2


def test_an_unknown_bench_is_told(capsys):
    assert program.main(["rockets"]) == 2
    assert "{splats,priors,convolutions,features,hearing,lips,scaling,strangers}" in capsys.readouterr().err


def test_scenes_that_are_none(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", means=np.zeros((3, 3)))
    for name in ("a.npz", "none.npz"):
        assert program.main(["splats", "--workload", str(tmp_path / name), "--of", "xla"]) == 2
        assert "not a scene" in capsys.readouterr().err


def test_a_device_that_is_not_here(capsys):
    assert program.main(["splats", "--workload", "a.npz", "--of", "xla", "--device", "tpu"]) == 2
    assert "no tpu here" in capsys.readouterr().err


@pytest.mark.parametrize("named", [False, True])
def test_a_peer_that_is_not_here_says_where_it_is_from(shared, named, tmp_path, monkeypatch, capsys):
    """OpenSplat's code is compiled from a checkout of the user's: none is named, or it is something else."""
    monkeypatch.delenv("OPENSPLAT", raising=False)
    if named:
        monkeypatch.setenv("OPENSPLAT", str(tmp_path))
    assert program.main(["splats", "--workload", "tiny_300", "--of", "opensplat", "--no-memory"]) == 2
    told = capsys.readouterr().out
    assert "OPENSPLAT does not name a checkout of github.com/pierotofy/OpenSplat" in told
    assert (str(tmp_path) in told) == named


def test_opensplat_is_shown_the_same_camera():
    """Its projection matrix puts a point where the pinhole camera does: OpenGL's clip coordinates, pixel by pixel."""
    focal = np.array([[130.0, 0, 50.5], [0, 120.0, 41.0], [0, 0, 1]])
    point = np.array([0.3, -0.2, 2.5, 1.0])
    x, y, z, w = opensplat._projection(focal, 96, 80) @ point
    np.testing.assert_allclose(((x / w + 1) * 48, (y / w + 1) * 40), (focal @ point[:3] / 2.5)[:2], rtol=1e-12)
    assert w == 2.5
    nearer = opensplat._projection(focal, 96, 80) @ np.array([0.3, -0.2, 2.4, 1.0])
    assert nearer[2] / nearer[3] < z / w


def test_more_threads_than_there_are(capsys):
    assert program.main(["splats", "--of", "xla", "--threads", "100000"]) == 2
    assert "100000 threads wanted" in capsys.readouterr().err


def test_overflow_stops_the_bench(shared, capsys):
    """A picture with Gaussians missing is no result."""
    arguments = ["--of", "xla", "--capacity", "64", "--repeat", "1", "--no-memory"]
    assert program.main(["splats", "--workload", "tiny_300", *arguments]) == 2
    assert "capacity 64 is too small by" in capsys.readouterr().err


def test_batches_are_copies(shared):
    workload = workloads.load("tiny_300", 3)
    assert workload.gaussians.means.shape == (3, 300, 3)
    assert workload.camera.intrinsics.shape == (3, 1, 3, 3)
    assert splats.cotangent(workload).shape == (3, 1, 48, 48, 3)
