"""Landmarkers: MediaPipe, face-alignment, files; what is missing is said. Eyes that blink."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from jax_talker.data.read.video import read_frames
from jax_talker.data.track.blink import blink_from_openness, count_blinks, eye_openness
from jax_talker.data.track.faces import Landmarker
from jax_talker.data.track.landmarkers import face_alignment, make_landmarker
from jax_talker.data.track.landmarks import AVERAGE_FACE, IBUG, MEDIAPIPE
from jax_talker.errors import UserError

BLACK = np.zeros((40, 40, 3), np.uint8)


def test_landmark_files(tmp_path):
    points = np.random.default_rng(0).uniform(0, 40, (3, 68, 2))
    points[1] = np.nan
    np.savez(tmp_path / "a.npz", landmarks=points, other=np.zeros(3))
    with make_landmarker(str(tmp_path / "a.npz")) as landmarker:
        found = {index: landmarker(BLACK, index) for index in (2, 0, 1)}  # in any order
        landmarker.check_length(3)
    assert isinstance(landmarker, Landmarker)
    np.testing.assert_array_equal(found[2][0].points, points[2])
    assert [len(found[index]) for index in range(3)] == [1, 0, 1]
    np.save(tmp_path / "deep.npy", np.zeros((3, 478, 3)))
    with make_landmarker(str(tmp_path / "deep.npy")) as landmarker:
        assert [landmarker(BLACK, index)[0].depth.shape for index in range(3)] == [(478,)] * 3


def test_bad_landmarkers_say_what_to_do(tmp_path, shared):
    np.savez(tmp_path / "short.npz", landmarks=np.zeros((2, 68, 2)))
    np.savez(tmp_path / "count.npz", landmarks=np.zeros((2, 98, 2)))
    np.savez(tmp_path / "flat.npz", landmarks=np.zeros((2, 136)))
    np.savez(tmp_path / "names.npz", a=np.zeros(3), b=np.zeros(3))
    (tmp_path / "text.npz").write_text("no array")
    (tmp_path / "text.task").write_text("no model")
    for kind, reason in {
        "count.npz": "98 landmarks are not known",
        "flat.npz": "must be .frames, points, 2 or 3.",
        "names.npz": "needs an array called 'landmarks', found .'a', 'b'.",
        "text.npz": "not a NumPy file",
        "absent.npz": "no such landmark file",
    }.items():
        with pytest.raises(UserError, match=reason):
            make_landmarker(str(tmp_path / kind))
    for ask, reason in (
        (dict(kind="mediapipe"), "--landmark-model"),
        (dict(kind="mediapipe", model=tmp_path / "absent.task"), "no such landmark model; .*--landmark-model.*https"),
        (dict(kind="mediapipe", model=tmp_path / "text.task"), "is not a face landmarker model"),
        (dict(kind="mediapipe", model=tmp_path), "is a folder, not a landmark model"),
        (dict(kind="dlib"), "unknown; use one of auto, mediapipe"),
    ):
        with pytest.raises(UserError, match=reason) as error:
            make_landmarker(**ask)
        assert "\n" not in str(error.value)
    landmarker = make_landmarker(str(tmp_path / "short.npz"))
    with pytest.raises(UserError, match="2 frames, but the video has more"):
        landmarker(BLACK, 2)
    with pytest.raises(UserError, match="2 frames, but the video has 1 at 25 fps"):
        landmarker.check_length(1)


def test_a_missing_system_library_is_named(monkeypatch, tmp_path):
    mediapipe = pytest.importorskip("mediapipe")

    def fails(options):
        raise OSError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(mediapipe.tasks.vision.FaceLandmarker, "create_from_options", fails)
    (tmp_path / "any.task").write_text("any")
    with pytest.raises(UserError, match=r"libEGL\.so\.1.*apt install libegl1.*--landmarks=FILE"):
        make_landmarker("mediapipe", model=tmp_path / "any.task")


def test_mediapipe_finds_the_face_and_stays_quiet(shared):
    """In a process of its own: what it must not do happens on file descriptor 2 and at the interpreter's exit."""
    program = f"""
import numpy as np
from jax_talker.data.track.landmarkers import make_landmarker
from jax_talker.data.read.video import read_frames
frames = list(read_frames({str(shared / "clips" / "May_5s.mp4")!r}, duration=0.2))
with make_landmarker("mediapipe", model={str(shared / "models" / "face_landmarker.task")!r}) as landmarker:
    faces = [landmarker(f, i) for i, f in enumerate([*frames, np.zeros_like(frames[0])])]
assert [len(f) for f in faces] == [1] * 5 + [0], faces
[face] = faces[0]
assert face.points.shape == (478, 2) and 100 < face.points.mean() < 400
assert face.depth.shape == (478,) and face.scores.shape == (52,) and len(landmarker.score_names) == 52
np.testing.assert_allclose(face.rotation @ face.rotation.T, np.eye(3), atol=1e-4)
assert face.rotation[1, 1] < -0.9 and face.rotation[2, 2] < -0.9  # y-up head in a y-down camera, looking at it
kept = landmarker  # alive at exit
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_all_faces_are_found_without_memory(shared):
    frame = next(read_frames(shared / "clips" / "May_5s.mp4"))
    small = cv2.resize(frame, (300, 300), interpolation=cv2.INTER_AREA)
    both = np.full((512, 900, 3), 90, np.uint8)
    both[:, 350:862] = frame
    both[100:400, 20:320] = small
    with make_landmarker(model=shared / "models" / "face_landmarker.task") as landmarker:
        first = landmarker(both, 7)
        assert sorted(face.points[:, 0].min() > 350 for face in first) == [False, True]
        landmarker(frame, 0)
        for a, b in zip(first, landmarker(both, 3), strict=True):
            np.testing.assert_array_equal(a.points, b.points)


def test_names_of_scores_are_the_models(shared):
    """They are known before any face is found, and checked here against what the model itself says."""
    frame = next(read_frames(shared / "clips" / "May_5s.mp4"))
    with make_landmarker("mediapipe", model=shared / "models" / "face_landmarker.task") as landmarker:
        names = [s.category_name for s in landmarker._detect(frame).face_blendshapes[0]]
        assert list(landmarker.score_names) == names


# ---------------------------------------------------------------------------------------------------------------------
# face-alignment, with weights that we make: they have the package's layout, and find one face where we say


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A TORCH_HOME with weights in the package's files. The detector sees a face in the middle of every cell of its
    coarsest map, sure of it; all else is zero."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    pytest.importorskip("face_alignment", reason="needs the face-alignment extra", exc_type=ImportError)
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    home = tmp_path_factory.mktemp("torch")
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    detector = {name: torch.zeros_like(value) for name, value in s3fd().state_dict().items()}
    for name, value in detector.items():
        if name.endswith("mbox_conf.bias"):
            value[-2] = 9  # background …
    detector["conv7_2_mbox_conf.bias"][:] = torch.tensor([0.0, 9.0])  # … but for the coarsest map
    detector["conv7_2_mbox_loc.bias"][2:] = torch.log(torch.tensor(100 / 512)) / 0.2  # a box of 100 px instead of 512
    torch.save(detector, folder / face_alignment.DETECTOR)
    network = {name: torch.zeros_like(value) for name, value in FAN(4).state_dict().items()}
    network["l3.bias"][:] = 3
    torch.save(network, folder / face_alignment.NETWORK)
    return home


class Brightest:
    """Stands for the network: 68 heatmaps, each the crop's brightness at a quarter of its size."""

    def __call__(self, crop):
        import torch

        return [torch.nn.functional.avg_pool2d(crop.mean(1, keepdim=True), 4).repeat(1, 68, 1, 1)]


