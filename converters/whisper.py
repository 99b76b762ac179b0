"""Whisper's weights as Hugging Face publishes them (model.safetensors, pytorch_model.bin) → its encoder's alone.

Kernels are stored as JAX multiplies them (in, out); half precision stays half. Decoder and vocabulary are left out.
"""

import re
from pathlib import Path

import numpy as np

from converters import checkpoint as checkpoints
from converters.checkpoint import Checkpoint, Progress
from converters.errors import CheckpointError
from converters.transformer import as_kernels, attention, find_encoder
from converters.weights import take, write
from jax_talker.networks.whisper import FILE, HEAD, WhisperEncoder, shapes

WHAT = "Whisper"
# Path in the Flax network → name in the original, without what all names begin with.
PLACES = {
    "conv1/kernel": "conv1.weight",
    "conv1/bias": "conv1.bias",
    "conv2/kernel": "conv2.weight",
    "conv2/bias": "conv2.bias",
    "positions": "embed_positions.weight",
    "norm/scale": "layer_norm.weight",
    "norm/bias": "layer_norm.bias",
}
LAYER_PLACES = {
    **attention("self_attn"),
    "attention_norm/scale": "self_attn_layer_norm.weight",
    "attention_norm/bias": "self_attn_layer_norm.bias",
    "up/kernel": "fc1.weight",
    "up/bias": "fc1.bias",
    "down/kernel": "fc2.weight",
    "down/bias": "fc2.bias",
    "mlp_norm/scale": "final_layer_norm.weight",
    "mlp_norm/bias": "final_layer_norm.bias",
}
LAYER_PLACES = {path: name for path, name in LAYER_PLACES.items() if path != "attention/key/bias"}  # it has none
NOTHING = re.compile(r"(?!)")


def convert(path: str | Path, progress: Progress | None = None) -> dict[str, np.ndarray]:
    """The arrays of ``networks.whisper.shapes`` for the sizes that the file has.

    CheckpointError for files that are no such checkpoints, and for missing, further, mis-shaped or non-finite tensors.
    """
    source = checkpoints.read(path, progress)
    layers = find_encoder(source, LAYER_PLACES["up/kernel"], WHAT).layers
    places = dict(PLACES)
    for i in range(layers):
        places |= {f"layer{i}/{own}": f"layers.{i}.{name}" for own, name in LAYER_PLACES.items()}
    numbers = take(source, places.values(), NOTHING)
    return as_kernels({own: numbers[name] for own, name in places.items()}, _shapes(source, numbers, layers), source)


def _shapes(source: Checkpoint, numbers: dict[str, np.ndarray], layers: int) -> dict[str, tuple[int, ...]]:
    conv, hidden, positions = (
        numbers[PLACES["conv1/kernel"]],
        numbers["layers.0.fc1.bias"],
        numbers[PLACES["positions"]],
    )
    empty = not conv.size or not hidden.size or not positions.size  # Flax divides by sizes
    if conv.ndim != 3 or hidden.ndim != 1 or positions.ndim != 2 or empty or conv.shape[0] % HEAD:
        raise CheckpointError(
            f"conv1.weight has shape {conv.shape}, layers.0.fc1.bias {hidden.shape}, embed_positions.weight "
            f"{positions.shape}; is it another network?",
            source.path,
        )
    width, bands = conv.shape[:2]
    return shapes(WhisperEncoder(width, layers, len(hidden), width // HEAD, bands, len(positions)))


def save(folder: str | Path, arrays: dict[str, np.ndarray], *, overwrite: bool = False) -> Path:
    """Write ``folder``/whisper.safetensors, whole or not at all."""
    return write(Path(folder) / FILE, arrays, overwrite=overwrite)
