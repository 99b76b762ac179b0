"""Time for readers whose annotations are checked at every call, which makes them about twenty times as slow."""

import pytest

from converters import budget


@pytest.fixture(autouse=True, scope="session")
def _time_for_checks():
    """What hostile files may take is tested in processes of their own, which check no annotations (test_hostile)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "SECONDS", 20 * budget.SECONDS)
        yield