@pytest.mark.torch
def test_face_alignment_loads_its_files_from_its_cache(weights, monkeypatch):
    import face_alignment as package
    from face_alignment.detection.sfd import sfd_detector

    assert package.api.models_urls["2DFAN-4"] == f"{face_alignment.OFFERED_AT}/{face_alignment.NETWORK}"
    assert sfd_detector.models_urls["s3fd"] == f"{face_alignment.OFFERED_AT}/{face_alignment.DETECTOR}"
    monkeypatch.setenv("TORCH_HOME", str(weights))
    for landmarker in (make_landmarker(), make_landmarker(model=weights / "hub" / "checkpoints")):
        assert landmarker.name == "face-alignment"
        assert (landmarker._nets.face_alignment_net.l3.bias == 3).all()  # our file's
    points = landmarker._points(np.zeros((128, 128, 3), np.uint8), np.array([10.0, 10, 110, 110]))
    assert points.shape == (68, 2)
    small = landmarker._boxes(np.zeros((128, 640, 3), np.uint8))
    large = landmarker._boxes(np.zeros((256, 1280, 3), np.uint8))  # looked at small
    np.testing.assert_allclose(large, 2 * np.array(small), rtol=1e-6)


@pytest.mark.torch
@pytest.mark.slow  # the package compiles its own reading of heatmaps
def test_heatmaps_are_read_to_a_fraction_of_a_pixel(weights):
    """A dot anywhere in the face is found where it is, half a pixel less than the package's own rule (see _points)."""
    landmarker = make_landmarker("face-alignment", model=weights / "hub" / "checkpoints")
    box = landmarker._boxes(np.zeros((128, 128, 3), np.uint8))
    box = min(box, key=lambda b: b.sum())  # it believes to see others beyond the border
    np.testing.assert_allclose(box[2:] - box[:2], 100, atol=0.01)
    landmarker._nets.face_alignment_net = Brightest()
    yy, xx = np.mgrid[:128, :128] + 0.5
    for x, y in ((60, 60), (75.3, 51.8), (48.1, 80.6)):
        dot = 255 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 3.0**2))
        picture = np.repeat(dot[..., None], 3, 2).astype(np.uint8)
        points = landmarker._points(picture, box)
        # the package cuts its crop at whole pixels, up to one of them off; its own answer comes in whole pixels
        np.testing.assert_allclose(points + 0.5, np.tile([x, y], (68, 1)), atol=0.8)
        package = landmarker._nets.get_landmarks_from_image(picture, [[*box, 1]])
        np.testing.assert_allclose(points, package[0], atol=1.6)  # a quarter of a cell, and a pixel


