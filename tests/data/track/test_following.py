"""One face is followed through what is found in every picture; the best stretch is kept and everything is reported."""

import numpy as np
import pytest

from jax_talker.data.clip.findings import Severity
from jax_talker.data.track.face_findings import MAX_GAP
from jax_talker.data.track.faces import Face
from jax_talker.data.track.following import broken_recordings, follow_face
from jax_talker.data.track.landmarks import IBUG, scheme_of
from jax_talker.errors import UserError

SHAPE = np.random.default_rng(0).uniform(-0.5, 0.5, (68, 2))
SHAPE = (SHAPE - SHAPE.min(0)) / (SHAPE.max(0) - SHAPE.min(0)) - 0.5  # fills its box exactly


def face(x=200.0, y=150.0, side=100.0, **kwargs):
    return Face(points=SHAPE * side + (x, y), **kwargs)


def follow(found, cuts=(), **kwargs):
    return follow_face(found, cuts, **{"picture_size": (640, 360), "fps": 25, "where": "clip.mp4", **kwargs})


def kinds(followed, severity=None):
    return [f.kind for f in followed.findings if severity in (None, f.severity)]


def test_one_face_without_trouble_needs_no_finding():
    followed = follow([[face(x=200 + 2 * t)] for t in range(30)])
    assert (followed.first, followed.last, followed.findings) == (0, 30, ())
    np.testing.assert_allclose(
        followed.track.points[:, :, 0].mean(1) - followed.track.points[0, :, 0].mean(), 2.0 * np.arange(30)
    )
    assert followed.track.detected.tolist() == [1] * 30


@pytest.mark.parametrize("missing", [(3,), (3, 4, 5, 6, 7), (3, 10, 20)])
def test_short_gaps_are_interpolated_and_marked(missing):
    values = dict(depth=np.zeros(68), rotation=np.eye(3), scores=np.zeros(4, np.float32))
    found = [[] if t in missing else [face(x=200 + t, **values)] for t in range(40)]
    followed = follow(found, start=2.0)
    np.testing.assert_allclose(followed.track.points, np.array([face(x=200 + t).points for t in range(40)]))
    assert np.flatnonzero(followed.track.detected == 0).tolist() == list(missing)
    assert followed.track.depth.shape == (40, 68)
    assert followed.track.rotation.shape == (40, 3, 3)
    assert followed.track.scores.dtype == np.float32
    gaps = [f for f in followed.findings if f.kind == "face_gap"]
    assert gaps[0].begin == pytest.approx(2 + missing[0] / 25)
    assert sum(round((f.end - f.begin) * 25) for f in gaps) == len(missing)
    assert {f.severity for f in gaps} == {Severity.NOTE}


def test_the_nearest_rotation_fills_a_gap():
    found = [[face(rotation=np.eye(3) * t)] if t not in (10, 11, 12) else [] for t in range(30)]
    assert follow(found).track.rotation[8:15, 0, 0].tolist() == [8, 9, 9, 9, 13, 13, 14]


def test_a_long_gap_cuts_the_clip():
    gone = range(40, 40 + MAX_GAP + 1)
    followed = follow([[] if t in gone else [face()] for t in range(100)], start=1.0)
    assert (followed.first, followed.last) == (46, 100)
    assert len(followed.track.points) == 54
    assert kinds(followed) == ["cut_away", "lost_face"]
    away, lost = followed.findings
    assert (away.begin, away.end) == (1.0, pytest.approx(1 + 46 / 25))
    assert (lost.begin, lost.end) == (pytest.approx(2.6), pytest.approx(2.84))
    assert "0:02.84–0:05.00" in away.message


def test_a_cut_cuts_the_clip_though_the_face_is_in_the_same_place():
    followed = follow([[face()] for _ in range(100)], [30, 70])
    assert (followed.first, followed.last) == (30, 70)
    assert kinds(followed) == ["cut_away", "cut", "cut", "cut_away"]
    assert [f.begin for f in followed.findings if f.kind == "cut"] == [pytest.approx(1.2), pytest.approx(2.8)]
    assert all(f.severity is Severity.WARNING for f in followed.findings)


def test_a_join_is_no_cut_but_nothing_is_interpolated_across_it():
    found = [[face(x=200)] if t < 48 else [] if t < 53 else [face(x=420)] for t in range(100)]  # gaps on both sides
    followed = follow(found, [50], boundaries=[50])
    assert (followed.first, followed.last) == (0, 100)
    centres = followed.track.points.mean(1)[:, 0] - SHAPE[:, 0].mean() * 100
    np.testing.assert_allclose(centres, [200] * 50 + [420] * 50)
    assert np.flatnonzero(followed.track.detected == 0).tolist() == [48, 49, 50, 51, 52]
    assert kinds(followed) == ["face_gap"]
    lost = [[face()] if abs(t - 50) > MAX_GAP + 2 else [] for t in range(100)]
    assert (follow(lost, boundaries=[50]).first, follow(lost, boundaries=[50]).last) == (0, 43)


def test_the_larger_of_two_faces_is_followed_and_the_other_reported():
    found = [[face(x=100, side=70), face(x=400, side=110)][:: (-1) ** t] for t in range(50)]  # in changing order
    followed = follow(found, start=3.0)
    np.testing.assert_allclose(followed.track.points, np.array([face(x=400, side=110).points] * 50))
    [finding] = followed.findings
    assert (finding.kind, finding.severity, finding.begin, finding.end) == ("two_faces", Severity.WARNING, 3.0, 5.0)
    small = follow([[face(x=100, side=40), face(x=400, side=110)] for _ in range(50)])
    assert [(f.kind, f.severity) for f in small.findings] == [("two_faces", Severity.NOTE)]


