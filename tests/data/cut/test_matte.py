"""The head is cut out of a clip: on drawn heads with known alpha, and whole on the real ones."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from jax_talker.data.camera.crop import Crop
from jax_talker.data.cut.alpha_files import AlphaFiles, NoMatte, in_order
from jax_talker.data.cut.matte import HeadMatte, HeadView, lowest_chin, on_white
from jax_talker.data.read.video import write_video
from jax_talker.data.track.landmarks import IBUG
from jax_talker.errors import UserError

SIZE = 128


@pytest.fixture(scope="module")
def clip(drawn_head):
    return drawn_head(48)


@pytest.fixture(scope="module")
def views(clip):
    up = clip.cam_from_world[:, :2, 1]
    up = up / np.linalg.norm(up, axis=1, keepdims=True)
    chin = lowest_chin(clip.crops, clip.landmarks, up, IBUG)
    return [HeadView(*view, chin) for view in zip(clip.crops, clip.landmarks, up, strict=True)]


@pytest.fixture(scope="module")
def alphas(clip, views):
    return cut_all(HeadMatte(clip.frames[::3], views[::3], IBUG), clip, views)


def cut_all(matte, clip, views, first=0):
    cut = matte.cutter()
    found = []
    for t in range(first, len(views)):
        looked = matte.look(t, clip.frames[t], views[t])
        found.append(cut(looked, views[t], views[t].crop.cut(clip.frames[t], SIZE)))
    return found


def cut_one(matte, t, frame, view):
    return matte.cutter()(matte.look(t, frame, view), view, view.crop.cut(frame, SIZE))


def true_alpha(clip, views, t):
    return views[t].crop.cut(clip.alpha[t][..., None], SIZE)[..., 0] / 255


def test_the_head_is_found(clip, views, alphas):
    """Hair and face, down to the chin, against a wall whose patches have colours that occur nowhere else: at least 90 %
    overlap in every frame (measured 0.92 to 0.98; what is wrong are patches that the head never uncovers)."""
    for t, alpha in enumerate(alphas):
        chin = int(views[t].crop.to_crop(views[t].landmarks[8], SIZE)[1])
        got, want = alpha[:chin], true_alpha(clip, views, t)[:chin]
        assert np.minimum(got, want).sum() / np.maximum(got, want).sum() > 0.9


def test_the_neck_fades_out(views, alphas):
    for view, alpha in zip(views, alphas, strict=True):
        chin_x, chin_y = view.crop.to_crop(view.landmarks[8], SIZE)
        column = alpha[int(chin_y) :, int(chin_x)]
        assert column[0] > 0.9
        assert column[round(0.2 * SIZE) :].max(initial=0) == 0
        assert (np.diff(column) < 0.02).all()  # it only ever gets less


def test_the_matte_is_steady(alphas):
    """The head hardly moves within its crop, so the matte must not either."""
    changes = [np.abs(b - a).mean() for a, b in itertools.pairwise(alphas)]
    assert np.mean(changes) < 0.012  # a rolling head's own change is 0.006


def test_a_piece_hardly_depends_on_where_it_begins(clip, views, alphas):
    """After the warm-up, the memory of what was before has faded to less than a grey level on average."""
    matte, first = HeadMatte(clip.frames[::3], views[::3], IBUG), 20
    again = cut_all(matte, clip, views, first)
    cold = np.abs(again[0] - alphas[first]).mean()
    warm = np.abs(again[matte.warm_up] - alphas[first + matte.warm_up]).mean()
    assert warm < 1 / 255
    assert warm < cold / 3


def test_nothing_is_seen_beyond_the_source(clip, views):
    t, far = 3, Crop(views[3].crop.centre, views[3].crop.side * 3)
    view = HeadView(far, views[t].landmarks, views[t].up, views[t].chin / 3)
    outside = far.inside(clip.frames[t].shape, SIZE) == 0
    assert outside.mean() > 0.3
    assert cut_one(HeadMatte(clip.frames[:2], views[:2], IBUG), t, clip.frames[t], view)[outside].max() == 0
    kept = cut_one(NoMatte(), t, clip.frames[t], view)
    assert kept[outside].max() == 0
    assert kept[~outside].min() > 0


def test_on_white_takes_the_background_out_of_soft_edges():
    """A red disc with a soft edge on green, composited on white, shows no green."""
    rows, columns = np.indices((SIZE, SIZE)) - SIZE / 2
    alpha = np.clip((40 - np.hypot(rows, columns)) / 8 + 0.5, 0, 1).astype(np.float32)
    red, green = np.array([200.0, 30, 30]), np.array([20.0, 180, 40])
    picture = np.round(alpha[..., None] * red + (1 - alpha[..., None]) * green).astype(np.uint8)
    want = alpha[..., None] * red + 255 * (1 - alpha[..., None])
    error = np.abs(on_white(picture, alpha) - want)
    assert error.max() < 8
    naive = alpha[..., None] * picture + 255 * (1 - alpha[..., None])
    assert np.abs(naive - want).max() > 30  # what it is for
    np.testing.assert_array_equal(on_white(picture, np.ones_like(alpha)), picture)
    assert on_white(picture, np.zeros_like(alpha)).min() == 255


def test_mattes_of_ones_own(tmp_path, clip, views):
    folder = tmp_path / "alphas"
    folder.mkdir()
    for t, alpha in enumerate(clip.alpha):
        if t % 2:  # an alpha channel or plain grey, 8 or 16 bit
            cv2.imwrite(str(folder / f"{t:04d}.png"), np.dstack([clip.frames[t], alpha]))
        else:
            cv2.imwrite(str(folder / f"{t:04d}.png"), alpha.astype(np.uint16) * 257)
    video = write_video(tmp_path / "alphas.mp4", (np.repeat(a[..., None], 3, 2) for a in clip.alpha))
    for path, tolerance in ((folder, 1e-6), (video, 0.03)):  # H.264 rounds
        given = AlphaFiles(path, frames=len(views), start=0)
        for t, view in enumerate(views):
            alpha = cut_one(given, t, clip.frames[t], view)
            inside = view.crop.inside(clip.frames[t].shape, SIZE)
            assert np.abs(alpha - true_alpha(clip, views, t) * inside).mean() <= tolerance


@pytest.mark.parametrize(
    "name",
    ["{}.png", "frame{}.png", "alpha_{}_of_40.png", "{:05d}.png", "Shot 2 ({}).PNG", "v1.{}.png", "clip.2.{:04d}.tif"],
)
def test_mattes_are_counted_as_people_count(tmp_path, views, name):
    for i in reversed(range(40)):
        cv2.imwrite(str(tmp_path / name.format(i)), np.full((8, 8), i, np.uint8))
    (tmp_path / f"._{name.format(3)}").write_bytes(b"a Mac's note on a foreign disk")
    files = AlphaFiles(tmp_path, frames=40, start=0.0)
    picture = np.zeros((8, 8, 3), np.uint8)
    assert [int(files.look(i, picture, views[0])[0, 0]) for i in range(40)] == list(range(40))


def test_mattes_named_by_seconds_are_in_the_order_of_time():
    names = [Path(f"matte_{i / 25}.png") for i in range(40)]  # 0.0, 0.04, 0.08, …, 0.2, 0.24
    assert in_order(names[::-1]) == names


def test_bad_mattes_say_why(tmp_path, clip, views):
    (tmp_path / "few").mkdir()
    cv2.imwrite(str(tmp_path / "few" / "0.png"), clip.alpha[0])
    with pytest.raises(UserError, match="holds 1 pictures, but the source has 48"):
        AlphaFiles(tmp_path / "few", frames=48, start=0)
    cv2.imwrite(str(tmp_path / "few" / "0.png"), clip.alpha[0][::2])
    with pytest.raises(UserError, match="mattes are 320×120, the video is 320×240"):
        AlphaFiles(tmp_path / "few", frames=1, start=0).look(0, clip.frames[0], views[0])
    (tmp_path / "few" / "0.png").write_text("no picture")
    with pytest.raises(UserError, match="not a picture"):
        AlphaFiles(tmp_path / "few", frames=1, start=0).look(0, clip.frames[0], views[0])
    short = write_video(tmp_path / "short.mp4", [np.zeros((240, 320, 3), np.uint8)] * 2)
    given = AlphaFiles(short, frames=48, start=0)
    for t in range(2):
        given.look(t, clip.frames[t], views[t])
    with pytest.raises(UserError, match="ends before the picture does"):
        given.look(2, clip.frames[2], views[2])
    given.look(1, clip.frames[1], views[1])  # a picture again, as after an interruption
