"""A person as personalising leaves it: kept whole or not at all, and damage is said."""

import sys
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from motions import no_motion

from jax_talker import priors
from jax_talker.app.person import Person, load_person
from jax_talker.errors import UserError
from jax_talker.models.deformation import Poses
from jax_talker.models.detail import as_they_are, nothing


@pytest.fixture
def kept(tmp_path):
    """The folder in which a person of three Gaussians was kept."""
    folder = tmp_path / "personal"
    folder.mkdir()
    params = {"anchor": jnp.zeros((1, 2)), "camera": jnp.zeros(6), "detail": nothing(3)}
    Person(params, as_they_are(3), Poses(jnp.zeros(25), jnp.ones(3)), no_motion(), 0.5).save(folder)
    return folder


def test_a_person_is_kept_whole(kept):
    found = load_person(kept)
    assert found.gain == 0.5
    assert set(found.params) == {"anchor", "camera", "detail"}
    np.testing.assert_array_equal(found.layout.parent, [0, 1, 2])
    (kept / "person.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match="damaged"):
        load_person(kept)
    (kept / "person.safetensors").unlink()
    (kept / "person.safetensors").mkdir()
    with pytest.raises(UserError, match="damaged"):
        load_person(kept)
    (kept / "person.safetensors").rmdir()
    with pytest.raises(UserError, match="not personalised, or an earlier version did it"):
        load_person(kept)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes there")
def test_a_full_disk_leaves_the_person_and_the_generator_as_they_were(kept, tmp_path, small_prior):
    """What safetensors raises then is no OSError, and was our bug's traceback."""
    import resource

    prior, variables = small_prior
    priors.save(tmp_path / "prior", prior, variables, card="old\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    person, limits = load_person(kept), resource.getrlimit(resource.RLIMIT_FSIZE)
    big = {**person.params, "anchor": jnp.zeros((100, 1000))}
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # as a full disk: writing fails in the middle
        with pytest.raises(OSError, match="File too large"):
            replace(person, params=big).save(kept)
        with pytest.raises(OSError, match="File too large"):
            priors.save(tmp_path / "prior", prior, variables, card="new\n", overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
