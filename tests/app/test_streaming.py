"""A stream shows what the whole sound shows, no later than it says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from motions import no_motion

from jax_talker import geometry
from jax_talker.app import streaming, talking
from jax_talker.app.speaking import Speaker
from jax_talker.audio.level import block_power, gain_db
from jax_talker.audio.logmel import LogMel
from jax_talker.data.read.live import Tape
from jax_talker.models import detail
from jax_talker.models.deformation import Poses
from jax_talker.models.talker import Talker
from jax_talker.training.talking_head import Fixed, TalkingHead

POSES = Poses(jnp.asarray(geometry.make_label(geometry.orbit(0, 0)), jnp.float32), jnp.full(3, 0.4))

SIZE = 24


@pytest.fixture(scope="module")
def speaker(small_prior, make_frames):
    """A head whose mouth follows log-mel, by chance."""
    prior, variables = small_prior
    talker = Talker(prior.num_ws, prior.w_dim, expressions=3, lips=4, audio_features=6, hidden=(8,))
    head, fixed = TalkingHead(prior, talker), Fixed(variables, detail.as_they_are(prior.num_gaussians), POSES)
    some = make_frames([4, 5], talker.reach)
    some = replace(some, audio=jax.numpy.zeros((*some.audio.shape[:3], LogMel.num_features)))
    params = head.init(jax.random.key(0), prior.mean_latent(variables), fixed.layout, some)
    rng = np.random.default_rng(1)  # fresh encoders end at zero: nothing would move
    params["talker"] = jax.tree.map(
        lambda x: x + 0.3 * rng.standard_normal(x.shape).astype(np.float32), params["talker"]
    )
    return Speaker(head, fixed, params, no_motion())


@pytest.fixture(scope="module")
def sound():
    rng = np.random.default_rng(0)
    envelope = np.repeat(rng.random(26), 1600)[:40_000]
    return (0.2 * envelope * rng.standard_normal(40_000)).astype(np.float32)


def whole(speaker, sound, smoothing, script):
    config = ConfigDict({"data": {"features": "logmel", "features_weights": None}, "render": {"smoothing": smoothing}})
    return list(talking.frames(config, speaker, script, SIZE))


@pytest.mark.parametrize(("smoothing", "at_once", "piece"), [(0.4, 2, 640), (0.0, 1, 1111), (1.5, 3, 40_000)])
def test_a_stream_shows_what_the_whole_shows(speaker, sound, smoothing, at_once, piece):
    script = talking.script_for(sound, "yaw=20", held=speaker.usual, clip=None, seed=3)
    want = whole(speaker, sound, smoothing, script)
    stream = streaming.Stream(
        speaker, LogMel(), script.label[0], SIZE, held=script.held[0], smoothing=smoothing,
        gain=gain_db(block_power(sound)), at_once=at_once, blink=script.blink,
    )  # fmt: skip
    got, times = [], []
    for first in range(0, len(sound), piece):
        for frame in stream.feed(sound[first : first + piece]):
            times.append(min(first + piece, len(sound)) / 16_000 - len(got) / 25)
            got.append(frame)
    got += list(stream.finish())
    assert len(got) == len(want) == 62
    difference = np.abs(np.stack(got).astype(int) - np.stack(want))
    assert difference.max() <= 1  # float32 in other batches, then rounded to 8 bits
    assert np.abs(np.diff(np.stack(want).astype(int), axis=0)).max() > 1  # something moves
    assert max(times) <= stream.latency + piece / 16_000 + 1e-6


def test_memory_does_not_grow(speaker, sound):
    stream = streaming.Stream(speaker, LogMel(), script_label(), SIZE, smoothing=0.4, gain=0.0, at_once=2)
    for _ in range(4):
        assert len(list(stream.feed(sound))) > 40
        assert len(stream._steps) < 100
        assert len(stream._found) < 20


def script_label():
    return geometry.make_label(geometry.orbit(0, 0)).astype(np.float32)


def test_listening_reports_and_keeps_the_sound(speaker, sound):
    stream = streaming.Stream(speaker, LogMel(), script_label(), SIZE, smoothing=0.4, at_once=2)
    tape, said = Tape(), []
    frames = list(streaming.listen(stream, iter(np.array_split(sound, 7)), tape, said.append))
    assert len(frames) == 62
    assert "real-time factor" in said[0]
    np.testing.assert_array_equal(np.concatenate(list(tape.blocks()), 1)[0], sound)


def test_latency_is_what_the_parts_look_ahead(speaker):
    """5 frames of the adapter, 2 of smoothing, 1 to fill a batch; 7 steps of a window; 25 ms; 50 ms of level."""
    stream = streaming.Stream(speaker, LogMel(), script_label(), SIZE, smoothing=0.4, at_once=2)
    assert stream.latency == pytest.approx(8 / 25 + 7 / 50 + 0.025 + 0.05)
