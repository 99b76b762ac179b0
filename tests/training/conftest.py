"""A tiny generator and a tiny clip's worth of frames (tiny.py), as fixtures."""

import pytest
from training import tiny


@pytest.fixture(scope="session")
def small_prior():
    """(prior, variables)"""
    return tiny.prior()


@pytest.fixture(scope="session")
def make_frames():
    """frames(indices, reach, seed)"""
    return tiny.frames
