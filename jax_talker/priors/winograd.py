"""3 × 3 convolutions on a CPU with a quarter of the multiplications: Winograd's F(4 × 4, 3 × 3).

Lavin and Gray, arXiv:1509.09308. Six by six inputs give four by four outputs by 36 products instead of 144; each of the
36 positions is one matrix product over channels. The matrices are Toom-Cook's for the points below, which keep float32
rounding within a few times that of a direct convolution (Barabasz et al., arXiv:1803.10986).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

TILE = 4  # outputs per tile and axis
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)  # and infinity
SPAN = TILE + 2  # inputs per tile and axis


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(inputs → products, kernel → products, products → outputs) of the one-dimensional algorithm."""
    points = np.array(POINTS)
    inputs, kernel, outputs = np.zeros((SPAN, SPAN)), np.zeros((SPAN, 3)), np.zeros((TILE, SPAN))
    for i, point in enumerate(points):
        others = np.delete(points, i)
        inputs[i, :-1] = np.poly(others)[::-1]
        kernel[i] = point ** np.arange(3) / np.prod(point - others)
        outputs[:, i] = point ** np.arange(TILE)
    inputs[-1], kernel[-1, -1], outputs[-1, -1] = np.poly(points)[::-1], 1, 1
    # Rows may be scaled between inputs and kernel; powers of two cost no rounding.
    scale = 2.0 ** np.round(np.log2(np.abs(inputs).max(1, keepdims=True)))
    return inputs / scale, kernel * scale, outputs


INPUTS, KERNEL, OUTPUTS = _matrices()


def pays(shape: tuple[int, ...], features: int) -> bool:
    """Whether it is faster than XLA's convolution for images [B, H, W, I]: of 64² to 128² with many channels.

    Below, transforming the inputs and compiling 36 products costs more than the multiplications that are saved; above,
    the transformed inputs no longer stay in the caches (``python -m benchmarks convolutions`` measures layer by layer).
    """
    _, height, width, channels = shape
    fits = height % TILE == width % TILE == 0 and min(height, width) >= 64 and max(height, width) <= 128
    return fits and min(channels, features) >= 128


@jax.custom_vjp
def conv3x3(x: Float[Array, "B H W I"], weight: Float[Array, "3 3 I O"]) -> Float[Array, "B H W O"]:
    """3 × 3 cross-correlation with one pixel of zero padding; height and width are multiples of 4."""
    return _tiled(x, weight, contract=0)


def _tiled(x: Float[Array, "B H W C"], weight: Float[Array, "3 3 I O"], contract: int) -> Float[Array, "B H W D"]:
    """The algorithm; ``contract`` is the axis of [I, O] that x has, so that a weight need not be transposed."""
    batch, height, width, channels = x.shape
    rows, columns = height // TILE, width // TILE
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = _transform(KERNEL, [_transform(KERNEL, [weight[i, j] for j in range(3)]) for i in range(3)])
    strips = _transform(INPUTS, _every(padded, 1, rows))

    def product(tiles, tap):
        axes = (((1,), (contract,)), ((), ()))
        y = jax.lax.dot_general(tiles.reshape(-1, channels), tap, axes, precision="highest")
        return y.reshape(batch, rows, columns, -1)

    products = [
        [product(tiles, tap) for tiles, tap in zip(_transform(INPUTS, _every(strip, 2, columns)), row, strict=True)]
        for strip, row in zip(strips, taps, strict=True)
    ]
    tiles = [_transform(OUTPUTS, row) for row in _transform(OUTPUTS, products)]
    return jnp.stack([jnp.stack(row, 3) for row in tiles], 2).reshape(batch, height, width, -1)


def _forward(x, weight):
    return conv3x3(x, weight), (x, weight)


def _backward(saved, gradient):
    """To the image by the same algorithm with the kernel turned around; to the kernel by XLA's own convolution."""
    x, weight = saved
    to_image = _tiled(gradient, weight[::-1, ::-1], contract=1)
    _, pull = jax.vjp(lambda w: _direct(x, w), weight)
    return to_image, *pull(gradient)


conv3x3.defvjp(_forward, _backward)


def _direct(x, weight):
    return jax.lax.conv_general_dilated(
        x, weight, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )


def _every(x: Float[Array, "B H W C"], axis: int, count: int) -> list[Array]:
    """The six inputs of each tile along an axis, one array for each."""
    return [jax.lax.slice_in_dim(x, k, k + TILE * (count - 1) + 1, TILE, axis) for k in range(SPAN)]


def _transform(matrix: np.ndarray, values: list) -> list:
    """matrix · values, where the values are arrays, or lists of arrays that are transformed element by element."""
    return [jax.tree.map(lambda *terms, row=row: _combine(row, terms), *values) for row in matrix]


def _combine(row: np.ndarray, terms: tuple[Array, ...]) -> Array:
    parts = [term if factor == 1 else factor * term for factor, term in zip(row.tolist(), terms, strict=True) if factor]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
