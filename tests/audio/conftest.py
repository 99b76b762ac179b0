"""The sounds of tests/data, and tiny networks with random numbers."""

import numpy as np
import pytest
import safetensors.numpy

from data.conftest import beeps
from jax_talker.networks import whisper

__all__ = ["beeps"]


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory):
    """A folder with weights of a network that sees 2 s at once."""
    net = whisper.WhisperEncoder(width=64, layers=1, hidden=96, heads=2, bands=80, positions=100)
    rng = np.random.default_rng(0)
    arrays = {
        name: (0.2 * rng.standard_normal(shape) + name.endswith("scale")).astype(np.float32)
        for name, shape in whisper.shapes(net).items()
    }
    folder = tmp_path_factory.mktemp("whisper")
    safetensors.numpy.save_file(arrays, folder / whisper.FILE)
    return folder