def test_a_larger_face_that_comes_in_later_is_not_followed():
    found = [[face(x=150)] + ([face(x=450, side=200)] if 60 <= t < 80 else []) for t in range(100)]
    followed = follow(found)
    assert (followed.first, followed.last) == (0, 100)
    assert np.ptp(followed.track.points, axis=0).max() == 0
    [finding] = followed.findings
    assert (finding.begin, finding.end) == (pytest.approx(2.4), pytest.approx(3.2))


def test_a_face_twice_found_is_one():
    assert follow([[face(), face(x=204)] for _ in range(30)]).findings == ()


def test_another_face_elsewhere_is_a_change():
    followed = follow([[face(x=120 if t < 30 else 450)] for t in range(100)])
    assert (followed.first, followed.last) == (30, 100)
    assert kinds(followed) == ["cut_away", "face_change"]
    assert followed.findings[1].begin == pytest.approx(1.2)


def test_a_jump_cut_is_reported_and_a_quick_movement_is_not():
    jump = follow([[face(x=200 + (25 if t >= 40 else 0) + np.sin(t))] for t in range(80)])
    assert [(f.kind, f.begin) for f in jump.findings] == [("jump", pytest.approx(1.6))]
    shaken = follow([[face(x=200 + 40 * np.sin(t) * (t > 40))] for t in range(80)])
    assert shaken.findings == ()
    assert follow([[face(x=200 + 25 * (t >= 40))] for t in range(80)], boundaries=[40]).findings == ()


def test_tiny_faces_and_borders_are_reported():
    found = [[face(side=40 if 30 <= t < 50 else 100)] for t in range(100)]
    [finding] = [f for f in follow(found).findings if f.kind == "tiny_face"]
    assert (finding.begin, finding.end) == (pytest.approx(1.2), 2.0)
    assert "only 40 px" in finding.message
    found = [[face(x=200 - 2 * t)] for t in range(80)]  # its left edge leaves at x = 50
    [finding] = follow(found).findings
    assert (finding.kind, finding.begin, finding.end) == ("at_border", pytest.approx(76 / 25), pytest.approx(3.2))


def test_a_larger_stretch_is_preferred_to_a_longer_tiny_one():
    found = [[face(side=30)] if t < 60 else [face(side=120)] for t in range(100)]
    followed = follow(found, [60])
    assert (followed.first, followed.last) == (60, 100)
    assert (follow(found[:60]).first, follow(found[:60]).last) == (0, 60)


def test_what_cannot_be_used_is_one_line():
    for found, cuts, reason in (
        ([[]] * 7, [], "clip.mp4: no face found in 7 frames"),
        ([[face(side=12)]] * 40, [], "its faces are at most 12 px large, at least 20 px are needed"),
        ([[face()]] * 40, [20], r"lasts 0\.80 s, at least 1 s is needed: a new shot begins \(0:02\.80\); give"),
        ([[face()] if t % 20 < 12 else [] for t in range(100)], [],
         r"lasts 0\.48 s, .*no face for 0\.32 s \(0:02\.48\); .* and 2 more such places; give"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=reason) as error:
            follow(found, cuts, start=2.0)
        assert "\n" not in str(error.value)
    assert follow([[face()]] * 10).last == 10  # short, but all that was given


def test_noise_and_order_do_not_matter():
    """The same face is followed whatever else is seen, in whatever order; times do not depend on it either."""
    rng = np.random.default_rng(0)
    found, truth = [], []
    for t in range(200):
        own = face(x=300 + 60 * np.sin(t / 9), y=180 + 10 * np.cos(t / 5), side=110)
        others = [
            face(x=rng.uniform(0, 640), y=rng.uniform(0, 360), side=rng.uniform(21, 60)) for _ in range(rng.integers(3))
        ]
        faces = [own, *others] if rng.uniform() > 0.05 else others
        found.append([faces[i] for i in rng.permutation(len(faces))])
        truth.append(own.points)
    followed = follow(found)
    assert (followed.first, followed.last) == (0, 200)
    seen = followed.track.detected == 1
    assert seen.mean() > 0.9
    # a stray face in the place of a missed one may be taken for it, once or twice in 200 pictures
    assert (np.abs(followed.track.points - np.array(truth)).max((1, 2))[seen] < 1e-9).mean() > 0.98


def test_jumps_are_measured_on_points_that_speech_does_not_move():
    rigid = list(scheme_of(68).rigid)
    assert rigid == list(IBUG.rigid)
    found = []
    for t in range(60):
        one = face().points.copy()
        speech = [k for k in range(68) if k not in rigid]
        one[speech] += 30 * (t == 30)  # all but the rigid points jump
        found.append([Face(points=one)])
    assert "jump" not in kinds(follow(found))


def test_recordings_in_which_the_face_is_lost_or_cut_are_broken():
    found = [[face(x=200 + t)] for t in range(60)]
    boundaries = [15, 30, 45]
    assert broken_recordings(found, [], boundaries) == []
    for t in range(20, 20 + MAX_GAP):  # short enough to be interpolated
        found[t] = []
    for t in (0, 1, 14):  # so are edges
        found[t] = []
    assert broken_recordings(found, [15, 30, 37], boundaries) == [2]  # a join is no cut
    found[20 + MAX_GAP] = []
    found[59 - MAX_GAP :] = [[]] * (MAX_GAP + 1)
    assert broken_recordings(found, [37], boundaries) == [1, 2, 3]
