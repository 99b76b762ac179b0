"""What every test shares: no silent rank promotion, and the machine's shared data found or missed aloud."""

import ctypes
import gc
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
# What was freed stays with the process, of which it is most (2 of 2.7 GB): three workers would fill 24 GiB.
MUCH = 2e9  # bytes


@pytest.fixture(autouse=True, scope="module")
def _room_for_compiled_programs():
    """Forgets earlier files' compiled programs before they fill the process or the machine."""
    if not MAPS.exists():
        return
    with MAPS.open("rb") as maps:
        many = sum(1 for _ in maps) > MANY_MAPS
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if many or resident > MUCH:
        jax.clear_caches()
        gc.collect()
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
            trim(0)


# Files that take minutes, in the order in which they are begun: last, they would be waited for alone. The first makes
# what all of programs/ works on; another worker, which would wait for that, begins with the second.
LONGEST = ("programs/test_train.py", "training/test_", "test_survival.py", "programs/", "test_talk.py", "test_bench")


def pytest_collection_modifyitems(items):
    place = lambda item: next((k for k, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST))  # noqa: E731
    items.sort(key=place)
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
