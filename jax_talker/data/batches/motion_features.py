"""What a face does in each frame, in a few numbers read off its landmarks: the first guess of motion coefficients.

The head's pose is taken out, so that what is left is expression; what cannot be seen in landmarks (hair, the matte,
errors of cameras) is not in it, so that a latent which follows these numbers cannot swallow it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int

from jax_talker.data.track.landmarks import LandmarkScheme, scheme_of
from jax_talker.errors import UserError

UPPER_COMPONENTS, LOWER_COMPONENTS = 6, 10
LEAST = 0.03  # of the first component's deviation: below it a component is the landmarks' noise
# Of frames with open eyes, those whose mouth is least open say how it rests: so many, or this share. Lips meet in every
# sentence; a larger share of a lively speaker's frames shows them ajar, and with them what silence looks like.
FEWEST_RESTING, RESTING = 5, 0.05
OPEN = 0.8  # share of frames, those whose eyes are most open, whose median says how brows and lids usually are


@dataclass(frozen=True)
class MotionSpace:
    """How one person's motion is counted: learnt from training frames and kept with the person, so that the same
    numbers mean the same face in every clip."""

    pose: Float32[np.ndarray, "7 D"]  # what second-order functions of the pose explain of landmarks
    usual: Float32[np.ndarray, " D"]  # landmarks, their place and size taken out, and then what the pose explains
    upper_axes: Float32[np.ndarray, "U D"]  # per standard deviation of the first component
    lower_axes: Float32[np.ndarray, "L D"]
    eye_units: Float32[np.ndarray, " G"]  # of the blink, then of the gaze where it was known
    zero_expression: Float32[np.ndarray, " E"]  # of the canonical face: eyes open, brows as mostly
    zero_lips: Float32[np.ndarray, " P"]  # mouth at rest


@dataclass(frozen=True)
class MotionFeatures:
    """Upper- and lower-face motion; zero in both is the canonical face: eyes open, brows as mostly, mouth at rest.

    Columns are principal components in units of the first one's standard deviation over the training frames.
    """

    expression: Float32[np.ndarray, "T E"]  # brows and lids, then the blink, then the gaze where it is known
    lips: Float32[np.ndarray, "T P"]


def motion_space(arrays: Mapping[str, np.ndarray], train: np.ndarray) -> MotionSpace:
    """Components, units and the canonical face of a clip's frames ``train``."""
    scheme = scheme_of(arrays["landmarks"].shape[1])
    flat, turned = _placed(arrays, scheme), _turned(arrays)
    # A little ridge: in a short clip the pose may hardly vary, and then it explains nothing.
    design = turned[train]
    ridge = 1e-3 * len(train) * np.diag([0.0, *[1e-2] * (design.shape[1] - 1)])
    pose = np.linalg.solve(design.T @ design + ridge, design.T @ flat[train])
    still = flat[train] - design @ pose
    middle = still.mean(0)
    blink = np.asarray(arrays["blink"], np.float64)
    units = [max(blink[train].std(), 0.05)]
    if "gaze" in arrays:  # sound does not tell where one looks, but what it moves must not blur the eyes
        units += list(np.maximum(np.asarray(arrays["gaze"], np.float64)[train].std(0), 1.0))
    upper, lower = _contours(scheme)
    axes = [_components(still - middle, c, n) for c, n in ((upper, UPPER_COMPONENTS), (lower, LOWER_COMPONENTS))]
    narrow = lambda x: np.asarray(x, np.float32)  # noqa: E731  (as it is stored, so that it computes what it did)
    nothing = np.zeros(len(axes[0]) + len(units)), np.zeros(len(axes[1]))
    space = MotionSpace(*map(narrow, (pose, middle, *axes, units, *nothing)))
    found = motion_features(arrays, space)
    # Brows do not know of the mouth: the few frames at rest would tell less of them than all with open eyes.
    open_eyes, resting = _open(blink, train), resting_frames(arrays, space, train)
    zeros = np.median(found.expression[open_eyes], 0), np.median(found.lips[resting], 0)
    return replace(space, zero_expression=narrow(zeros[0]), zero_lips=narrow(zeros[1]))


