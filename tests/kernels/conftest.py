"""Without a GPU the Pallas kernels run in interpret mode, so that every test of the door tests them as well."""

import functools

import pytest

from kernels import api, pallas_triton
from kernels.dispatch import platform


@pytest.fixture(scope="session", autouse=True)
def interpreted():
    """Not for ``kernels`` itself: there it is "Unsupported", because nobody wants to wait for an interpreter."""
    if platform() == "gpu":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        interpret = functools.partial(pallas_triton.rasterize, mode="interpret")
        patch.setitem(api.IMPLEMENTATIONS, "pallas_triton", interpret)
        yield
