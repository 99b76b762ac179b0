"""Small faces in large pictures are found, the same ones however the work is shared out or interrupted."""

import itertools

import numpy as np
import pytest

from jax_talker.data.clip.chunks import Chunks
from jax_talker.data.read.footage import VideoFootage
from jax_talker.data.read.video import write_video
from jax_talker.data.track import closer
from jax_talker.data.track.detection import CHUNK, KEY, detect
from jax_talker.data.track.faces import Face, box_of
from jax_talker.data.track.following import MAX_GAP

REACH = 0.1


class Shortsighted:
    """Sees bright squares that lie whole in a picture and take up at least a tenth of its longer side."""

    name, score_names, reach = "shortsighted", (), REACH

    def __call__(self, rgb, index):
        bright = rgb[..., 0] > 200
        faces, columns = [], np.flatnonzero(bright.any(0))
        for part in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1) if len(columns) else []:
            rows = np.flatnonzero(bright[:, part[0]])
            left, right, top, bottom = part[0], part[-1] + 1, rows[0], rows[-1] + 1
            whole = left > 0 and top > 0 and right < rgb.shape[1] and bottom < rgb.shape[0]
            if whole and right - left >= REACH * max(rgb.shape[:2]):
                x, y = np.meshgrid(np.linspace(left, right, 8), np.linspace(top, bottom, 8))
                faces.append(Face(np.stack([x.ravel(), y.ravel()], 1).astype(float)))
        return faces

    def check_length(self, frames):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def room(*squares, size):
    """A dark picture with bright squares (left, top, side)."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    for left, top, side in squares:
        picture[top : top + side, left : left + side] = 255
    return picture


def boxes(faces):
    return sorted(tuple(box_of(face.points).round().astype(int).tolist()) for face in faces)


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (640, 640)])
@pytest.mark.parametrize("side", [52, 90, 170])
def test_a_face_is_found_wherever_it_is(size, side):
    seer, rng = Shortsighted(), np.random.default_rng(side)
    look = lambda part: seer(part, 0)  # noqa: E731
    for _ in range(4):
        left, top = (int(rng.integers(4, length - side - 4)) for length in size)
        picture = room((left, top, side), size=size)
        found = seer(picture, 0) or closer.search_parts(look, picture, REACH)
        assert boxes(found) == [(left, top, left + side, top + side)]
        near = [Face(face.points + rng.uniform(-0.7, 0.7, 2) * side) for face in found]  # where it was just before
        assert boxes(closer.search_around(look, picture, near)) == boxes(found)


def test_two_faces_are_two_and_one_is_one():
    """Each lies whole in several parts that overlap."""
    seer = Shortsighted()
    picture = room((600, 350, 130), (1250, 360, 120), size=(1920, 1080))
    found = closer.search_parts(lambda part: seer(part, 0), picture, REACH)
    assert boxes(found) == [(600, 350, 730, 480), (1250, 360, 1370, 480)]


def filmed(first):
    """A small face that walks through a large picture, hidden for a while; then nobody."""
    for index in range(first, 130):
        there = index < 110 and not 50 <= index < 58
        yield room((100 + 3 * index, 200, 60), size=(960, 540)) if there else room(size=(960, 540))


@pytest.fixture
def footage(tmp_path, monkeypatch):
    """The same as a recording: only its pictures are looked at."""
    video = VideoFootage(write_video(tmp_path / "a.mp4", [room(size=(64, 64))]))
    monkeypatch.setattr(VideoFootage, "pictures", lambda self, first=0: filmed(first))
    return video


def plain(things, *_):
    return things


def test_small_faces_are_the_same_for_any_number_of_threads(tmp_path, footage):
    """And when the work goes on after its first chunk."""
    assert CHUNK % KEY == 0
    assert KEY - 1 <= MAX_GAP
    made = []
    for workers in (1, 4):
        made.append(detect(footage, Shortsighted, tmp_path / str(workers), workers=workers, bar=plain))
    begun = Chunks(tmp_path / "begun")
    begun.put(0, Chunks(tmp_path / "1").get(0))
    made.append(detect(footage, Shortsighted, tmp_path / "begun", workers=2, bar=plain))
    for one, other in itertools.pairwise(made):
        assert [boxes(f) for f in one.faces] == [boxes(f) for f in other.faces]
    seen = [bool(faces) for faces in made[0].faces]
    assert seen[:50] == [True] * 50
    assert not any(seen[50:58])
    assert seen[60:110] == [True] * 50  # the face that came back in between is found at the next key picture
    assert not any(seen[110:])
