"""The studio in a real browser: a sound is uploaded, a video comes back, and nothing else is asked for anything."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from browser import free_port, opened
from programs.people import made, run

from jax_talker.app import detecting

__all__ = ["made", "run"]
pytest.importorskip("gradio", reason="pip install 'jax-talker[studio]': the page needs it")
pytestmark = pytest.mark.slow

PORT = free_port()


@pytest.fixture
def address(run, tmp_path):
    people = tmp_path / "people"
    people.mkdir()
    (people / "somebody").symlink_to(run)
    command = [
        sys.executable,
        "-m",
        "jax_talker.studio",
        "--people",
        str(people),
        f"--port={PORT}",
        "--longest-speech=3",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"open http://127.0.0.1:{PORT}/ "), line
        yield f"http://127.0.0.1:{PORT}/"
        process.terminate()


def test_somebody_says_what_was_uploaded(address, tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "words.wav", 0.1 * rng.standard_normal(32000), 16000)
    soundfile.write(tmp_path / "long.wav", 0.1 * rng.standard_normal(64000), 16000)
    with opened(address) as (tab, hosts):
        make = tab.get_by_role("button", name="Make the video")
        make.click()
        tab.get_by_text("what shall be said?").wait_for()
        sound = tab.locator("input[type=file][accept*=audio]")
        sound.first.set_input_files(tmp_path / "long.wav")
        tab.get_by_text("0:04").first.wait_for()
        make.click()
        tab.get_by_text("the speech lasts 4 s; at most 3 s").wait_for()
        tab.get_by_label("Clear").first.click()
        sound.first.set_input_files(tmp_path / "words.wav")
        tab.get_by_text("0:02").first.wait_for()
        make.click()
        tab.wait_for_function("[...document.querySelectorAll('video')].some(v => v.readyState > 1)")
        shown = (
            "(() => { const v = document.querySelector('video'); return [v.currentSrc, v.duration, v.videoWidth]; })()"
        )
        source, seconds, width = tab.evaluate(shown)
        assert (seconds, width) == (2, 32)
        assert "synthetic" in tab.get_by_label("About it").input_value()
        (tmp_path / "got.mp4").write_bytes(tab.request.get(source).body())
        assert set(hosts) == {"127.0.0.1"}
    assert detecting.look(tmp_path / "got.mp4").ours  # by its credentials; the mark wants larger pictures
