"""Scenes for the rasteriser's tests, and comparisons that know where a splatted image jumps."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks import workloads
from benchmarks.workloads import Workload
from kernels import Camera, Gaussians, constants, projection
from kernels.dispatch import platform
from kernels.types import Scene, Settings

# Small scenes: what takes time on a CPU is XLA's optimiser.
_QUICK = {"xla_backend_optimization_level": 0} if platform() == "cpu" else None
quickly_compiled = functools.partial(jax.jit, compiler_options=_QUICK)


def random_gaussians(key, batch: tuple[int, ...] = (), count: int = 200, sh: int | None = None, thin: float = 1.0):
    """Gaussians in front of ``look``'s cameras, most of them partly transparent; ``thin`` flattens them."""
    keys = jax.random.split(key, 5)
    shape = (*batch, count)
    means = jax.random.uniform(keys[0], (*shape, 3), minval=-0.6, maxval=0.6)
    scales = jnp.exp(jax.random.uniform(keys[1], (*shape, 3), minval=-4.5, maxval=-1.5))
    scales *= jnp.broadcast_to(jnp.asarray([1.0, 1.0, thin]), scales.shape)
    quats = jax.random.normal(keys[2], (*shape, 4))  # not normalised, on purpose
    opacities = jax.random.uniform(keys[3], shape, minval=0.02, maxval=1.0)
    if sh is None:
        return Gaussians(means, quats, scales, opacities, colors=jax.random.uniform(keys[4], (*shape, 3)))
    return Gaussians(means, quats, scales, opacities, sh=0.4 * jax.random.normal(keys[4], (*shape, sh, 3)))


def equal_gaussians(count: int, position=(0.0, 0.0, 0.0), scale=0.05, opacity=0.8, color=(0.9, 0.5, 0.1)) -> Gaussians:
    return Gaussians(
        jnp.tile(jnp.asarray([position]), (count, 1)),
        jnp.tile(jnp.asarray([[1.0, 0.1, 0.2, 0.3]]), (count, 1)),
        jnp.tile(jnp.asarray([[scale, 1.5 * scale, 0.7 * scale]]), (count, 1)),
        jnp.full((count,), opacity),
        colors=jnp.tile(jnp.asarray([color]), (count, 1)),
    )


def look(
    views: int = 1, batch: tuple[int, ...] = (), width: int = 40, height: int = 32, distance=2.0, dtype=jnp.float32
):
    """Cameras around the origin at different angles, focal lengths and principal points."""
    angles = np.linspace(-0.4, 0.5, views) if views > 1 else np.array([0.1])
    poses, intrinsics = [], []
    for i, angle in enumerate(angles):
        cos, sin = np.cos(angle), np.sin(angle)
        pose = np.eye(4)
        pose[:3, :3] = np.diag([1, -1, -1]) @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        pose[:3, 3] = [0.02 * i, -0.03, distance]
        poses.append(pose)
        focal = 1.1 * max(width, height) * (1 + 0.1 * i)
        intrinsics.append([[focal, 0, width / 2 + 0.7], [0, 1.05 * focal, height / 2 - 1.3 * i], [0, 0, 1]])
    return Camera(
        jnp.broadcast_to(jnp.asarray(np.stack(poses), dtype), (*batch, views, 4, 4)),
        jnp.broadcast_to(jnp.asarray(intrinsics, dtype), (*batch, views, 3, 3)),
    )


def load_scene(name: str) -> Workload:
    """One of the project's workloads (no batch axis, one view)."""
    whole = workloads.load(name)
    gaussians, camera = jax.tree.map(lambda leaf: leaf[0], whole[1:3])
    return whole._replace(gaussians=gaussians, camera=camera)


