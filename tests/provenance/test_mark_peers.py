"""The comparison of invisible marks counts what is right, and puts frames back where they were cut from."""

import sys

import numpy as np
import pytest

from benchmarks import mark_peers
from jax_talker.errors import UserError


class Loud:
    """Sixteen bits as dark and bright squares: read at their places they survive everything, elsewhere they do not."""

    name, bits = "loud", np.array([0, 1, 1, 0, 1, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 0])

    def marked(self, pictures):
        squares = np.kron(np.where(self.bits, 200, 50).reshape(4, 4), np.ones((24, 24))).astype(np.uint8)
        return [np.repeat(squares[..., None], 3, 2) for _ in pictures]

    def read(self, pictures):
        mean = np.mean(pictures, (0, 3))
        rows, columns = ((np.arange(4) * 24 + 12) % side for side in mean.shape)
        return (mean[np.ix_(rows, columns)].ravel() > 125).astype(int)


@pytest.mark.parametrize("crop", [0.0, 0.1])
def test_frames_are_put_back(crop):
    (marked,) = Loud().marked([None])
    edge = round(96 * crop / 2)
    small = marked[edge : 96 - edge : 2, edge : 96 - edge : 2]
    (whole,) = mark_peers._put_back([small], (96, 96), crop)
    assert (Loud().read([whole]) == Loud.bits).all()
    assert (whole[:edge] == 128).all()
    assert mark_peers._put_back([marked], (96, 96), crop) is None


def test_a_row_says_what_is_right_after_each_attack():
    plain = [np.full((96, 96, 3), 128, np.uint8)] * 4
    cells = [cell.strip() for cell in mark_peers.survey(Loud(), plain).strip("|").split("|")]
    assert cells[0] == "loud, 16 bits"
    assert float(cells[1]) == pytest.approx(10 * np.log10(255**2 / 75.1**2), abs=0.2)
    assert cells[2] == "100 %"
    assert len(cells) == 3 + len(mark_peers.SEEN)
    assert all(cell.endswith("(100 %)") for cell in cells[4:])  # the first attack leaves the size
    assert cells[3] == "100 %"
    assert not cells[-1].startswith("100 %"), "nothing is where it was"


def test_a_peer_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "blind_watermark", None)
    with pytest.raises(UserError, match="blind-watermark is not installed"):
        mark_peers.BlindWatermark()
