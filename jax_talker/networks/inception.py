"""The Inception v3 of FID (Heusel et al. 2017, arXiv 1706.08500): TensorFlow's of 5 December 2015, as in pytorch-fid.

It differs from torchvision's: average pools leave the padding out of their means, and the last block pools by maximum.
Inference only; batch norms are folded into the convolutions when the weights are converted
(``python -m converters fid``), and the classifier is left out. Modules have the original's names.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_talker.networks import weights_file

FILE = "inception_fid.safetensors"
SIZE = 299  # px; what the network has learnt from
FEATURES = 2048  # of its last average pool
ORIGIN = (
    "get pt_inception-2015-12-05-6726825d.pth from github.com/mseitzer/pytorch-fid (release fid_weights), then "
    "python -m converters fid pt_inception-2015-12-05-6726825d.pth"
)
Size = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution and ReLU; padded where ``pad``, so that stride 1 keeps the size."""

    features: int
    size: Size
    stride: int = 1
    pad: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        pad = [((s // 2, s // 2) if self.pad else (0, 0)) for s in size]
        return nn.relu(nn.Conv(self.features, size, self.stride, pad, name="conv")(x))


class BlockA(nn.Module):
    pooled: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B H W O"]:
        one = Conv(64, 1, name="branch1x1")(x)
        five = Conv(64, 5, pad=True, name="branch5x5_2")(Conv(48, 1, name="branch5x5_1")(x))
        three = Conv(96, 3, pad=True, name="branch3x3dbl_2")(Conv(64, 1, name="branch3x3dbl_1")(x))
        three = Conv(96, 3, pad=True, name="branch3x3dbl_3")(three)
        pool = Conv(self.pooled, 1, name="branch_pool")(_mean_pool(x))
        return jnp.concatenate([one, five, three, pool], -1)


class BlockB(nn.Module):
    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        three = Conv(384, 3, 2, name="branch3x3")(x)
        double = Conv(96, 3, pad=True, name="branch3x3dbl_2")(Conv(64, 1, name="branch3x3dbl_1")(x))
        double = Conv(96, 3, 2, name="branch3x3dbl_3")(double)
        return jnp.concatenate([three, double, _max_pool(x)], -1)


class BlockC(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B H W O"]:
        one = Conv(192, 1, name="branch1x1")(x)
        seven = Conv(self.width, 1, name="branch7x7_1")(x)
        seven = Conv(self.width, (1, 7), pad=True, name="branch7x7_2")(seven)
        seven = Conv(192, (7, 1), pad=True, name="branch7x7_3")(seven)
        double = Conv(self.width, 1, name="branch7x7dbl_1")(x)
        for k, (features, size) in enumerate(((self.width, (7, 1)), (self.width, (1, 7))) * 2, 2):
            features = 192 if k == 5 else features
            double = Conv(features, size, pad=True, name=f"branch7x7dbl_{k}")(double)
        pool = Conv(192, 1, name="branch_pool")(_mean_pool(x))
        return jnp.concatenate([one, seven, double, pool], -1)


class BlockD(nn.Module):
    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        three = Conv(320, 3, 2, name="branch3x3_2")(Conv(192, 1, name="branch3x3_1")(x))
        seven = Conv(192, 1, name="branch7x7x3_1")(x)
        seven = Conv(192, (1, 7), pad=True, name="branch7x7x3_2")(seven)
        seven = Conv(192, (7, 1), pad=True, name="branch7x7x3_3")(seven)
        seven = Conv(192, 3, 2, name="branch7x7x3_4")(seven)
        return jnp.concatenate([three, seven, _max_pool(x)], -1)


class BlockE(nn.Module):
    by_maximum: bool

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B H W O"]:
        one = Conv(320, 1, name="branch1x1")(x)
        three = Conv(384, 1, name="branch3x3_1")(x)
        three = self._both(three, "branch3x3_2")
        double = Conv(384, 3, pad=True, name="branch3x3dbl_2")(Conv(448, 1, name="branch3x3dbl_1")(x))
        double = self._both(double, "branch3x3dbl_3")
        pool = _max_pool(x, 1, 1) if self.by_maximum else _mean_pool(x)
        return jnp.concatenate([one, three, double, Conv(192, 1, name="branch_pool")(pool)], -1)

    def _both(self, x: Float[Array, "B H W I"], name: str) -> Float[Array, "B H W 768"]:
        return jnp.concatenate(
            [Conv(384, (1, 3), pad=True, name=f"{name}a")(x), Conv(384, (3, 1), pad=True, name=f"{name}b")(x)], -1
        )


class Inception(nn.Module):
    """Images in [−1, 1], 299 × 299 → features."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"]) -> Float[Array, "B 2048"]:
        x = Conv(32, 3, 2, name="Conv2d_1a_3x3")(x)
        x = Conv(64, 3, pad=True, name="Conv2d_2b_3x3")(Conv(32, 3, name="Conv2d_2a_3x3")(x))
        x = Conv(80, 1, name="Conv2d_3b_1x1")(_max_pool(x))
        x = _max_pool(Conv(192, 3, name="Conv2d_4a_3x3")(x))
        for name, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
            x = BlockA(pooled, name=f"Mixed_{name}")(x)
        x = BlockB(name="Mixed_6a")(x)
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            x = BlockC(width, name=f"Mixed_{name}")(x)
        x = BlockD(name="Mixed_7a")(x)
        x = BlockE(by_maximum=False, name="Mixed_7b")(x)
        return BlockE(by_maximum=True, name="Mixed_7c")(x).mean((1, 2))


def _max_pool(x: Float[Array, "B H W C"], stride: int = 2, pad: int = 0) -> Float[Array, "B h w C"]:
    borders: Any = ((pad, pad), (pad, pad))  # flax annotates names alone
    return nn.max_pool(x, (3, 3), (stride, stride), borders)


def _mean_pool(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    borders: Any = ((1, 1), (1, 1))
    return nn.avg_pool(x, (3, 3), (1, 1), borders, count_include_pad=False)


def resized(image: Float[Array, "B H W 3"]) -> Float[Array, "B 299 299 3"]:
    """pytorch-fid's input of images in [0, 1]: bilinear without antialiasing, 2x − 1."""
    shape, exact = (len(image), SIZE, SIZE, 3), jax.lax.Precision.HIGHEST
    small = jax.image.resize(image, shape, "bilinear", antialias=False, precision=exact)
    return 2 * small - 1


def resized_clean(image: Float[Array, "B H W 3"]) -> Float[Array, "B 299 299 3"]:
    """clean-fid's (Parmar et al. 2022, arXiv 2104.11222): Pillow's antialiased bicubic on floats, cut to the range of
    8 bits, (x − 128) / 128.
    """
    matrices = (_pillow_bicubic(size) for size in image.shape[1:3])
    small = 255 * image
    for axis, matrix in enumerate(matrices, 1):
        small = jnp.moveaxis(jnp.tensordot(small, jnp.asarray(matrix), (axis, 1), precision="highest"), -1, axis)
    return (jnp.clip(small, 0, 255) - 128) / 128


def _pillow_bicubic(size: int) -> np.ndarray:
    """[299, size]: how Pillow weighs the pixels of a row, a = −½, windows cut off at the borders and normalised."""
    scale = size / SIZE
    stretch = max(scale, 1.0)
    centre = (np.arange(SIZE)[:, None] + 0.5) * scale
    far = np.abs(np.arange(size)[None] + 0.5 - centre) / stretch
    near, a = far < 1, -0.5
    weight = np.where(near, ((a + 2) * far - (a + 3)) * far**2 + 1, (((far - 5) * far + 8) * far - 4) * a)
    weight = np.where(far < 2, weight, 0.0)
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


RESIZES = {"fid": resized, "fid_clean": resized_clean}


def shapes() -> dict[str, tuple[int, ...]]:
    """Every array of the converted weights by its path: …/kernel (HWIO) and …/bias."""
    return weights_file.shapes_of(Inception(), (1, SIZE, SIZE, 3))
