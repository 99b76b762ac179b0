"""The rasteriser and the light by themselves: known triangles, known answers."""

import numpy as np
import pytest

from jax_talker.people import light
from jax_talker.people.raster import DISPLAY, LINEAR, STEPS, Textures, composite, levels_of, nearest

SIZE = 32


def quad(z, left=0.0, right=SIZE, top=0.0, bottom=SIZE):
    """Two triangles that cover a rectangle of pixels at depths z (left edge, right edge)."""
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    depth = np.array([z[0], z[1], z[1], z[0]], np.float32)
    return corners, 1 / depth, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


UV = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


def drawn(quads, images, *, soft=(), fine=1):
    """Composite quads; their textures are lit by 1 and have no highlight, their part is their number plus one."""
    at = np.cumsum([0] + [4] * len(quads))[:-1]
    pixels = np.concatenate([q[0] for q in quads]) * fine
    inverse = np.concatenate([q[1] for q in quads])
    faces = np.concatenate([q[2] + a for q, a in zip(quads, at, strict=True)]).astype(np.int32)
    uv = np.tile(UV, (len(quads), 1))
    which = np.repeat(np.arange(len(quads)), 2)
    textures = Textures.pack(images)
    light, shine = np.ones((len(pixels), 3), np.float32), np.zeros((len(pixels), 4), np.float32)
    shine[:, 3] = ~np.isin(np.repeat(np.arange(len(quads)), 4), soft)
    levels = levels_of(pixels, faces, uv, faces, which, textures.table)
    chosen = np.flatnonzero(~np.isin(which, soft))
    front, near = nearest(pixels, inverse, faces, chosen, SIZE * fine)
    behind = np.flatnonzero(np.isin(which, soft))
    order = behind[np.argsort(-inverse[faces[behind]].mean(1), kind="stable")]
    return composite(
        pixels, inverse, faces, faces, uv, (which + 1).astype(np.uint8), which, levels, textures.texels, textures.table,
        light, shine, light, np.zeros((0, 6), np.float32), front, near, order, SIZE, fine, len(quads) + 1,
    )  # fmt: skip


def plain(color, alpha=255):
    return np.full((8, 8, 4), (*color, alpha), np.uint8)


def shown(byte):
    """What the rasteriser makes of a texel in light 1: its shoulder bends what is brighter than 0.8."""
    linear = float(LINEAR[byte])
    linear = 0.8 + 0.2 * (1 - np.exp(-5 * (linear - 0.8))) if linear > 0.8 else linear
    return DISPLAY[round(linear * STEPS)]


def test_nearer_opaque_hides_farther_and_edges_are_soft():
    far, close = quad((3, 3)), quad((2, 2), right=10.5)
    image, depth, part = drawn([far, close], [plain((200, 0, 0)), plain((0, 100, 0))], fine=2)
    assert np.allclose(image[:, :10, 1], shown(100), atol=1e-4)
    assert np.allclose(image[:, 11:, 0], shown(200), atol=1e-4)
    assert np.allclose(image[:, 10, 1], shown(100) / 2, atol=1e-4), "half a pixel is half covered"
    assert np.allclose(depth[:, :10], 2)
    assert np.allclose(depth[:, 11:], 3)
    assert (part[:, :10] == 2).all()
    assert (part[:, 11:] == 1).all()
    assert np.allclose(image[..., 3], 1)


def test_texture_is_perspective_correct():
    """Half-way across a plane that recedes from depth 1 to 3 the texture is at 1/4: u/z and 1/z are linear, not u."""
    ramp = np.zeros((64, 64, 4), np.uint8)
    ramp[..., 3] = 255
    ramp[..., 0] = np.round(np.linspace(0, 200, 64))[None]
    image, depth, _ = drawn([quad((1.0, 3.0))], [ramp])
    across = (np.arange(SIZE) + 0.5) / SIZE
    u = (across / 3) / ((1 - across) / 1 + across / 3)
    wanted = np.interp(u * 64 - 0.5, np.arange(64), np.linspace(0, 200, 64))
    found = np.interp(image[16, :, 0], DISPLAY[(LINEAR * STEPS + 0.5).astype(int)], np.arange(256))
    assert np.abs(found - wanted).max() < 3  # of 255: levels of the pyramid differ by half a texel
    assert np.allclose(depth[16], 1 / ((1 - across) + across / 3), rtol=1e-4)


def test_soft_layers_composite_in_order_whatever_order_they_are_given_in():
    """C = α₁c₁ + (1 − α₁)(α₂c₂ + (1 − α₂)c₃); what lies behind the opaque layer does not show."""
    first, second, solid, hidden = quad((1, 1)), quad((2, 2)), quad((3, 3)), quad((4, 4))
    images = [plain((0, 150, 0), 102), plain((150, 0, 0), 153), plain((0, 0, 90)), plain((255, 255, 255), 255)]
    image, _, part = drawn([first, second, solid, hidden], images, soft=(0, 1, 3))
    a, b = 102 / 255, 153 / 255
    wanted = [(1 - a) * b * shown(150), a * shown(150), (1 - a) * (1 - b) * shown(90), 1]
    assert np.allclose(image[16, 16], wanted, atol=2e-3)  # the table's step
    assert part[16, 16] == 2, "the second layer is where half of what is behind is hidden"
    other, _, _ = drawn([hidden, solid, second, first], images[::-1], soft=(0, 2, 3))
    assert np.allclose(other, image, atol=1e-6)


def test_alpha_alone_is_coverage():
    image, depth, _ = drawn([quad((2, 2), right=16)], [plain((100, 100, 100), 64)], soft=(0,))
    assert np.allclose(image[:, :16, 3], 64 / 255, atol=1e-3)
    assert np.allclose(image[:, 17:], 0)
    assert (depth == 0).all(), "what hides less than half is no surface"


def plate(z, half=0.05):
    points = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]], np.float32)
    return points, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


@pytest.mark.parametrize("wrap", [0.0, 1.0])
def test_even_light_falls_evenly(wrap):
    """Under a radiance of 1 from everywhere an open surface gets 1, whichever way it faces."""
    normals = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    towards = light.directions()
    seen = np.ones((50, len(towards)), np.float32)
    found = light.irradiance(
        normals, seen, np.full(50, wrap, np.float32), towards, np.ones((len(towards), 3), np.float32)
    )
    assert np.abs(found - 1).max() < 0.04  # the sum over DIRECTIONS for the integral


def test_a_plate_shades_what_is_behind_it():
    cover, faces = plate(0.05)
    points = np.array([[0, 0, 0], [0.15, 0, 0], [0, 0, 0.08]], np.float32)  # behind, beside and before the plate
    normals = np.tile(np.float32([0, 0, 1]), (3, 1))
    towards = np.array([[0, 0, 1], [0, 0, -1]], np.float32)
    seen = light.visibility(points, normals, np.full(3, 0.004, np.float32), cover, faces, towards)
    assert seen[:, 0].tolist() == [0, 1, 1]
    assert seen[2, 1] == 0, "from behind, the plate hides the one before it"


def test_lights_are_natural_and_repeat():
    towards = light.directions()
    lights = [light.random_light(np.random.default_rng(k)) for k in range(40)]
    front = np.array([a.radiance(np.array([[0.0, 0.2, 0.98]]))[0].mean() for a in lights])
    assert (front > 0.25).all(), "nobody stands in the dark"
    assert np.ptp(front) > 0.5
    assert all((a.radiance(towards) >= 0).all() for a in lights)
    again = light.random_light(np.random.default_rng(7))
    assert np.array_equal(again.vector(), lights[7].vector())
    assert lights[7].vector().shape == (27,)