def test_face_alignment_says_what_is_missing_and_never_downloads(tmp_path, monkeypatch):
    pytest.importorskip("face_alignment", reason="needs the face-alignment extra", exc_type=ImportError)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    both = " and ".join(f"{face_alignment.OFFERED_AT}/{n}" for n in (face_alignment.DETECTOR, face_alignment.NETWORK))
    with pytest.raises(
        UserError, match=f"not ready: its weights are not in {folder}; download {both} into that folder"
    ):
        make_landmarker("face-alignment")
    with pytest.raises(UserError, match=r"no landmarker is ready: .*--landmark-model .*face-alignment ready"):
        make_landmarker()
    folder.mkdir(parents=True)
    for name in (face_alignment.DETECTOR, face_alignment.NETWORK):
        (folder / name).write_text("half a download")
    with pytest.raises(UserError, match=r"is not what face-alignment offers .*download both again") as error:
        make_landmarker("face-alignment")
    assert "\n" not in str(error.value)
    monkeypatch.setattr(face_alignment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'jax-talker.face-alignment.'"):
        make_landmarker("face-alignment")


def test_peaks_are_centres_of_mass():
    yy, xx = np.mgrid[:64, :64] + 0.5
    want = np.array([[20.3, 31.9], [10.5, 10.5], [0.7, 63.2], [33.0, 2.1]])
    heat = np.exp(-((xx - want[:, 0, None, None]) ** 2 + (yy - want[:, 1, None, None]) ** 2) / (2 * 0.8**2))
    np.testing.assert_allclose(face_alignment.peaks(heat)[:2], want[:2], atol=0.03)  # the window cuts the Gaussian
    np.testing.assert_allclose(face_alignment.peaks(heat), want, atol=0.5)  # at the edge, half of it
    assert np.isfinite(face_alignment.peaks(np.zeros((2, 64, 64)))).all()


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [IBUG, MEDIAPIPE], ids=lambda s: s.name)
def test_schemes_are_consistent(scheme):
    count = {"ibug": 68, "mediapipe": 478}[scheme.name]
    assert set(scheme.points) == {*AVERAGE_FACE, "chin"}
    groups = (scheme.rigid, scheme.jaw, scheme.forehead, scheme.nose_line, *scheme.temples, *scheme.eyes_and_lips)
    for group in (*groups, *scheme.brows, *scheme.left_lids, *scheme.right_lids):
        assert all(0 <= i < count for i in group)
        assert len(set(group)) == len(group)
    assert not set(scheme.rigid) & {scheme.points["mouth_left"], scheme.points["mouth_right"]}
    assert scheme.points["chin"] in scheme.jaw
    assert scheme.points["nose_base"] in scheme.nose_line


def test_openness_does_not_depend_on_turn_or_size():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (4, 68, 2))
    points[:, [43, 44, 37, 38]] = points[:, [47, 46, 41, 40]] - [0, 5]  # every lid gap is 5
    wide = points.copy()
    wide[2:] *= 2
    side, pitch = np.array([100.0, 100, 200, 200]), np.array([0.0, 60, 0, 60])
    np.testing.assert_allclose(eye_openness(wide, IBUG, side, pitch), [0.05, 0.1, 0.05, 0.1])


def test_blink_is_relative_to_the_person():
    openness = np.full(100, 0.03) + 0.001 * np.sin(np.arange(100))
    openness[40:44] = [0.018, 0.004, 0.004, 0.02]
    openness[80:83] = 0.004
    blink = blink_from_openness(openness)
    assert blink.dtype == np.float32
    assert count_blinks(blink) == 2
    assert blink[41] == blink[81] == 1
    assert blink[:38].max() < 0.15
    narrow = blink_from_openness(0.5 * openness)
    np.testing.assert_allclose(narrow, blink, atol=1e-6)
    never = blink_from_openness(np.full(100, 0.03) + 0.001 * np.sin(np.arange(100)))
    assert never.max() < 0.15  # noise is not stretched to blinks
