"""BiSeNet face parsing (Yu et al., ECCV 2018), 19 classes, weights of github.com/zllrunning/face-parsing.PyTorch.

Inference only. Batch norms are folded into the convolutions before them when the weights are converted
(``python -m converters bisenet``), and the two auxiliary heads, which only training used, are left out. What the
classes mean is written in ``data/cut/parsing.py``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jax_talker.errors import UserError
from jax_talker.networks import weights_file

CLASSES = 19
FILE = "bisenet.safetensors"
TRAINED_SIZE = 512  # px; what the network has learnt from
STRIDE = 32  # of the coarsest features; inputs are multiples of it, so that every level is half the one before
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's sRGB, as torchvision standardises
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # ResNet-18: width and stride of each pair of residual blocks
ORIGIN = (
    "get 79999_iter.pth (github.com/zllrunning/face-parsing.PyTorch, its README links it: "
    "https://drive.google.com/open?id=154JgKpzCPW82qINcVieuPH3fZ2e0P812), then "
    "python -m converters bisenet 79999_iter.pth"
)

Parser = Callable[[UInt8[np.ndarray, "S S 3"]], UInt8[np.ndarray, "S S"]]


class BiSeNet(nn.Module):
    """Standardised sRGB [B, H, W, 3] → class scores [B, H/8, W/8, 19], as they are before the last enlargement."""

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B h w 19"]:
        eighth, sixteenth, thirty_second = ResNet18(name="resnet")(image)
        context = nn.relu(_conv(128, 1, name="average")(thirty_second.mean((1, 2), keepdims=True)))
        coarse = Attention(name="arm32")(thirty_second)
        coarse = _nearest(coarse + jnp.broadcast_to(context, coarse.shape), sixteenth)
        coarse = nn.relu(_conv(128, 3, name="head32")(coarse))
        fine = _nearest(Attention(name="arm16")(sixteenth) + coarse, eighth)
        fine = nn.relu(_conv(128, 3, name="head16")(fine))
        fused = Fusion(name="fusion")(jnp.concatenate([eighth, fine], -1))
        return _conv(CLASSES, 1, bias=False, name="classes")(nn.relu(_conv(256, 3, name="out")(fused)))


class ResNet18(nn.Module):
    """Features at an eighth, a sixteenth and a thirty-second of the image's size: 128, 256 and 512 channels."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"]) -> list[Float[Array, "B _ _ _"]]:
        x = nn.relu(_conv(64, 7, 2, name="stem")(x))
        borders = ((0, 0), (1, 1), (1, 1), (0, 0))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), borders)
        levels = []
        for i, (width, stride) in enumerate(STAGES, 1):
            for j in range(2):
                x = Residual(width, stride if j == 0 else 1, name=f"layer{i}_{j}")(x)
            levels.append(x)
        return levels[1:]


class Residual(nn.Module):
    """Two convolutions beside a shortcut, which is a convolution itself where size or width change."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        y = nn.relu(_conv(self.width, 3, self.stride, name="conv1")(x))
        y = _conv(self.width, 3, name="conv2")(y)
        if self.stride != 1 or x.shape[-1] != self.width:
            x = _conv(self.width, 1, self.stride, name="shortcut")(x)
        return nn.relu(x + y)


class Attention(nn.Module):
    """Attention refinement: channels weighted by what the whole picture shows of them."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B H W 128"]:
        x = nn.relu(_conv(128, 3, name="conv")(x))
        return x * nn.sigmoid(_conv(128, 1, name="attention")(x.mean((1, 2), keepdims=True)))


class Fusion(nn.Module):
    """Feature fusion: details and context mixed, then channels strengthened by a small bottleneck."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 256"]) -> Float[Array, "B H W 256"]:
        x = nn.relu(_conv(256, 1, name="conv")(x))
        weight = nn.relu(_conv(64, 1, bias=False, name="squeeze")(x.mean((1, 2), keepdims=True)))
        return x + x * nn.sigmoid(_conv(256, 1, bias=False, name="excite")(weight))


def _conv(features: int, size: int, stride: int = 1, *, bias: bool = True, name: str) -> nn.Conv:
    pad = size // 2
    return nn.Conv(features, (size, size), stride, ((pad, pad), (pad, pad)), use_bias=bias, name=name)


def _nearest(x: Float[Array, "B h w C"], like: Float[Array, "B H W _"]) -> Float[Array, "B H W C"]:
    """Enlarged to another level's size; every pixel takes the one that it lies in."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(like.shape[1:3], x.shape[1:3], strict=True))
    return x[:, rows][:, :, columns]


def enlarge(scores: Float[Array, "B h w C"], size: int) -> Float[Array, "B size size C"]:
    """Bilinear, corner pixel onto corner pixel (PyTorch's ``align_corners=True``)."""
    for axis in (1, 2):
        old = scores.shape[axis]
        place = np.linspace(0, old - 1, size)
        weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(old))).astype(np.float32)
        # Full precision: on a GPU the default would round scores to 10 bits and let classes flip.
        scores = jnp.moveaxis(
            jnp.tensordot(scores, jnp.asarray(weights), (axis, 1), precision=jax.lax.Precision.HIGHEST), -1, axis
        )
    return scores


def parse(weights: dict[str, Any], image: UInt8[Array, "S S 3"], size: int) -> UInt8[Array, "S S"]:
    """The class of every pixel; the network looks at the picture resized to ``size`` × ``size``."""
    pixels = image.astype(jnp.float32)[None] / 255
    if image.shape[0] != size:
        pixels = jax.image.resize(pixels, (1, size, size, 3), "linear")  # antialiased when it shrinks, as Pillow is
    mean, std = (jnp.asarray(v, jnp.float32)[None, None, None] for v in (MEAN, STD))
    scores = BiSeNet().apply({"params": weights}, (pixels - mean) / std)
    assert isinstance(scores, jax.Array)
    return enlarge(scores, image.shape[0])[0].argmax(-1).astype(jnp.uint8)


def shapes() -> dict[str, tuple[int, ...]]:
    """Every array of the converted weights by its path: …/kernel (HWIO) and …/bias."""
    return weights_file.shapes_of(BiSeNet(), (1, STRIDE, STRIDE, 3))


def load(folder: str | Path) -> dict[str, Any]:
    """The network's parameters from a folder written by the converter."""
    path = Path(folder) / FILE
    if Path(folder).is_file():
        raise UserError(
            f"{folder}: give the folder of converted weights; python -m converters bisenet {folder} OUT makes it"
        )
    if not path.is_file():
        raise UserError(f"{path}: no face parsing weights; {ORIGIN} {folder}")
    return weights_file.load(path, shapes(), "BiSeNet")


def load_parser(folder: str | Path, *, size: int = TRAINED_SIZE) -> Parser:
    """A function from a picture of a head (uint8 sRGB, square, background and all) to its pixels' classes.

    Compiled at the first picture, and again only for one of another size; may be called from several threads. ``size``
    is what the network looks at: a smaller one is faster by the square and blunter.
    """
    if size < STRIDE or size % STRIDE:
        raise UserError(f"the parsing network looks at a multiple of {STRIDE} px, not at {size}")
    weights = load(folder)
    compiled = jax.jit(parse, static_argnums=2)

    def parser(picture: UInt8[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "S S"]:
        return np.asarray(compiled(weights, jnp.asarray(picture), size))

    return parser
