"""The viewer in a real browser: the head is painted, sliders change pixels, and sound is played in step."""

import io
import threading
import time

import cv2
import numpy as np
import pytest
import soundfile
from browser import opened

from jax_talker.app.viewing import performing
from jax_talker.app.viewing.drawing import Drawer
from jax_talker.app.viewing.page import Page
from jax_talker.app.viewing.puppet import make_puppet
from jax_talker.app.viewing.shown import Shown
from jax_talker.data.clip.clip import FPS

pytest.importorskip("viser", reason="pip install 'jax-talker[view]': the page needs it")
pytestmark = pytest.mark.slow

PAINTED = 60.0  # s in which a busy machine must have painted something
SEEN = 0.0003  # of the pixels; a lip of the tiny head moves a thousandth of them, and nothing else moves any
IN_STEP = 0.15  # s, in the median, of what is drawn here; such a browser paints it 0.1 to 0.2 s later (docs/view.md)


@pytest.fixture(scope="module")
def served(config, speaker, tmp_path_factory):
    """The page of the tiny head, being drawn."""
    folder = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(0)
    soundfile.write(folder / "words.wav", 0.1 * rng.standard_normal(16000 * 8), 16000)
    words = performing.perform(config, speaker, folder / "words.wav")
    shown = Shown("tiny", config, Drawer(speaker, 24), make_puppet(config, speaker, None, None), None, None)
    page = Page(shown, host="127.0.0.1", port=8480, given=words)
    thread = threading.Thread(target=page.run)
    thread.start()
    yield page
    page.close()
    thread.join(10)


def canvas(tab):
    """What is painted where the head is: [H, W, 3], without the panel and what is said about slow machines."""
    png = np.frombuffer(tab.screenshot(clip={"x": 0, "y": 200, "width": 600, "height": 500}), np.uint8)
    return cv2.imdecode(png, cv2.IMREAD_COLOR).astype(int)


def changed(one, other):
    """Share of pixels that are visibly another colour."""
    return (np.abs(one - other).max(-1) > 8).mean()


def painted(tab, differs_from):
    """The canvas as soon as it differs from another picture, and stands still."""
    ends, last = time.monotonic() + PAINTED, None
    while time.monotonic() < ends:
        now = canvas(tab)
        if changed(now, differs_from) > SEEN and last is not None and changed(now, last) == 0:
            return now
        last = now
        time.sleep(0.5)
    return pytest.fail("nothing else was painted")


def show_as(served, way):
    """Splats or pictures, as soon as the others are gone: they stay until there is a first picture."""
    served._way.value = way
    served._something_new()
    ends = time.monotonic() + PAINTED
    while served.sender.splats is None or served.sender.splats.visible != (way == "splats"):
        assert time.monotonic() < ends, f"no {way} came"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def tab(served):
    with opened(served.address) as (tab, hosts):
        tab.get_by_role("button", name="At rest").wait_for()
        yield tab
        assert set(hosts) == {"127.0.0.1"}


@pytest.mark.parametrize("way", ["splats", "pictures"])
def test_a_slider_that_is_moved_in_the_browser_changes_pixels(served, tab, way):
    show_as(served, way)
    white = np.full((500, 600, 3), 255)
    still = painted(tab, white)
    lip = tab.get_by_role("slider").nth(2)  # after the sound's time and the blink
    assert [lip.get_attribute(f"aria-value{name}") for name in ("min", "max", "now")] == ["-2", "2", "0"]
    lip.press("End")
    pulled = painted(tab, still)
    assert served.pull.lips[0] == 2.0
    tab.get_by_role("button", name="yaw +30").click()
    painted(tab, pulled)
    tab.get_by_role("button", name="front").click()
    tab.get_by_role("button", name="At rest").click()
    again = painted(tab, pulled)
    assert changed(again, still) < SEEN  # the same face from the same camera


def test_nothing_of_the_pictures_is_left_behind_the_splats(served, tab):
    """A picture stands behind everything, where it would be seen as soon as the head is turned."""
    white = np.full((500, 600, 3), 255)

    def turned(way, preset):
        show_as(served, way)
        tab.get_by_role("button", name=preset).click()
        time.sleep(3)
        return painted(tab, white)

    alone = turned("splats", "yaw +30")
    assert changed(turned("pictures", "front"), alone) > 0.1  # the test's own premise
    assert changed(turned("splats", "yaw +30"), alone) < SEEN


def test_sound_and_picture_are_in_step(served, tab):
    served.speech.load()
    tab.get_by_role("button", name="Play").click()
    now = "document.getElementById('speech').currentTime"
    apart = []
    while len(apart) < 20:
        heard, frame = tab.evaluate(now), served.drawn
        if heard > 0.5 and served.player.playing:
            apart.append(frame / FPS - heard)
        time.sleep(0.2)
        assert served.player.playing, "it ended before it was looked at"
    print(f"picture before sound: {np.median(apart):+.3f} s, from {min(apart):+.3f} to {max(apart):+.3f}")
    assert abs(np.median(apart)) < IN_STEP
    tab.get_by_role("button", name="Stop").click()
    tab.wait_for_function("document.getElementById('speech').paused")
    assert not served.player.playing


def test_a_sound_is_uploaded_and_said(served, tab, tmp_path):
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(1).standard_normal(16000), 16000, format="WAV")
    (tmp_path / "other.wav").write_bytes(file.getvalue())
    tab.locator("input[type=file]").first.set_input_files(tmp_path / "other.wav")
    ends = time.monotonic() + PAINTED
    while served.speech.sound.value != "other.wav" and time.monotonic() < ends:
        time.sleep(0.1)
    assert served.player.performance.name == "other.wav"
    tab.wait_for_function("document.getElementById('speech').duration === 1")
