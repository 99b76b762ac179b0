"""FID, IDSIM and SyncNet in the loop: networks replaced by ones whose answers are known."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.app.judging import catalogue, fid_meter, id_meter, sync_meter, videos
from jax_talker.app.judging import judge as judging
from jax_talker.app.judging.pictures import Pictures
from jax_talker.app.judging.score import Missing
from jax_talker.app.judging.weights import Weights
from jax_talker.data.track.faces import Face
from jax_talker.metrics.frechet import frechet_distance
from jax_talker.metrics.identity import cosine, warped
from jax_talker.networks import inception, iresnet, syncnet

SIZE, FRAMES = 64, 70


def noisy(name, seed, frames=FRAMES):
    make = lambda: (np.random.default_rng((seed, i)).integers(0, 256, (SIZE, SIZE, 3), np.uint8) for i in range(frames))  # noqa: E731
    return Pictures(name, make, frames)


class Still:
    """A face that does not move; none in frames whose first pixel is 0."""

    name, score_names, reach = "mediapipe", (), 0.0

    def __call__(self, rgb, index):
        points = np.random.default_rng(0).uniform(8, 56, (468, 2))
        return [Face(points)] if rgb[0, 0].any() else []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture
def setting(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue.Setting, "landmarker", lambda self: Still)
    return catalogue.Setting(noisy("a", 1), noisy("b", 2), Weights(tmp_path))


def test_fid_is_of_all_frames(setting, monkeypatch):
    """Features: the means of 16 columns of the first row, of every frame and of no filling."""

    class Columns:
        def apply(self, variables, x):
            return x[:, 0, :16, 0] * variables["params"]["gain"]

    monkeypatch.setattr(inception, "FEATURES", 16)
    monkeypatch.setattr(inception, "Inception", Columns)
    monkeypatch.setattr(fid_meter.inception, "RESIZES", {"fid": lambda x: x, "fid_clean": lambda x: 2 * x})
    make = lambda setting, _: fid_meter.FidMeter("fid", {"gain": jnp.ones(())})  # noqa: E731
    monkeypatch.setitem(catalogue.MAKERS, "fid", make)
    found = judging.judge(setting, ["fid"])[0]
    sets = [np.stack([f[0, :16, 0] / 255 for f in p.frames()]) for p in (setting.pred, setting.truth)]
    statistics = [x for values in sets for x in (values.mean(0), np.cov(values, rowvar=False))]
    assert found.value == pytest.approx(frechet_distance(*statistics), rel=1e-4)
    assert judging.judge(videos.of_truth(setting), ["fid"])[0].value == pytest.approx(0, abs=1e-6)


def test_idsim_compares_frame_by_frame(setting, monkeypatch):
    """Embeddings: the faces' own pixels, so that cosines can be computed here."""

    class Pixels:
        def apply(self, variables, x):
            return x.reshape(len(x), -1)

    monkeypatch.setattr(iresnet, "network", lambda net: Pixels())
    monkeypatch.setitem(catalogue.MAKERS, "idsim", lambda setting, _: id_meter.IdentityMeter("curricularface", {}))
    found = judging.judge(setting, ["idsim"])[0]
    assert found.name == "idsim"
    points = id_meter.five_points(Still()(np.ones((SIZE, SIZE, 3), np.uint8), 0)[0])
    faces = [
        np.stack([warped(f, points, iresnet.TEMPLATE, iresnet.SIZE).ravel() / 127.5 - 1.0 for f in p.frames()])
        for p in (setting.pred, setting.truth)
    ]
    np.testing.assert_allclose(found.per_frame, cosine(*faces), atol=1e-5)
    assert found.value < 0.99
    assert judging.judge(videos.of_truth(setting), ["idsim"])[0].value == pytest.approx(1)
    black = replace(
        setting, pred=Pictures("black", lambda: (f * (i != 9) for i, f in enumerate(setting.truth.frames())))
    )
    hidden = judging.judge(black, ["idsim"])[0]
    assert np.flatnonzero(np.isnan(hidden.per_frame)).tolist() == [9]
    assert hidden.value == pytest.approx(1)
    assert "69 of 70" in hidden.note


@pytest.fixture
def speaking(setting, monkeypatch):
    """A picture whose grey says how loud the sound is; networks that see the one and hear the other."""
    loud = np.random.default_rng(5).uniform(0, 1, FRAMES + 20)

    def sounding(late):
        """The same voice, ``late`` frames after the pictures."""
        rng = np.random.default_rng(6)
        amplitude = np.repeat(np.roll(loud, late), 640)
        sound = (amplitude * rng.choice([-0.5, 0.5], len(amplitude))).astype(np.float32)
        greys = (60 + 150 * loud[:FRAMES]).astype(np.uint8)
        frames = lambda: (np.full((SIZE, SIZE, 3), g, np.uint8) for g in greys)  # noqa: E731
        return Pictures("speaking", frames, FRAMES, lambda: sound[: FRAMES * 640])

    def lips(params, x):
        grey = (x[:, :, 112, 112, 0].mean(1) - 60) / 150
        return jnp.broadcast_to(grey[:, None], (len(x), 1024))

    def sound(params, x):
        energy = jnp.sqrt(jnp.exp(x[:, 0, :, 0])).mean(1)
        return jnp.broadcast_to((energy / 3.2e5)[:, None], (len(x), 1024))

    monkeypatch.setattr(syncnet, "embed_lips", lips)
    monkeypatch.setattr(syncnet, "embed_sound", sound)
    monkeypatch.setitem(catalogue.MAKERS, "sync", lambda setting, _: sync_meter.SyncMeter({}, setting.pred))
    return lambda late: replace(setting, pred=sounding(late), truth=sounding(0))


@pytest.mark.parametrize("late", [0, 3, -2])
def test_shifted_sound_is_found(speaking, late):
    found = {r.name: r for r in judging.judge(speaking(late), ["sync"])}
    assert found["sync_offset"].value == -late  # the original's sign: positive where sound comes first
    assert found["sync_c"].value > 0
    assert "100" in found["sync_c"].note


def test_sync_without_sound_or_weights_is_missing(setting, tmp_path):
    found = judging.judge(setting, ["sync"])
    assert [r.name for r in found] == ["sync_c", "sync_d", "sync_offset"]
    assert all(isinstance(r, Missing) and syncnet.FILE in r.what for r in found)
    (tmp_path / syncnet.FILE).write_bytes(b"")
    assert "the sound of a" in judging.judge(setting, ["sync"])[0].what


def test_tracks():
    box = np.array([0.0, 0, 10, 10])
    first, boxes = sync_meter.longest_track([None, box, None, box + 2, *[None] * 30, box, box])
    assert first == 1
    np.testing.assert_array_equal(boxes[:, 0], [0, 1, 2])
    assert sync_meter.longest_track([None] * 4)[1].shape == (0, 4)


def test_every_missing_file_says_where_it_comes_from(setting, tmp_path):
    for name in (*iresnet.KINDS, "fid", "fid_clean", "lpips_alex", "lpips_vgg", "sync"):
        name = id_meter.name(name) if name in iresnet.KINDS else name
        found = judging.judge(setting, [name])[0]
        assert isinstance(found, Missing), name
        assert "get " in found.where, name
        assert "python -m converters" in found.where, name
        assert str(tmp_path) in found.where, name
