"""LPIPS v0.1 (Zhang et al. 2018, arXiv 1801.03924): AlexNet or VGG16 features, compared with learnt weights.

Weights come from ``python -m converters lpips``, which reads torchvision's network and the LPIPS linear heads.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import safetensors
import safetensors.numpy
from jaxtyping import Array, Float

from jax_talker.errors import UserError

# Input standardisation of the LPIPS package, on images in [−1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPS = 1e-10  # under the root of a feature vector's length


class Conv(NamedTuple):
    """One convolution and what happens around it."""

    features: int
    size: int
    stride: int = 1
    pad: int = 1
    pool_before: tuple[int, int] | None = None  # window, stride
    tap: bool = False  # compared after its ReLU


FILE = "lpips.safetensors"
NETWORKS = {
    "alex": (
        Conv(64, 11, 4, 2, tap=True),
        Conv(192, 5, 1, 2, (3, 2), tap=True),
        Conv(384, 3, 1, 1, (3, 2), tap=True),
        Conv(256, 3, tap=True),
        Conv(256, 3, tap=True),
    ),
    "vgg": (
        Conv(64, 3),
        Conv(64, 3, tap=True),
        Conv(128, 3, pool_before=(2, 2)),
        Conv(128, 3, tap=True),
        Conv(256, 3, pool_before=(2, 2)),
        Conv(256, 3),
        Conv(256, 3, tap=True),
        Conv(512, 3, pool_before=(2, 2)),
        Conv(512, 3),
        Conv(512, 3, tap=True),
        Conv(512, 3, pool_before=(2, 2)),
        Conv(512, 3),
        Conv(512, 3, tap=True),
    ),
}


def shapes(net: str) -> dict[str, tuple[int, ...]]:
    """Every array of a network: conv<k>/kernel (HWIO), conv<k>/bias, linear<t> [C]."""
    out, width, taps = {}, 3, 0
    for k, conv in enumerate(NETWORKS[net]):
        out[f"conv{k}/kernel"] = (conv.size, conv.size, width, conv.features)
        out[f"conv{k}/bias"] = (conv.features,)
        width = conv.features
        if conv.tap:
            out[f"linear{taps}"] = (width,)
            taps += 1
    return out


def load(source: str | Path) -> tuple[str, dict[str, Array]]:
    """(network name, arrays) of a folder written by the converter, or of such a file under any name.

    Raises UserError when there is none, and when it is damaged or of another network.
    """
    path = Path(source)
    path = path / FILE if path.suffix != ".safetensors" or path.is_dir() else path
    if Path(source).is_file() and path != Path(source):
        raise UserError(f"{source}: not converted yet; python -m converters lpips alex {source} … OUT does it")
    if not path.is_file():
        raise UserError(
            f"{path}: no LPIPS weights; get alexnet-owt-7be5be79.pth (torchvision) and lpips/weights/v0.1/alex.pth "
            "(github.com/richzhang/PerceptualSimilarity), then "
            f"python -m converters lpips alex BACKBONE LINEAR {path.parent}"
        )
    try:
        arrays = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); convert the weights again") from None
    for net in NETWORKS:
        if {name: array.shape for name, array in arrays.items()} == shapes(net):
            return net, {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}
    raise UserError(f"{path}: its arrays fit neither {' nor '.join(NETWORKS)}; convert the weights again")


def features(net: str, weights: dict[str, Array], image: Float[Array, "B H W 3"]) -> list[Float[Array, "B h w C"]]:
    """Unit-length feature vectors at every tap, of images in [0, 1]."""
    shift, scale = (jnp.asarray(v, image.dtype)[None, None, None] for v in (SHIFT, SCALE))
    x = (2 * image - 1 - shift) / scale
    out = []
    for k, conv in enumerate(NETWORKS[net]):
        if conv.pool_before:
            window, stride = conv.pool_before
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, window, window, 1), (1, stride, stride, 1), "VALID")
        x = jax.lax.conv_general_dilated(
            x,
            weights[f"conv{k}/kernel"],
            (conv.stride, conv.stride),
            [(conv.pad, conv.pad)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = jax.nn.relu(x + weights[f"conv{k}/bias"][None, None, None])
        if conv.tap:
            length = jnp.sqrt((x**2).sum(-1, keepdims=True) + EPS**2)
            out.append(x / (length + EPS))
    return out


def distance_map(
    net: str, weights: dict[str, Array], a: Float[Array, "B H W 3"], b: Float[Array, "B H W 3"]
) -> Float[Array, "B H W"]:
    """LPIPS at every pixel (the package's ``spatial=True``): each tap's map, enlarged bilinearly, summed."""
    size = a.shape[1:3]
    total = jnp.zeros(a.shape[:3])
    for t, (fa, fb) in enumerate(zip(features(net, weights, a), features(net, weights, b), strict=True)):
        level = ((fa - fb) ** 2 * weights[f"linear{t}"][None, None, None]).sum(-1)
        total += jax.image.resize(level, (len(a), *size), "bilinear", antialias=False)
    return total


def distance(
    net: str, weights: dict[str, Array], a: Float[Array, "B H W 3"], b: Float[Array, "B H W 3"]
) -> Float[Array, "B"]:
    """LPIPS of each pair of images: each tap's mean over its own grid, summed."""
    pairs = zip(features(net, weights, a), features(net, weights, b), strict=True)
    return sum(
        (
            ((fa - fb) ** 2 * weights[f"linear{t}"][None, None, None]).sum(-1).mean((1, 2))
            for t, (fa, fb) in enumerate(pairs)
        ),
        start=jnp.zeros(len(a)),
    )
