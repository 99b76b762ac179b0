"""What a clip shows and says of each pixel: the label, the masks, the head on white, and where nothing is known."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from data.preparation.conftest import SIZE, prepare
from jax_talker import geometry
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.track.landmarks import IBUG


def test_the_label_describes_the_picture(drawn, prepared):
    """The person's rigid points, held fixed in the world, project by each frame's label onto its landmarks."""
    clip = prepared[1]
    rigid = list(IBUG.rigid)
    # triangulated from the stored labels and landmarks alone, as somebody would who knows only the clip folder
    rays = []
    for t in range(clip.frames):
        camera = geometry.camera_from_label(jnp.asarray(clip.arrays["label"][t]), SIZE)
        rays.append(np.asarray(camera.intrinsics) @ np.asarray(camera.cam_from_world)[:3])
    rays = np.array(rays)
    pixels = clip.arrays["landmarks"][:, rigid]
    for k in range(len(rigid)):
        rows = np.concatenate([pixels[:, k, :1] * rays[:, 2] - rays[:, 0], pixels[:, k, 1:] * rays[:, 2] - rays[:, 1]])
        place = np.linalg.svd(rows)[2][-1]
        seen = rays @ place
        error = np.linalg.norm(seen[:, :2] / seen[:, 2:] - pixels[:, k], axis=1)
        assert error.mean() < 0.5  # px of 96


def test_masks_and_head_lie_on_the_face(drawn, prepared):
    truth, clip = drawn[0], prepared[1]
    for t in (0, 25):
        upper, lower, head = np.moveaxis(clip.masks(t), -1, 0)
        points = clip.arrays["landmarks"][t]
        for group, mask in ((range(36, 48), upper), (range(48, 68), lower)):
            for x, y in points[list(group)]:
                assert mask[int(y), int(x)] > 200
                assert head[int(y), int(x)] > 200
        image = clip.image(t)
        assert (image[head == 0] == 255).all()  # white around the head
        want = truth.crops[t].cut(truth.frames[t], SIZE)
        np.testing.assert_allclose(image[head == 255].astype(int), want[head == 255], atol=45)  # H.264, half a pixel
        assert np.abs(image[head == 255].astype(int) - want[head == 255]).mean() < 4


def test_what_the_crop_shows_beyond_the_picture_is_not_valid(drawn, tmp_path):
    """A wide crop (a smaller focal length) reaches beyond the picture; the clip says so, pixel by pixel."""
    clip, video, options = drawn
    prepare(video, tmp_path / "wide", replace(options, focal=2.6, matte="none"))
    wide = open_clip(tmp_path / "wide")
    height, width = clip.frames[0].shape[:2]
    for t in range(wide.frames):
        x, y, side = wide.arrays["crop"][t].astype(float)
        edges = np.arange(SIZE + 1) * side / SIZE - side / 2
        columns, rows = ((c + edges[:-1] >= 0) & (c + edges[1:] <= n) for c, n in ((x, width), (y, height)))
        want = np.outer(rows, columns)
        valid = wide.valid(t) == 255
        assert 0.1 < 1 - want.mean() < 0.6
        assert (valid != want).mean() < 0.011  # float32 in the clip: a line of pixels may be on the border
        assert wide.masks(t)[..., 2][want].min() > 250
        assert wide.masks(t)[..., 2][~valid].max() < 255


def test_below_where_the_neck_fades_nothing_is_known(drawn, prepared, tmp_path):
    """There the picture shows less of a neck than was filmed; the face and the neck above are known."""
    _, video, options = drawn
    faded = prepared[1]
    prepare(video, tmp_path / "whole", replace(options, matte="none"))
    whole = open_clip(tmp_path / "whole")
    for t in range(0, faded.frames, 8):
        assert whole.valid(t).min() == 255
        valid, head = faded.valid(t) == 255, faded.masks(t)[..., 2]
        x, chin = np.round(faded.arrays["landmarks"][t, 8]).astype(int)
        assert valid[: chin + 1, x].all()
        assert not valid[-1].all()
        neck = head[chin:, x]
        assert (neck[valid[chin:, x]] == 255).all()
        assert (neck[~valid[chin:, x]] < 255).any()
