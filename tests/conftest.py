"""What every test shares: no silent rank promotion, and the machine's shared data found or missed aloud."""

import os
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("JAX_TALKER_SHARED", ROOT.parent / "shared"))

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_modifyitems(items):
    if any(device.platform == "gpu" for device in jax.devices()):
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=f"needs a GPU, found {jax.devices()[0].platform!r}"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's shared folder (clips, golden data, scenes), which does not travel with the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED} (set JAX_TALKER_SHARED to where it lies)")
    return SHARED
