"""Face recognition networks: ArcFace's improved residual networks (Deng et al. 2019, arXiv 1801.07698, section 3).

Three families of weights are in use, all of 112 × 112 faces and 512 numbers: CurricularFace's IR-101 (Talk3D's IDSIM),
InsightFace_Pytorch's IR-SE50 (identity losses), insightface's iresnet. Inference only; batch norms that follow a
convolution are folded into it when the weights are converted (``python -m converters idsim``); those that precede a
padded one stay, as scale and shift.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_talker.networks import weights_file

SIZE = 112  # px
FEATURES = 512
STAGES = (64, 128, 256, 512)  # width; each begins with stride 2
REDUCTION = 16  # of squeeze and excitation
# Where a face of SIZE has its eyes, nose tip and corners of the mouth, left to right in the picture; px whose integers
# are pixel centres (insightface's template: MTCNN's 96 × 112 reference, 8 px to the right).
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)


class Kind(NamedTuple):
    """One family's network."""

    title: str
    units: tuple[int, int, int, int]  # residual units of each stage
    squeeze: bool  # squeeze and excitation behind the second convolution
    pooled: bool  # where a unit keeps its width, its shortcut is every other pixel, not a convolution
    origin: str  # file name, where to get it


KINDS = {
    "curricularface": Kind(
        *("IR-101, CurricularFace", (3, 13, 30, 3), False, True),
        "get CurricularFace_Backbone.pth from github.com/HuangYG123/CurricularFace (its README links it)",
    ),
    "irse50": Kind(
        *("IR-SE50, ArcFace", (3, 4, 14, 3), True, True),
        "get model_ir_se50.pth from github.com/TreB1eN/InsightFace_Pytorch (its README links it)",
    ),
    "iresnet50": Kind(
        *("iresnet50, insightface", (3, 4, 14, 3), False, False),
        "get backbone.pth of a r50 from github.com/deepinsight/insightface (recognition/arcface_torch; research only)",
    ),
    "iresnet100": Kind(
        *("iresnet100, insightface", (3, 13, 30, 3), False, False),
        "get backbone.pth of a r100 from github.com/deepinsight/insightface (recognition/arcface_torch; research only)",
    ),
}
FILES = {net: f"idsim_{net}.safetensors" for net in KINDS}


class Unit(nn.Module):
    """Scale and shift, two convolutions with PReLU between them, beside a shortcut."""

    width: int
    stride: int
    squeeze: bool
    pooled: bool

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        y = Affine(name="norm")(x)
        y = PReLU(name="slope")(_conv(self.width, 3, name="conv1")(y))
        y = _conv(self.width, 3, self.stride, name="conv2")(y)
        if self.squeeze:
            weight = nn.Dense(self.width // REDUCTION, use_bias=False, name="squeeze")(y.mean((1, 2), keepdims=True))
            y = y * nn.sigmoid(nn.Dense(self.width, use_bias=False, name="excite")(nn.relu(weight)))
        if x.shape[-1] != self.width or (self.stride != 1 and not self.pooled):
            x = _conv(self.width, 1, self.stride, name="shortcut")(x)
        elif self.stride != 1:
            x = x[:, :: self.stride, :: self.stride]
        return x + y


class IResNet(nn.Module):
    """RGB faces (x/255 − 0.5)/0.5, warped to the template → embeddings, not normalised."""

    units: tuple[int, int, int, int]
    squeeze: bool
    pooled: bool

    @nn.compact
    def __call__(self, x: Float[Array, "B 112 112 3"]) -> Float[Array, "B 512"]:
        x = PReLU(name="stem_slope")(_conv(STAGES[0], 3, name="stem")(x))
        for stage, (width, count) in enumerate(zip(STAGES, self.units, strict=True), 1):
            for k in range(count):
                x = Unit(width, 2 if k == 0 else 1, self.squeeze, self.pooled, name=f"stage{stage}_{k}")(x)
        return nn.Dense(FEATURES, name="embed")(x.reshape(len(x), -1))


class Affine(nn.Module):
    """A batch norm in evaluation."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        gain, shift = (self.param(name, nn.initializers.zeros, (x.shape[-1],)) for name in ("gain", "shift"))
        return x * gain[None, None, None] + shift[None, None, None]


class PReLU(nn.Module):
    """Negative values times a slope of each channel."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        slope = self.param("slope", nn.initializers.zeros, (x.shape[-1],))
        return jnp.where(x >= 0, x, x * slope[None, None, None])


def _conv(features: int, size: int, stride: int = 1, *, name: str) -> nn.Conv:
    pad = size // 2
    return nn.Conv(features, (size, size), stride, ((pad, pad), (pad, pad)), name=name)


def network(net: str) -> IResNet:
    """One of ``KINDS``."""
    kind = KINDS[net]
    return IResNet(kind.units, kind.squeeze, kind.pooled)


def shapes(net: str) -> dict[str, tuple[int, ...]]:
    """Every array of the converted weights by its path."""
    return weights_file.shapes_of(network(net), (1, SIZE, SIZE, 3))
