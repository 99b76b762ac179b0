"""The page without a browser: what its sliders and buttons do."""

import io
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from jax_talker.app.viewing import speech_panel
from jax_talker.app.viewing.drawing import Drawer
from jax_talker.app.viewing.page import Page
from jax_talker.app.viewing.performing import Performance
from jax_talker.app.viewing.puppet import make_puppet
from jax_talker.app.viewing.shown import Shown
from jax_talker.errors import UserError
from jax_talker.models.navigator import Coefficients

pytest.importorskip("viser", reason="pip install 'jax-talker[view]': the page needs it")


class Visitor:
    """What viser hands on of somebody who clicked."""

    def __init__(self):
        self.told = []

    def add_notification(self, title, body, **_):
        self.told.append(body)


@pytest.fixture(scope="module")
def shown(config, speaker):
    return Shown("tiny", config, Drawer(speaker, 24), make_puppet(config, speaker, None, None), None, None)


@pytest.fixture
def page(shown):
    opened = Page(shown, host="127.0.0.1", port=8461)
    yield opened
    opened.close()


def words(frames=20):
    rng = np.random.default_rng(0)
    motion = Coefficients(rng.normal(size=(frames, 3)), rng.normal(size=(frames, 4)))
    return Performance("words", np.zeros(frames * 640, np.float32), motion)


def test_a_slider_moves_what_the_browser_is_sent(page):
    assert page.address.startswith("http://127.0.0.1:")
    assert page._way.value == "splats"  # a few hundred Gaussians
    page.draw()
    still = page.sender.splats.buffer.copy()
    page._lips[2].value = 2.0
    page.draw()
    moved = page.sender.splats.buffer.copy()
    assert (still != moved).any()
    page._relax()
    page.draw()
    np.testing.assert_array_equal(page.sender.splats.buffer, still)


def test_splats_are_seen_until_the_first_picture_is_there(page, monkeypatch):
    page.draw()
    seen = []
    where = {"wxyz": np.array([1.0, 0, 0, 0]), "position": np.array([0, 0, 2.7])}
    camera = SimpleNamespace(**where, fov=0.2, image_width=60, image_height=40)
    scene = SimpleNamespace(set_background_image=lambda *_, **__: seen.append(page.sender.splats.visible))
    client = SimpleNamespace(client_id=3, camera=camera, scene=scene)
    monkeypatch.setattr(page.sender._server, "get_clients", lambda: {3: client})
    page._way.value = "pictures"
    page.draw()
    assert (seen, page.sender.splats.visible) == ([True], False)


def test_a_sound_moves_it_too_and_the_browser_is_told_when(page):
    visitor = Visitor()
    page.speech.play_or_stop(visitor)
    assert visitor.told == ["choose a sound first"]
    page.speech.sounds["words"] = words()
    page.speech.sound.options = list(page.speech.sounds)
    page.speech.sound.value = "words"
    page.speech.load()
    assert 'src="data:audio/wav;base64,' in page.speech.audio.content
    assert page.speech.time.max == 19
    page.draw()
    still = page.sender.splats.buffer.copy()
    page.speech.seek(SimpleNamespace(target=SimpleNamespace(value=7)))
    page.draw()
    assert page.drawn == 7
    assert (page.sender.splats.buffer != still).any()
    page.speech.play_or_stop(visitor)
    assert "a.currentTime=0.280;a.play()" in page.speech.order.content
    assert page.speech.button.label == "Stop"
    page.speech.play_or_stop(visitor)
    assert "a.pause()" in page.speech.order.content
    assert page.speech.button.label == "Play"


def test_an_upload_that_is_no_sound_is_refused_on_the_page(page):
    visitor, upload = Visitor(), SimpleNamespace(name="notes.wav", content=b"no sound")
    page.speech.uploaded(SimpleNamespace(client=visitor, target=SimpleNamespace(value=upload)))
    assert len(visitor.told) == 1
    assert page.speech.sound.value == speech_panel.NOTHING
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(16000), 16000, format="WAV")
    upload = SimpleNamespace(name="said.wav", content=file.getvalue())
    page.speech.uploaded(SimpleNamespace(client=visitor, target=SimpleNamespace(value=upload)))
    assert len(visitor.told) == 1
    assert (page.speech.sound.value, page.player.performance.frames) == ("said.wav", 25)


def test_the_loop_draws_what_is_new_and_ends_when_the_page_is_closed(shown):
    page = Page(shown, host="127.0.0.1", port=8462, way="splats", given=words())
    assert page.speech.sound.value == "words"
    thread = threading.Thread(target=page.run)
    thread.start()
    page.speech.load()
    page.speech.play_or_stop(None)
    ends = time.monotonic() + 20
    while page.player.playing and time.monotonic() < ends:
        time.sleep(0.01)
    page.close()
    thread.join(5)
    assert not thread.is_alive()
    assert page.drawn == 19


def test_without_viser_it_says_how_to_have_it(shown, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(UserError, match=r"pip install 'jax-talker\[view\]'"):
        Page(shown, host="127.0.0.1", port=8463)
