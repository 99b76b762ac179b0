"""Small videos and sounds that the tests of this room make for themselves."""

import functools
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.data.camera.crop import Crop
from jax_talker.data.camera.pose import ANCHORS, PIVOT
from jax_talker.data.track.landmarks import AVERAGE_FACE, IBUG
from jax_talker.procedural import filming
from jax_talker.procedural.face import Face
from jax_talker.procedural.landmarks import VERTICES
from jax_talker.procedural.render import project
from jax_talker.procedural.skull import to_world

BITS = 8  # a frame's number is painted as this many bright or dark bars


def numbered(index, size=(64, 48)):
    """A frame [H, W, 3] that carries its own number; decoders and encoders cannot lose it."""
    width, height = size
    bars = np.repeat([(index >> b & 1) * 200 + 28 for b in range(BITS)], width // BITS)
    return np.broadcast_to(bars[None, :, None], (height, len(bars), 3)).astype(np.uint8).copy()


def number_of(frame):
    """The number that ``numbered`` painted, read off the middle row."""
    width = frame.shape[1] // BITS
    middle = frame[frame.shape[0] // 2, :, 1].astype(int)
    return sum(int(middle[b * width + width // 2] > 128) << b for b in range(BITS))


@pytest.fixture(scope="session")
def paint():
    return numbered


@pytest.fixture(scope="session")
def read_number():
    return number_of


@pytest.fixture
def stamped_video(tmp_path):
    """A function that writes numbered frames with given time stamps (ms), straight through PyAV."""

    def write(stamps_ms, *, name="stamped.mp4", size=(64, 48), rotation=None, aspect=None, last_ms=40):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            if aspect:
                stream.codec_context.sample_aspect_ratio = aspect
            if rotation:
                stream.set_display_rotation(rotation)
            ends = [*stamps_ms[1:], stamps_ms[-1] + last_ms]
            for index, (stamp, end) in enumerate(zip(stamps_ms, ends, strict=True)):
                frame = av.VideoFrame.from_ndarray(numbered(index, size), "rgb24")
                frame.pts, frame.time_base, frame.duration = stamp, Fraction(1, 1000), end - stamp
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture(scope="session")
def beeps():
    """Sound [samples] at 16 kHz that is silent but for 20 ms of 1 kHz from each given second on."""

    def make(seconds, at):
        sound = np.zeros(round(seconds * 16_000), np.float32)
        for time in at:
            first = round(time * 16_000)
            sound[first : first + 320] = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(320) / 16_000)
        return sound

    return make


# ---------------------------------------------------------------------------------------------------------------------
# A drawn head: flat colours, but with a 3D face of iBUG landmarks that really turns


def ibug_face():
    """A 68-point face [68, 3] in the world of geometry.FACE_ANCHORS, all contours in plausible places."""
    face = np.zeros((68, 3))
    turn = np.linspace(0, np.pi, 17)
    face[:17] = np.stack([-0.19 * np.cos(turn), -0.04 - 0.28 * np.sin(turn), -0.13 + 0.13 * np.sin(turn)], 1)
    brow = np.linspace(-1, 1, 5)
    face[17:22] = np.stack([-0.095 + 0.055 * brow, 0.055 + 0.01 * (1 - brow**2), 0.02 + 0.02 * brow], 1)
    face[22:27] = face[17:22][::-1] * [-1, 1, 1]
    for first, x in ((36, -0.084), (42, 0.084)):
        corner = np.linspace(np.pi, -np.pi, 6, endpoint=False)
        face[first : first + 6] = np.stack([x + 0.038 * np.cos(corner), 0.016 * np.sin(corner), 0 * corner], 1)
    for first, count, radius in ((48, 12, 1.0), (60, 8, 0.6)):
        corner = np.linspace(np.pi, -np.pi, count, endpoint=False)
        lips = [0.073 * radius * np.cos(corner), -0.188 + 0.025 * radius * np.sin(corner), 0.03 + 0 * corner]
        face[first : first + count] = np.stack(lips, 1)
    face[32] = face[34] = (0, -0.12, 0.07)
    face[[32, 34], 0] = -0.02, 0.02
    for name, place in AVERAGE_FACE.items():
        face[IBUG.points[name]] = place
    own, target = IBUG.anchors(face), ANCHORS
    scale = ((own - own.mean(0)) * (target - target.mean(0)))[:, :2].sum() / ((own - own.mean(0))[:, :2] ** 2).sum()
    return scale * (face - own.mean(0)) + target.mean(0)


@dataclass(frozen=True)
class DrawnClip:
    frames: list[np.ndarray]  # [H, W, 3] uint8
    landmarks: np.ndarray  # [T, 68, 2] px
    alpha: list[np.ndarray]  # [H, W] uint8: head with hair and neck
    cam_from_world: np.ndarray  # [T, 4, 4]
    crops: list[Crop]


@pytest.fixture(scope="session")
def drawn_head():
    """A function that draws a head turning in front of a resting, patterned wall, lids closing at given frames."""

    def draw(count=30, *, size=(320, 240), blinks=(), side=170.0, seed=0):
        rng = np.random.default_rng(seed)
        width, height = size
        wall = cv2.resize(rng.integers(90, 200, (6, 8, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC)
        wall[:, ::40] = 60
        face, frames, alphas, landmarks, poses, crops = ibug_face(), [], [], [], [], []
        for t in range(count):
            yaw, pitch, roll = (a * np.sin(t / s) for a, s in ((18, 6), (6, 8), (7, 10)))
            pose = head_camera(yaw, pitch, roll)
            crop = Crop(np.array([width / 2 + 12 * np.sin(t / 7), height / 2 - 8 + 4 * np.cos(t / 9)]), side)
            moved = face.copy()
            if t in blinks:
                for upper, lower in (*IBUG.left_lids, *IBUG.right_lids):
                    moved[upper, 1] = moved[lower, 1] + 0.002
            points = _seen(moved, pose, crop)
            head_top, neck = (
                _seen(ANCHORS[:2].mean(0, keepdims=True) + np.array([[0, -0.064, -0.1]]), pose, crop)[0],
                points[8],
            )
            alpha = np.zeros((height, width), np.uint8)
            unit = side * geometry.FOCAL / geometry.RADIUS  # px of a world unit
            radii = (round(0.235 * unit), round(0.26 * unit))
            cv2.ellipse(alpha, tuple(np.round(head_top).astype(int).tolist()), radii, roll, 0, 360, 255, -1)
            picture = np.where(alpha[..., None] > 0, np.uint8([70, 45, 30]), wall)
            for polygon, colour in _parts(points, neck, unit):
                cv2.fillPoly(picture, [np.round(polygon).astype(np.int32)], colour)
                cv2.fillPoly(alpha, [np.round(polygon).astype(np.int32)], 255)
            noisy = picture + rng.normal(0, 2, picture.shape)
            frames.append(np.clip(noisy, 0, 255).astype(np.uint8))
            alphas.append(alpha)
            landmarks.append(points)
            poses.append(pose)
            crops.append(crop)
        return DrawnClip(frames, np.array(landmarks), alphas, np.array(poses), crops)

    return draw


def head_camera(yaw, pitch, roll):
    """cam_from_world [4, 4] of a label: on the sphere, looking along a line through the pivot, then rolled. Degrees."""
    y, p, r = np.radians([yaw, pitch, roll])
    direction = np.array([np.sin(y) * np.cos(p), np.sin(p), np.cos(y) * np.cos(p)])
    along = direction @ PIVOT
    distance = np.sqrt(along**2 - PIVOT @ PIVOT + geometry.RADIUS**2) - along
    pose = np.linalg.inv(geometry.look_at(PIVOT + distance * direction, PIVOT))
    pose[:3] = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]) @ pose[:3]
    return pose


def _seen(points, pose, crop, focal=geometry.FOCAL):
    camera = points @ pose[:3, :3].T + pose[:3, 3]
    return crop.centre + crop.side * focal * camera[:, :2] / camera[:, 2:]


def _parts(points, neck, unit):
    skin, dark, red, white = (214, 170, 140), (40, 40, 60), (190, 60, 70), (235, 235, 235)
    neck_box = neck + np.array([[-0.09, -0.1], [0.09, -0.1], [0.09, 0.3], [-0.09, 0.3]]) * unit
    yield neck_box, (200, 155, 125)
    yield IBUG.outline(points), skin
    for first in (36, 42):
        yield points[first : first + 6], white
    yield points[48:60], red
    yield points[31:36], (190, 140, 115)
    for brow in IBUG.brows:
        upper = points[list(brow)]
        yield np.concatenate([upper, upper[::-1] + np.array([0, 0.02 * unit])]), dark


@pytest.fixture(scope="session")
def camera_of():
    """A function (yaw, pitch, roll in degrees) → cam_from_world [4, 4] of the label with that pose."""
    return head_camera


# ---------------------------------------------------------------------------------------------------------------------
# A procedural head's landmarks, without its pictures


@dataclass(frozen=True)
class ProceduralLandmarks:
    points: np.ndarray  # [T, 68, 2] px
    label: np.ndarray  # [T, 25] the true camera of the whole picture
    blink: np.ndarray  # [T]


@pytest.fixture(scope="session")
def procedural_landmarks():
    """A function that films landmarks at 512²: Gaussian noise of so many px, and a share of them 40 px off."""

    @functools.cache
    def clean(seed, seconds, turn, size):
        scene = filming.make_scene(seed, seconds, turn=turn)
        face, label = Face(scene.person), filming.labels(scene, 0, 0)
        points = [
            project(to_world(face.vertices(m)[VERTICES]), view, size)[0]
            for m, view in zip(scene.motions, label, strict=True)
        ]
        return np.array(points, np.float64), label, np.array([m.upper_lid for m in scene.motions])

    def film(seed, *, seconds=10, turn=1.0, noise=0.0, outliers=0.0, size=512):
        points, label, blink = clean(seed, seconds, turn, size)
        rng = np.random.default_rng([seed, 1])
        points = points + noise * rng.normal(size=points.shape)
        wrong = rng.random(points.shape[:2]) < outliers
        points[wrong] += 40 * rng.normal(size=(wrong.sum(), 2))
        return ProceduralLandmarks(points, label, blink)

    return film
