"""A head back in its video: in its place, in its light, with its neck, and nothing of the old one beside it."""

import cv2
import numpy as np
import pytest

from jax_talker.app import pasting
from jax_talker.data.camera.crop import Crop
from jax_talker.data.clip.clip import Clip
from jax_talker.data.read.video import read_frames, write_video
from jax_talker.errors import UserError

SIZE, WIDTH, HEIGHT, FRAMES, FIRST = 64, 160, 120, 60, 5
SKIN, COAT = np.float32([210, 160, 130]), np.float32([40, 40, 90])


class FilmedClip(Clip):
    """A head that moves before a wall with a pattern, above a body; nothing of it lies on disk but the film."""

    def __init__(self, folder):
        self.__dict__.update(root=folder, frames=FRAMES - FIRST, size=SIZE, view_names=(), folder="", job="")
        self.__dict__.update(self.filmed(folder))

    def filmed(self, folder):
        y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        wall = np.dstack([120 + 60 * np.sin(x / 9), 120 + 60 * np.sin(y / 7), 140 + 0 * x])
        centres = [np.array([80 + 18 * np.sin(t / 9), 50 + 5 * np.cos(t / 7)]) for t in range(FRAMES)]
        pictures, heads = [], []
        for cx, cy in centres:
            head = np.clip(26.5 - np.hypot(x - cx, (y - cy) * 0.8), 0, 1)
            neck = np.clip(10.5 - np.abs(x - cx), 0, 1) * (y > cy)
            body = np.clip(40.5 - np.abs(x - cx), 0, 1) * (y > cy + 40)
            picture = wall * (1 - body[..., None]) + COAT * body[..., None]
            own = np.maximum(head, neck * (1 - body))
            pictures.append(picture * (1 - own[..., None]) + SKIN * own[..., None])
            heads.append(np.maximum(own, body))
        video = write_video(folder / "film.mp4", [p.astype(np.uint8) for p in pictures], crf=4)
        crops = [Crop(c, 90.0) for c in centres[FIRST:]]
        arrays = {"crop": np.array([[*c.centre, c.side] for c in crops], np.float32)}
        film = {"wall": wall, "centres": centres, "pictures": pictures, "heads": heads, "video": video, "crops": crops}
        return {**film, "arrays": arrays, "source": {"start": FIRST / 25, "size": [WIDTH, HEIGHT]}}

    def masks(self, index):
        alpha = self.crops[index].cut((self.heads[index + FIRST][..., None] * 255).astype(np.uint8), SIZE)
        upper, lower = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
        upper[18:30, 22:42] = 255
        lower[34:50, 22:42] = 255  # the chin is at row 49
        return np.dstack([upper, lower, alpha])

    def image(self, index):
        alpha = self.masks(index)[..., 2:] / 255
        seen = self.crops[index].cut(self.pictures[index + FIRST].astype(np.uint8), SIZE)
        return np.round(seen * alpha + 255 * (1 - alpha)).astype(np.uint8)

    def layer(self, index):
        """The filmed head itself, as talking.layers would give it."""
        alpha = self.masks(index)[..., 2].astype(np.float32) / 255
        return (self.image(index) / 255 - (1 - alpha[..., None])).clip(0).astype(np.float32), alpha


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return FilmedClip(tmp_path_factory.mktemp("film"))


def test_what_is_cut_out_goes_back_to_where_it_was(clip):
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    picture = (np.dstack([x, y, x + y]) / 2).astype(np.uint8)
    for crop in (Crop(np.array([80.3, 55.7]), 90.0), Crop(np.array([20.0, 100.0]), 50.0)):
        cut = crop.cut(picture, SIZE).astype(np.float32)
        rows, columns, back = pasting._placed(cut, crop, picture.shape)
        inner = slice(3, -3)
        np.testing.assert_allclose(back[inner, inner], picture[rows, columns][inner, inner], atol=1.0)


def test_the_filmed_head_in_a_darker_light_becomes_the_film_again(clip):
    """The truth is known: colours are matched, the place is exact, and the seam cannot be seen."""
    place = pasting.find_place(clip.video, clip)
    indices = np.array([20, 21, 22, 21, 20, 19])
    layers = [(colour * np.float32([0.85, 0.9, 0.95]), alpha) for colour, alpha in map(clip.layer, indices)]
    made = list(pasting.pasted(layers, place, indices))
    film = list(read_frames(clip.video))
    for picture, index in zip(made, indices, strict=True):
        error = np.abs(picture.astype(int) - film[index + FIRST])
        assert error.mean() < 0.6  # of 255; the crop is resampled twice
        assert np.percentile(error, 99) < 12
    wrong = np.abs(made[0].astype(int) - film[indices[0]])
    assert wrong.mean() > 1  # the test can tell a frame from its neighbours


def test_nothing_of_the_old_head_looks_out_beside_a_smaller_one(clip):
    place = pasting.find_place(clip.video, clip)
    index = 30
    colour, alpha = clip.layer(index)
    less = cv2.erode(alpha, np.ones((9, 9)))
    made = next(
        pasting.pasted([(colour * (less / np.maximum(alpha, 1e-6))[..., None], less)], place, np.array([index]))
    )
    cx, cy = np.round(clip.centres[index + FIRST]).astype(int)
    beside = made[cy - 4 : cy + 4, cx + 23 : cx + 25].astype(int)  # skin in the film
    assert np.abs(clip.pictures[index + FIRST][cy, cx + 23] - SKIN).max() < 1
    assert np.abs(beside - clip.wall[cy - 4 : cy + 4, cx + 23 : cx + 25]).mean() < 12
    body = made[cy + 50 :, cx].astype(int)  # below the neck the filmed person goes on
    np.testing.assert_allclose(body, np.broadcast_to(clip.pictures[index + FIRST][cy + 50 :, cx], body.shape), atol=6)


def test_the_head_ends_softly_below_the_chin_and_at_the_rim():
    lower, head = np.zeros((100, 100)), np.zeros((100, 100))
    lower[50:70, 30:70] = 1
    head[10:95, 20:80] = 1
    fade = pasting.fading(lower, head, 100)
    column = fade[:, 50]
    assert (column[12:68] > 0.99).all()
    assert (column[82:] < 0.01).all()
    assert 0.3 < column[75] < 0.7
    assert fade[60, 81] > 0.9  # a little larger than the filmed head it may be, above the chin
    assert fade[60, 94] < 0.01
    assert fade[72, 81] < 0.1  # not at the neck, beside which a head on white is white
    full = pasting.fading(np.zeros((100, 100)), np.ones((100, 100)), 100)  # a face that is not seen
    assert full[60, 50] == pytest.approx(1)
    assert full[50, 0] < 0.2


def test_light_is_matched_within_bounds():
    alpha, face = np.ones((4, 4)), np.ones((4, 4))
    grey = np.full((4, 4, 3), 0.4)
    np.testing.assert_allclose(pasting.matching_gain(grey, alpha, grey * 1.1, face), 1.1)
    np.testing.assert_allclose(pasting.matching_gain(grey, alpha, grey * 2, face), 1.25)
    np.testing.assert_array_equal(pasting.matching_gain(grey, alpha * 0.5, grey * 2, face), 1)  # nothing to compare


def test_another_video_is_refused(clip, tmp_path):
    other = write_video(tmp_path / "other.mp4", [np.zeros((60, 80, 3), np.uint8)] * 60)
    with pytest.raises(UserError, match="another size"):
        pasting.find_place(other, clip)
    short = write_video(tmp_path / "short.mp4", [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 20)
    with pytest.raises(UserError, match="another video"):
        pasting.find_place(short, clip)
