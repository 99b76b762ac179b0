"""Baking against the original's template, and on meshes whose answer is known."""

import numpy as np
import pytest

from jax_talker.errors import UserError
from jax_talker.priors import template as templates
from jax_talker.priors.template import Mesh, bake, ellipsoid, read_obj

SQUARE = """
v -1 -2 0.5
v 3 -2 0.5
v 3 2 0.5
v -1 2 0.5
vt 0 0
vt 1 0
vt 1 1
vt 0 1
f 1/1/1 2/2/1 3/3/1 4/4/1
"""


def square() -> Mesh:
    """A plane x = 4u − 1, y = 4v − 2 that covers the whole texture."""
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    vertices = np.column_stack([4 * uvs[:, 0] - 1, 4 * uvs[:, 1] - 2, np.full(4, 0.5)])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return Mesh(vertices, uvs, faces, faces)


def test_golden(shared):
    folder = shared / "golden" / "gghead"
    golden = np.load(folder / "template.npz")
    got = bake(read_obj(folder / "template.obj"), plane_resolution=32, uv_samples=24)
    np.testing.assert_array_equal(got.valid, golden["texel_valid"])
    # The original works in float32, we in float64 until the end: one rounding of numbers up to 1.
    np.testing.assert_allclose(got.uv, golden["uv_grid"][0, :, 0], atol=1e-7)
    np.testing.assert_allclose(got.base_position, golden["flame_vertices"][0], atol=3e-7)
    np.testing.assert_allclose(got.position_map, np.moveaxis(golden["uv_position_map_registered"], 0, -1), atol=3e-7)
    position_map, _ = templates.rasterise(read_obj(folder / "template.obj"), 32)
    np.testing.assert_allclose(position_map, golden["position_map_unregistered_HW3"], atol=3e-7)


def test_full_size_golden(shared):
    folder = shared / "golden" / "gghead"
    golden = np.load(folder / "full512_out.npz")
    got = bake(read_obj(folder / "template.obj"), plane_resolution=256, uv_samples=512)
    assert len(got.uv) == 213_584
    np.testing.assert_allclose(got.uv[golden["sel"]], golden["uv_grid_sel"], atol=1e-7)
    np.testing.assert_allclose(got.base_position[golden["sel"]], golden["flame_vertices_sel"], atol=3e-7)


@pytest.mark.parametrize("align_corners", [False, True])
def test_points_lie_on_the_mesh(align_corners):
    """On a plane the bilinear lookup is exact: texel centres hold x = 4u − 1."""
    got = bake(square(), plane_resolution=32, uv_samples=17, register=False, align_corners=align_corners)
    assert got.valid.all()
    u, v = got.uv.T.astype(float)
    if align_corners:  # −1 and 1 are then the first and last texel's centres, (½)/32 and (31½)/32
        assert len(got.uv) == 17**2
        u, v = u * 31 / 32, v * 31 / 32
    else:  # the outermost samples see the zeros outside
        assert len(got.uv) == 15**2
    expected = np.stack([4 * (u + 1) / 2 - 1, 4 * (v + 1) / 2 - 2, np.full_like(u, 0.5)], -1)
    np.testing.assert_allclose(got.base_position, expected, atol=1e-6)


def test_registration_is_the_published_transform():
    free, registered = (bake(square(), plane_resolution=16, uv_samples=9, register=r) for r in (False, True))
    expected = free.base_position @ templates.FLAME_TO_WORLD[:, :3].T + templates.FLAME_TO_WORLD[:, 3]
    np.testing.assert_allclose(registered.base_position, expected, atol=1e-6)


def test_islands_keep_their_distance():
    """Two islands (a face and a mouth, say): no point mixes them, and points near any border are dropped."""
    left, right = square(), square()
    uvs = np.concatenate([left.uvs * [0.45, 1], right.uvs * [0.45, 1] + [0.55, 0]])
    vertices = np.concatenate([left.vertices, right.vertices + np.array([0, 0, 10])])
    faces = np.concatenate([left.faces, right.faces + 4])
    got = bake(Mesh(vertices, uvs, faces, faces), plane_resolution=64, uv_samples=50, register=False)
    depth = got.base_position[:, 2]
    assert np.all(np.isclose(depth, 0.5, atol=1e-5) | np.isclose(depth, 10.5, atol=1e-4))
    assert (depth < 5).sum() == (depth > 5).sum() > 800
    assert np.all((got.uv[:, 0] < -0.1) == (depth < 5))


def test_lowest_numbered_triangle_wins():
    mesh = square()
    vertices = np.concatenate([mesh.vertices, mesh.vertices + np.array([0, 0, 1])])
    faces = np.concatenate([mesh.faces, mesh.faces + 4])
    doubled = Mesh(vertices, np.concatenate([mesh.uvs, mesh.uvs]), faces, faces)
    positions, valid = templates.rasterise(doubled, 8)
    assert valid.all()
    np.testing.assert_allclose(positions[..., 2], 0.5)


def test_degenerate_triangles_are_skipped():
    mesh = square()
    flat = np.array([[0, 1, 1], [0, 0, 0]])
    with_flat = Mesh(mesh.vertices, mesh.uvs, np.concatenate([flat, mesh.faces]), np.concatenate([flat, mesh.faces]))
    np.testing.assert_array_equal(templates.rasterise(with_flat, 8)[0], templates.rasterise(mesh, 8)[0])


def test_obj_quads_and_normals(tmp_path):
    path = tmp_path / "square.obj"
    path.write_text("# comment\no thing\ns off\n" + SQUARE)
    got = read_obj(path)
    np.testing.assert_allclose(got.vertices, square().vertices)
    np.testing.assert_array_equal(got.faces, square().faces)
    path.write_text(SQUARE.replace("1/1/1 2/2/1 3/3/1 4/4/1", "-4/-4 -3/-3 -2/-2 -1/-1"))
    np.testing.assert_array_equal(read_obj(path).face_uvs, square().face_uvs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no faces found"),
        (SQUARE.replace("1/1/1", "1//1"), "square.obj:10: .*texture coordinates"),
        (SQUARE.replace("4/4/1", "5/4/1"), "does not exist"),
        (SQUARE.replace("4/4/1", "0/4/1"), "start at 1"),
        (SQUARE.replace("v 3 2 0.5", "v 3 two 0.5"), "square.obj:4: "),
        (SQUARE.replace("v 3 2 0.5", "v 3 2"), "three numbers"),
    ],
)
def test_unusable_objs_are_refused(tmp_path, text, message):
    path = tmp_path / "square.obj"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_obj(path)


def test_a_mesh_off_the_texture_is_refused():
    mesh = square()
    with pytest.raises(UserError, match=r"cover none"):
        bake(Mesh(mesh.vertices, mesh.uvs + 5, mesh.faces, mesh.face_uvs), plane_resolution=16, uv_samples=9)


def test_the_built_in_template_is_a_face_sized_patch_towards_the_camera():
    got = bake(ellipsoid(), plane_resolution=64, uv_samples=64, register=False)
    assert len(got.uv) > 0.8 * 64**2
    front = got.base_position[np.argmin(np.abs(got.uv).sum(1))]
    np.testing.assert_allclose(front, [0, 0, 0.22], atol=0.01)
    top = got.base_position[np.argmin(got.uv[:, 1])]
    assert top[1] > 0.2  # texture row 0 is the top of the head
