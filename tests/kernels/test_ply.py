""".ply files: what is written comes back, what others wrote is understood, and what is damaged is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import Gaussians, rasterize, read_ply, write_ply
from tests.kernels.scenes import load_scene, look, random_gaussians

NAMES = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
TAIL = ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def extremes(key, sh: int) -> Gaussians:
    """Scales from 1e-12 to 1e6, opacities 0, 1 and next to them."""
    gaussians = random_gaussians(key, count=300, sh=sh)
    scales = jnp.exp(jax.random.uniform(key, (300, 3), minval=-27.0, maxval=14.0))
    edge = jnp.asarray([0, 1, np.nextafter(np.float32(1), np.float32(0)), 1e-7, 1e-30, 0.5])
    return gaussians._replace(scales=scales, opacities=gaussians.opacities.at[: len(edge)].set(edge))


@pytest.mark.parametrize("sh", [1, 4, 9, 16])
def test_exact_round_trip(tmp_path, sh):
    """Bit for bit, scales and opacities included."""
    given = extremes(jax.random.key(sh), sh)
    write_ply(tmp_path / "a.ply", given, exact=True)
    back = read_ply(tmp_path / "a.ply")
    for name in ("means", "quats", "scales", "opacities", "sh"):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name), err_msg=name)
        assert getattr(back, name).dtype == np.float32


@pytest.mark.parametrize("sh", [1, 16])
def test_standard_round_trip(tmp_path, sh):
    """Bit for bit but for float32 logarithms and logits: half a unit in the last place of |log| ≤ 32 is 2e-6 of a
    scale. The file itself comes back byte for byte."""
    given = extremes(jax.random.key(sh), sh)
    write_ply(tmp_path / "a.ply", given)
    back = read_ply(tmp_path / "a.ply")
    for name in ("means", "quats", "sh"):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name), err_msg=name)
    np.testing.assert_allclose(back.scales, given.scales, rtol=2e-6)
    np.testing.assert_allclose(back.opacities, given.opacities, rtol=4e-6)  # logits to 70
    np.testing.assert_array_equal(back.opacities[:2], [0, 1])
    write_ply(tmp_path / "b.ply", read_ply(tmp_path / "a.ply", dtype=np.float64))
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()


def test_file_is_laid_out_as_3dgs_does(tmp_path):
    """Names, order and values read by hand: float32 little-endian; f_rest holds all of red, then green, then blue."""
    given = random_gaussians(jax.random.key(0), count=7, sh=4)
    write_ply(tmp_path / "a.ply", given)
    header, data = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    lines = header.decode().splitlines()
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "element vertex 7"]
    names = NAMES + [f"f_rest_{i}" for i in range(9)] + TAIL
    assert lines[3:] == [f"property float {name}" for name in names]
    table = np.frombuffer(data, "<f4").reshape(7, len(names))
    column = dict(zip(names, table.T, strict=True))
    np.testing.assert_array_equal(column["x"], given.means[:, 0])
    np.testing.assert_array_equal(column["nx"], 0)
    np.testing.assert_array_equal(column["f_dc_1"], given.sh[:, 0, 1])
    np.testing.assert_array_equal(column["f_rest_1"], given.sh[:, 2, 0])  # red's second
    np.testing.assert_array_equal(column["f_rest_3"], given.sh[:, 1, 1])  # green's first
    np.testing.assert_array_equal(column["rot_0"], given.quats[:, 0])
    np.testing.assert_allclose(column["scale_2"], np.log(given.scales[:, 2]), rtol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-column["opacity"])), given.opacities, rtol=1e-5)


def test_pictures_are_the_same(tmp_path, shared):
    """A head with RGB colours, written, read and drawn: 1e-4, as the logarithms' rounding moves no edge by more."""
    scene = load_scene(shared / "scenes" / "tiny_300.npz")
    write_ply(tmp_path / "a.ply", scene.gaussians)
    back = jax.tree.map(jnp.asarray, read_ply(tmp_path / "a.ply"))
    pictures = [
        rasterize(gaussians, scene.camera, width=scene.width, height=scene.height, implementation="numba").image
        for gaussians in (scene.gaussians, back)
    ]
    assert float(pictures[0].std()) > 0.05
    assert float(jnp.mean(jnp.abs(pictures[0] - pictures[1]) > 1e-4)) <= 1e-3


