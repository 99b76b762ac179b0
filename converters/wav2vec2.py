"""wav2vec2's and HuBERT's weights as Hugging Face publishes them → one safetensors file, other tasks' heads left out.

The weight norm of the positions' convolution is multiplied out, under its old names and PyTorch's new ones.
"""

import re
from pathlib import Path

import numpy as np

from converters import checkpoint as checkpoints
from converters.checkpoint import Checkpoint, Progress
from converters.errors import CheckpointError
from converters.transformer import as_kernels, attention, find_encoder
from converters.weights import take, write
from jax_talker.networks.wav2vec2 import FILE, KERNELS, Wav2Vec2, shapes

WHAT = "wav2vec2 or HuBERT"
CONV = "feature_extractor.conv_layers"
POSITIONS = "encoder.pos_conv_embed.conv"
NORMED = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))
HEADS = {768: 12, 1024: 16, 1280: 16, 1920: 16}  # of every published width; others: 64 channels each
HEAD = 64
# Path in the Flax network → name in the original, without what all names begin with.
PLACES = {
    "projection_norm/scale": "feature_projection.layer_norm.weight",
    "projection_norm/bias": "feature_projection.layer_norm.bias",
    "projection/kernel": "feature_projection.projection.weight",
    "projection/bias": "feature_projection.projection.bias",
    "positions/conv/bias": f"{POSITIONS}.bias",
    "norm/scale": "encoder.layer_norm.weight",
    "norm/bias": "encoder.layer_norm.bias",
}
LAYER_PLACES = {
    **attention("attention"),
    "attention_norm/scale": "layer_norm.weight",
    "attention_norm/bias": "layer_norm.bias",
    "up/kernel": "feed_forward.intermediate_dense.weight",
    "up/bias": "feed_forward.intermediate_dense.bias",
    "down/kernel": "feed_forward.output_dense.weight",
    "down/bias": "feed_forward.output_dense.bias",
    "mlp_norm/scale": "final_layer_norm.weight",
    "mlp_norm/bias": "final_layer_norm.bias",
}
# What training masks with, what it compares with, and the heads of other tasks, where they lie beside the encoder.
UNUSED = re.compile(
    r"masked_spec_embed|(lm_head|quantizer|project_hid|project_q|dropout_features|final_proj|classifier|projector)\..+"
)


def convert(path: str | Path, progress: Progress | None = None) -> dict[str, np.ndarray]:
    """The arrays of ``networks.wav2vec2.shapes`` for the sizes and the variant that the file has.

    CheckpointError for files that are no such checkpoints, and for missing, further, mis-shaped or non-finite tensors.
    """
    source = checkpoints.read(path, progress)
    layers, names = find_encoder(source, LAYER_PLACES["up/kernel"], WHAT)
    has = lambda own: any(name.endswith(own) for name in names)  # noqa: E731
    large, bias = has(f"{CONV}.1.layer_norm.weight"), has(f"{CONV}.0.conv.bias")
    gain, direction = next((pair for pair in NORMED if has(f"{POSITIONS}.{pair[0]}")), NORMED[0])
    places = dict(PLACES)
    for i in range(len(KERNELS)):
        places |= {f"conv{i}/kernel": f"{CONV}.{i}.conv.weight"}
        places |= {f"conv{i}/bias": f"{CONV}.{i}.conv.bias"} if bias else {}
        if large or i == 0:
            places |= {f"conv{i}_norm/scale": f"{CONV}.{i}.layer_norm.weight"}
            places |= {f"conv{i}_norm/bias": f"{CONV}.{i}.layer_norm.bias"}
    for i in range(layers):
        places |= {f"layer{i}/{own}": f"encoder.layers.{i}.{name}" for own, name in LAYER_PLACES.items()}
    normed = [f"{POSITIONS}.{gain}", f"{POSITIONS}.{direction}"]
    numbers = take(source, [*places.values(), *normed], UNUSED)
    arrays = {own: numbers[name] for own, name in places.items()}
    arrays["positions/conv/kernel"] = _multiplied(numbers[normed[0]], numbers[normed[1]], source)
    return as_kernels(arrays, shapes(_network(arrays, layers, large, bias, source)), source)


def _multiplied(gain: np.ndarray, direction: np.ndarray, source: Checkpoint) -> np.ndarray:
    """PyTorch's weight norm along the last axis: unit directions, one gain for each place of the kernel."""
    if direction.ndim != 3 or gain.shape != (1, 1, direction.shape[2]):
        raise CheckpointError(
            f"{POSITIONS} has shapes {gain.shape} and {direction.shape}; is it another network?", source.path
        )
    wide = direction.astype(np.float64)
    length = np.sqrt((wide**2).sum((0, 1), keepdims=True))
    if not length.all():
        raise CheckpointError(f"{POSITIONS} has a direction of length zero", source.path)
    return (gain * wide / length).astype(np.float32)


def _network(arrays: dict[str, np.ndarray], layers: int, large: bool, bias: bool, source: Checkpoint) -> Wav2Vec2:
    conv, positions, up = (arrays[name] for name in ("conv0/kernel", "positions/conv/kernel", "layer0/up/bias"))
    width = positions.shape[0]
    heads = HEADS.get(width, max(1, width // HEAD))
    empty = not conv.size or not up.size or not positions.size  # Flax divides by sizes
    if conv.ndim != 3 or up.ndim != 1 or empty or width % heads or width % positions.shape[1]:
        raise CheckpointError(f"a network of {width} channels is not known; is it another one?", source.path)
    groups = width // positions.shape[1]
    return Wav2Vec2(width, layers, len(up), heads, conv.shape[0], large, bias, positions.shape[2], groups)


def save(folder: str | Path, arrays: dict[str, np.ndarray], *, overwrite: bool = False) -> Path:
    """Write ``folder``/wav2vec2.safetensors, whole or not at all."""
    return write(Path(folder) / FILE, arrays, overwrite=overwrite)
