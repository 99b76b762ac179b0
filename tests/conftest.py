"""What every test shares: no silent rank promotion, and the machine's shared data found or missed aloud."""

import os
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("JAX_TALKER_SHARED", ROOT.parent / "shared"))

jax.config.update("jax_numpy_rank_promotion", "raise")


# Compiled programs lie in memory maps of their own, and Linux gives a process 65,530 of them (vm.max_map_count); beyond
# that XLA's compiler ends in a segmentation fault. No single test file asks for more than about 30,000.
MAPS = Path("/proc/self/maps")
MANY_MAPS = 16_000


@pytest.fixture(autouse=True, scope="module")
def _room_for_compiled_programs():
    """Forgets earlier files' compiled programs before they fill the process."""
    if MAPS.exists():
        with MAPS.open("rb") as maps:
            count = sum(1 for _ in maps)
        if count > MANY_MAPS:
            jax.clear_caches()


# Files whose tests are whole programs: minutes in one process. Begun last, they would be waited for alone.
LONGEST = ("programs/", "test_talk.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not any(name in item.nodeid for name in LONGEST))
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