def motion_features(arrays: Mapping[str, np.ndarray], space: MotionSpace) -> MotionFeatures:
    """Motion in all frames of a clip, in the person's own space. UserError for a clip whose landmarks or gaze are of
    another kind than those that the space was learnt from."""
    count = arrays["landmarks"].shape[1]
    if 2 * count != len(space.usual):
        raise UserError(
            f"the clip has {count} landmarks a frame, the head was trained with {len(space.usual) // 2}; "
            "prepare the clip with the landmark model of the training clip"
        )
    still = _placed(arrays, scheme_of(count)) - _turned(arrays) @ space.pose - space.usual
    eyes = np.asarray(arrays["blink"], np.float64)[:, None]
    if len(space.eye_units) > 1:
        if "gaze" not in arrays:
            raise UserError("the clip knows no gaze, and the head was trained with it; prepare the clip with mediapipe")
        eyes = np.concatenate([eyes, np.asarray(arrays["gaze"], np.float64)], 1)
    expression = np.concatenate([still @ space.upper_axes.T, eyes / space.eye_units], 1) - space.zero_expression
    lips = still @ space.lower_axes.T - space.zero_lips
    return MotionFeatures(expression.astype(np.float32), lips.astype(np.float32))


def resting_frames(arrays: Mapping[str, np.ndarray], space: MotionSpace, train: np.ndarray) -> Int[np.ndarray, " R"]:
    """Training frames with open eyes whose mouth is the least open, in the order of time."""
    scheme = scheme_of(arrays["landmarks"].shape[1])
    flat = _placed(arrays, scheme)
    points = (flat - _turned(arrays) @ space.pose + flat[train].mean(0)).reshape(len(flat), -1, 2)
    open_mouth = _area(points[:, list(scheme.eyes_and_lips[3])])
    open_eyes = _open(np.asarray(arrays["blink"], np.float64), train)
    count = max(FEWEST_RESTING, round(RESTING * len(train)))
    return np.sort(open_eyes[np.argsort(open_mouth[open_eyes], kind="stable")[:count]])


def _contours(scheme: LandmarkScheme) -> tuple[list, list]:
    """Contours that tell of the upper and of the lower face's motion."""
    eyes_and_lips = scheme.eyes_and_lips
    return [*eyes_and_lips[:2], *scheme.brows], [*eyes_and_lips[2:], scheme.jaw]


def _placed(arrays: Mapping[str, np.ndarray], scheme: LandmarkScheme) -> np.ndarray:
    """Landmarks [T, 2 P] without the face's place and size."""
    points = np.asarray(arrays["landmarks"], np.float64)
    rigid = points[:, list(scheme.rigid)]
    centre = rigid.mean(1, keepdims=True)
    size = np.sqrt(((rigid - centre) ** 2).sum(-1).mean(1))[:, None, None]
    return ((points - centre) / size).reshape(len(points), -1)


def _turned(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Second-order functions [T, 7] of the head's pose."""
    label = np.asarray(arrays["label"], np.float64)
    forward, up = label[:, [2, 6, 10]], label[:, [1, 5, 9]]  # the camera's axes in the head's world
    yaw, pitch, roll = np.arctan2(forward[:, 0], -forward[:, 2]), forward[:, 1], up[:, 0]
    return np.stack([np.ones_like(yaw), yaw, pitch, roll, yaw**2, pitch**2, yaw * pitch], 1)


def _components(still: np.ndarray, contours: list, count: int) -> np.ndarray:
    """Principal axes [≤ count, D] of some contours' points, by which the first component has unit deviation."""
    points = sorted({i for contour in contours for i in contour})
    chosen = np.ravel([[2 * i, 2 * i + 1] for i in points])
    _, values, found = np.linalg.svd(still[:, chosen], full_matrices=False)
    kept = min(count, int((values > LEAST * values[0]).sum())) if values[0] >= 1e-9 else 1
    axes = np.zeros((kept, still.shape[1]))
    if values[0] >= 1e-9:  # else nothing moves
        axes[:, chosen] = found[:kept] / (values[0] / np.sqrt(len(still)))
    return axes


def _open(blink: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Training frames without those whose eyes are most closed."""
    return train[blink[train] <= np.quantile(blink[train], OPEN)]


def _area(contour: np.ndarray) -> np.ndarray:
    """Area [T] inside closed contours [T, K, 2]."""
    x, y = contour[..., 0], contour[..., 1]
    return np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(1)) / 2
