"""Videos of people who were cut out before: what is transparent is white, and the alpha is the file's own."""

import av
import cv2
import numpy as np
import pytest

from jax_talker.data.camera.crop import Crop
from jax_talker.data.cut.alpha_files import AlphaFiles
from jax_talker.data.cut.matte import HeadView
from jax_talker.data.read.video import probe, read_alpha, read_frames
from jax_talker.errors import UserError

CODECS = {
    "ProRes 4444": ("prores_ks", "mov", "yuva444p10le", {"profile": "4444"}),
    "QuickTime Animation": ("qtrle", "mov", "argb", {}),
    "PNG": ("png", "mov", "rgba", {}),
    "FFV1": ("ffv1", "mkv", "yuva420p", {}),
    "FFV1, RGB": ("ffv1", "mkv", "bgra", {}),
    "Ut Video": ("utvideo", "avi", "gbrap", {}),
    "VP8": ("libvpx", "webm", "yuva420p", {"auto-alt-ref": "0", "crf": "4", "b": "2M"}),
    "VP9": ("libvpx-vp9", "webm", "yuva420p", {"crf": "10", "b": "0", "deadline": "realtime", "cpu-used": "8"}),
}
SIZE, FRAMES = 96, 12
VIEW = HeadView(Crop(np.full(2, 48.0), 64.0), np.zeros((68, 2)), np.array([0.0, -1.0]), 0.37)


def disc(index, size=SIZE):
    """Alpha [H, W] uint8 of a soft disc that moves."""
    y, x = np.mgrid[:size, :size]
    alpha = np.where(np.hypot(x - 40 - index, y - 48) < 28, np.uint8(255), np.uint8(0))
    return cv2.GaussianBlur(alpha, (0, 0), 1.5)


def pictures(*, opaque=False):
    """RGBA: a grey disc, and behind the alpha a pattern that nobody should see."""
    y, x = np.mgrid[:SIZE, :SIZE] // 8
    pattern = np.where(((x + y) % 2)[..., None] > 0, np.uint8([255, 0, 255]), np.uint8([0, 255, 0]))
    for index in range(FRAMES):
        alpha = disc(index)
        rgb = np.where(alpha[..., None] > 0, np.uint8([120, 120, 120]), pattern)
        yield np.dstack([rgb, np.full_like(alpha, 255) if opaque else alpha])


def film(path, kind, rgba):
    codec, _, pixels, options = CODECS[kind]
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no {codec}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, pixels
        for index, picture in enumerate(rgba):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgba").reformat(format=pixels)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("kind", CODECS)
def test_what_is_transparent_is_white(tmp_path, kind):
    path = film(tmp_path / f"a.{CODECS[kind][1]}", kind, pictures())
    assert probe(path).has_alpha
    assert "alpha channel is the matte" in probe(path).notes[0]
    shown, alphas = list(read_frames(path)), list(read_alpha(path))
    assert len(shown) == len(alphas) == FRAMES
    for index, (rgb, alpha) in enumerate(zip(shown, alphas, strict=True)):
        true = disc(index)
        assert np.abs(alpha.astype(int) - true).mean() < 3  # VP8 is lossy, and so is its alpha
        green, magenta = (rgb[..., 1].astype(int) - rgb[..., 0], rgb[..., 0].astype(int) - rgb[..., 1])
        hidden = cv2.dilate(true, np.ones((9, 9))) == 0  # lossy codecs smear colours across the edge
        assert max(green[hidden].max(), magenta[hidden].max()) < 12
        assert rgb[hidden].min() > 235
        assert np.abs(rgb[true == 255].astype(int) - 120).mean() < 8
    np.testing.assert_array_equal(list(read_frames(path, first=5)), shown[5:])
    np.testing.assert_array_equal(list(read_alpha(path, start=0.2)), alphas[5:])


@pytest.mark.parametrize("kind", ["ProRes 4444", "QuickTime Animation", "FFV1", "VP9"])
def test_an_opaque_alpha_channel_is_none(tmp_path, kind):
    path = film(tmp_path / f"a.{CODECS[kind][1]}", kind, pictures(opaque=True))
    assert not probe(path).has_alpha
    assert not any("alpha" in note for note in probe(path).notes)
    picture = next(read_frames(path)).astype(int)
    assert (picture[:24, :24, 1] - picture[:24, :24, 0]).max() > 150  # the pattern is to be seen


@pytest.mark.parametrize("kind", ["ProRes 4444", "VP9", "PNG"])
def test_a_matte_is_a_videos_alpha_where_it_has_one(tmp_path, kind):
    path = film(tmp_path / f"a.{CODECS[kind][1]}", kind, pictures())
    files, source = AlphaFiles(path, frames=FRAMES, start=0.0), np.zeros((SIZE, SIZE, 3), np.uint8)
    for index in range(FRAMES):
        assert np.abs(files.look(index, source, VIEW).astype(int) - disc(index)).mean() < 2


def test_a_matte_is_the_brightness_of_an_opaque_one(tmp_path):
    """A matte that a program has put into RGBA, its alpha channel full: as a video and as pictures."""
    grey = [np.dstack([*[disc(i)] * 3, np.full((SIZE, SIZE), 255, np.uint8)]) for i in range(FRAMES)]
    path = film(tmp_path / "a.mov", "QuickTime Animation", grey)
    (tmp_path / "a").mkdir()
    for index, picture in enumerate(grey):
        cv2.imwrite(str(tmp_path / "a" / f"{index}.png"), picture)
    source = np.zeros((SIZE, SIZE, 3), np.uint8)
    for given in (path, tmp_path / "a"):
        files = AlphaFiles(given, frames=FRAMES, start=0.0)
        for index in range(FRAMES):
            np.testing.assert_allclose(files.look(index, source, VIEW), disc(index), atol=1)


def test_an_alpha_that_ends_too_early_says_so(tmp_path):
    files = AlphaFiles(film(tmp_path / "a.mov", "PNG", pictures()), frames=20, start=0.4)
    source = np.zeros((SIZE, SIZE, 3), np.uint8)
    files.look(0, source, VIEW), files.look(1, source, VIEW)
    with pytest.raises(UserError, match="ends before the picture does"):
        files.look(2, source, VIEW)