def test_reads_what_others_write(tmp_path):
    """Other order, types and line ends, comments, properties of their own, elements behind, big-endian; no normals."""
    given = random_gaussians(jax.random.key(1), count=5, sh=1)
    write_ply(tmp_path / "a.ply", given, exact=True)
    table = np.frombuffer((tmp_path / "a.ply").read_bytes().split(b"end_header\n")[1], "<f4").reshape(5, -1)
    column = dict(
        zip([*NAMES, *TAIL, "scale_low_0", "scale_low_1", "scale_low_2", "opacity_low"], table.T, strict=True)
    )
    names = [*TAIL[::-1], "x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2"]
    row = np.dtype([("red", "u1"), *[(name, ">f8") for name in names]])
    other = np.zeros(5, row)
    for name in names:
        other[name] = column[name]
    lines = ["ply", "format binary_big_endian 1.0", "comment made elsewhere", "element vertex 5", "property uchar red"]
    lines += [f"property double {name}" for name in names] + ["element camera 1", "property list uchar int ids"]
    (tmp_path / "b.ply").write_bytes("\r\n".join([*lines, "end_header", ""]).encode() + other.tobytes() + b"\1" * 5)
    back = read_ply(tmp_path / "b.ply")
    np.testing.assert_array_equal(back.means, given.means)
    np.testing.assert_array_equal(back.sh, given.sh)
    np.testing.assert_allclose(back.scales, given.scales, rtol=2e-6)


def test_no_gaussians(tmp_path):
    write_ply(tmp_path / "a.ply", random_gaussians(jax.random.key(0), count=0))
    assert read_ply(tmp_path / "a.ply").sh.shape == (0, 1, 3)


DAMAGE = {
    "cut off: 40 Gaussians need 2720 bytes, 2719 are there": lambda data: data[:-1],
    "3 bytes more than its 40 Gaussians need": lambda data: data + b"abc",
    "does not begin with 'ply'": lambda data: data[1:],
    "header does not end": lambda data: data[:100],
    "only binary files are read": lambda data: data.replace(b"binary_little_endian", b"ascii"),
    "cannot understand its header's line 'property flout opacity'": lambda data: data.replace(
        b"float opacity", b"flout opacity"
    ),
    "cannot understand its header's line 'element vertex many'": lambda data: data.replace(
        b"vertex 40", b"vertex many"
    ),
    "it has no opacity": lambda data: data.replace(b"float opacity", b"float opaque"),
    "names a property twice": lambda data: data.replace(b"float nx", b"float x"),
    "1 properties f_rest_": lambda data: data.replace(b"float nx", b"float f_rest_0"),
    "first element must be 'vertex'": lambda data: data.replace(b"element vertex", b"element point"),
    "a compressed .ply": lambda data: data.replace(b"element vertex", b"element chunk"),
    "names no format": lambda data: data.replace(b"format binary_little_endian 1.0\n", b""),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_named(tmp_path, message):
    path = tmp_path / "a.ply"
    write_ply(path, random_gaussians(jax.random.key(0), count=40))
    path.write_bytes(DAMAGE[message](path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        read_ply(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("scales must be positive.*Gaussian 3 is not", {"scales": 0.0}),
        ("opacities must be within", {"opacities": 1.5}),
        ("means must be finite", {"means": jnp.nan}),
        ("colors\\) must be finite", {"colors": jnp.inf}),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, message, change):
    gaussians = random_gaussians(jax.random.key(0), count=9)
    ((name, value),) = change.items()
    bad = gaussians._replace(**{name: getattr(gaussians, name).at[3].set(value)})
    with pytest.raises(ValueError, match=message):
        write_ply(tmp_path / "a.ply", bad)
    assert not (tmp_path / "a.ply").exists()


def test_batches_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one scene at a time"):
        write_ply(tmp_path / "a.ply", random_gaussians(jax.random.key(0), (2,), count=3))
    with pytest.raises(FileNotFoundError):
        read_ply(tmp_path / "none.ply")


def test_render_from_file_takes_gradients(tmp_path):
    """What comes back can be trained on."""
    write_ply(tmp_path / "a.ply", random_gaussians(jax.random.key(0), count=30, sh=4))
    gaussians = jax.tree.map(jnp.asarray, read_ply(tmp_path / "a.ply"))
    gradient = jax.grad(lambda g: rasterize(g, look(), width=40, height=32, implementation="numba").image.sum())(
        gaussians
    )
    assert float(jnp.abs(gradient.sh).max()) > 0