@functools.partial(jax.jit, static_argnames="settings")
def near_edges(gaussians: Gaussians, camera: Camera, settings: Settings) -> Array:
    """[*b, V, H, W]: pixels where some Gaussian's alpha, or the light behind it, is so near to a threshold that two
    correct float32 programs may decide differently. For small scenes with ``colors`` (every pixel × every Gaussian)."""
    batch = gaussians.means.shape[:-2]
    flat = jax.tree.map(lambda x: x.reshape(math.prod(batch), *x.shape[len(batch) :]), (gaussians, camera))
    background = jnp.zeros((*flat[1].intrinsics.shape[:2], 3))
    colors = jnp.zeros_like(flat[0].means)[:, None]
    offset, extra = jnp.zeros((*background.shape[:2], 0, 2)), jnp.zeros((colors.shape[0], colors.shape[2], 0))
    scene = Scene(*flat[0][:4], colors, *flat[1], background, offset, extra)
    splats = projection.project(scene, settings)
    order = jnp.argsort(jnp.where(splats.drawn, splats.depth, jnp.inf), -1)

    def at(leaf):
        """[B, V, 1, 1, N], near to far."""
        return jnp.take_along_axis(leaf, order, 2)[:, :, None, None]

    center, falloff, opacity, drawn = splats.center, splats.falloff, splats.opacity, splats.drawn
    x = jnp.arange(settings.width)[:, None] + 0.5
    y = jnp.arange(settings.height)[:, None, None] + 0.5
    dy = y[None, None] - at(center[..., 1])
    t = x[None, None, None] - at(center[..., 0]) - at(falloff[..., 1]) * dy
    alpha = at(opacity) * jnp.exp(-0.5 * (at(falloff[..., 0]) * t**2 + at(falloff[..., 2]) * dy**2))
    alpha = jnp.where(at(drawn), jnp.minimum(alpha, settings.constants.alpha_max), 0)
    edge = (jnp.abs(alpha / constants.ALPHA_MIN - 1) < 1e-4).any(-1)
    light = jnp.cumprod(1 - jnp.where(alpha >= constants.ALPHA_MIN, alpha, 0), -1)
    edge |= (jnp.abs(light / constants.TRANSMITTANCE_MIN - 1) < 1e-3).any(-1)
    return edge.reshape(*batch, *edge.shape[1:])


def assert_close_with_band(got, want, near_edge, *, atol: float, rtol: float = 0.0, flips_at_most: float, band: float):
    """Equal to within ``atol + rtol·|want|``, except for a share of at most ``flips_at_most`` of all pixels, which must
    lie near an edge and differ by no more than ``band``."""
    got, want, near_edge = np.asarray(got, np.float64), np.asarray(want, np.float64), np.asarray(near_edge)
    assert np.isfinite(got).all()
    error = np.abs(got - want)
    wrong = error > atol + rtol * np.abs(want)
    if wrong.ndim > near_edge.ndim:
        wrong, error = wrong.any(-1), error.max(-1)
    assert not (wrong & ~near_edge).any(), f"differs by {error[wrong & ~near_edge].max():.2e} off any edge"
    assert wrong.mean() <= flips_at_most, f"{wrong.mean():.2e} of the pixels flip"
    assert error.max() <= band, f"a flipped pixel differs by {error.max():.2e}"


def assert_gradients_close(got, want, *, rtol: float):
    """Every leaf equal to ``rtol``: of each number, or, where numbers cancel, of the leaf's root mean square; and zero
    exactly where the truth is zero (``gsplat``'s grad sparsity: a gradient missing on one side is caught when tiny)."""
    for (path, a), b in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(want), strict=True):
        name, a, b = jax.tree_util.keystr(path), np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.isfinite(a).all(), name
        if b.size == 0:
            continue
        scale = np.sqrt((b**2).mean())
        worst = (np.abs(a - b) / (np.abs(b) + scale + 1e-30)).max()
        assert worst <= rtol, f"{name}: differs by {worst:.2e}, relative"
        zero = b == 0
        assert (np.abs(a[zero]) <= 1e-6 * scale).all(), f"{name}: not zero where it should be"
