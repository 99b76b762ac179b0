"""The sounds of tests/data, and tiny networks with random numbers."""

import numpy as np
import pytest
import safetensors.numpy

from data.conftest import beeps
from jax_talker.networks import deepspeech, whisper

__all__ = ["beeps"]

SMALL_DEEPSPEECH = deepspeech.Sizes(494, 12, 12, 16, 8, 10, 29)


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


def random_deepspeech(sizes=SMALL_DEEPSPEECH, seed=0):
    """Weights of DeepSpeech's shapes that keep activations at their size."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
        for name, shape in deepspeech.shapes(sizes).items()
    }


@pytest.fixture(scope="session")
def tiny_deepspeech(tmp_path_factory):
    """A folder with random weights of a small network."""
    folder = tmp_path_factory.mktemp("deepspeech")
    safetensors.numpy.save_file(random_deepspeech(), folder / deepspeech.FILE)
    return folder
