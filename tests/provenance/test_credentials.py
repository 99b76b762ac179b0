"""Signed words in a file: read back by the library itself, valid until something changes."""

import stat
from pathlib import Path

import numpy as np
import pytest

from jax_talker.data.read.video import write_video
from jax_talker.errors import UserError
from jax_talker.provenance import certificate, credentials

pytest.importorskip("c2pa", reason="the extra 'provenance' brings c2pa-python")
RUN = "ab" * 32


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return certificate.own_certificate(tmp_path_factory.mktemp("certificate") / "new")


def video(path):
    rng = np.random.default_rng(0)
    return write_video(path, list(rng.integers(0, 256, (10, 64, 64, 3), np.uint8)), sound=np.zeros(6400, np.float32))


def signed(path, own):
    video(path)
    credentials.sign(path, own, program="jax_talker", version="9.8", run={"run": RUN})
    return path


def test_a_certificate_is_made_once_and_kept_to_oneself(tmp_path):
    first = certificate.own_certificate(tmp_path / "c")
    assert certificate.own_certificate(tmp_path / "c") == first
    assert stat.S_IMODE((tmp_path / "c" / certificate.KEY).stat().st_mode) == 0o600
    with pytest.raises(UserError, match="cannot be read"):
        certificate.read_certificate(tmp_path / "none.pem", tmp_path / "c" / certificate.KEY)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_signed_video_is_valid_and_its_signer_unknown(tmp_path, own, suffix):
    found = credentials.read(signed(tmp_path / f"a{suffix}", own))
    assert (found.valid, found.trusted, found.synthetic) == (True, False, True)
    assert (found.generator, found.run) == ("jax_talker 9.8", RUN)
    assert found.signer == certificate.NAME
    assert found.problems == ("signingCredential.untrusted",)
    assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]


def test_a_changed_video_is_not_valid(tmp_path, own):
    path = signed(tmp_path / "a.mp4", own)
    content = bytearray(path.read_bytes())
    content[content.find(b"mdat") + 3000] ^= 1
    path.write_bytes(content)
    found = credentials.read(path)
    assert not found.valid
    assert "assertion.bmffHash.mismatch" in found.problems


def test_a_video_without_credentials_has_none(tmp_path):
    assert credentials.read(video(tmp_path / "a.mp4")) is None
    assert credentials.read(video(tmp_path / "a.mkv")) is None


def test_a_certificate_that_does_not_fit_its_key_leaves_the_video_as_it_was(tmp_path, own):
    other = certificate.own_certificate(tmp_path / "other")
    path = video(tmp_path / "a.mp4")
    before = path.read_bytes()
    with pytest.raises(UserError, match="cannot be signed"):
        credentials.sign(path, certificate.Certificate(own.chain, b"no key"), program="p", version="1", run={})
    assert path.read_bytes() == before
    assert Path(tmp_path / "other").is_dir()
    assert other.key != own.key
