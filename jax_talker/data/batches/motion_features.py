"""What a face does in each frame, in a few numbers read off its landmarks: the first guess of motion coefficients.

The head's pose is taken out, so that what is left is expression; what cannot be seen in landmarks (hair, the matte,
errors of cameras) is not in it, so that a latent which follows these numbers cannot swallow it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from jax_talker.data.track.landmarks import LandmarkScheme, scheme_of

UPPER_COMPONENTS, LOWER_COMPONENTS = 6, 10
LEAST = 0.03  # of the first component's deviation: below it a component is the landmarks' noise
RESTING = 0.3  # share of frames among which the resting mouth is sought: the mouth least open, the eyes most
OPEN = 0.8  # share of frames, those whose eyes are most open, whose median says how brows and lids usually are


@dataclass(frozen=True)
class MotionFeatures:
    """Upper- and lower-face motion; zero in both is the canonical face: eyes open, brows as mostly, mouth at rest.

    Columns are principal components in units of the first one's standard deviation over the training frames.
    """

    expression: Float32[np.ndarray, "T E"]  # brows and lids, then the blink, then the gaze where it is known
    lips: Float32[np.ndarray, "T P"]
    resting: Int[np.ndarray, " R"]  # frame numbers whose mouth is at rest and whose eyes are open


def motion_features(arrays: Mapping[str, np.ndarray], train: np.ndarray) -> MotionFeatures:
    """Features of all frames of a clip; components, units and the canonical face are those of the frames ``train``."""
    scheme = scheme_of(arrays["landmarks"].shape[1])
    points = _still(np.asarray(arrays["landmarks"], np.float64), np.asarray(arrays["label"], np.float64), scheme, train)
    blink = np.asarray(arrays["blink"], np.float64)
    lips = list(scheme.eyes_and_lips[2:])
    open_mouth = _area(points[:, list(scheme.eyes_and_lips[3])])
    resting = _resting(open_mouth, blink, train)
    upper = _components(points, [*scheme.eyes_and_lips[:2], *scheme.brows], train, UPPER_COMPONENTS)
    lower = _components(points, [*lips, scheme.jaw], train, LOWER_COMPONENTS)
    eyes = [blink / max(blink[train].std(), 0.05)]
    if "gaze" in arrays:  # sound does not tell where one looks, but what it moves must not blur the eyes
        gaze = np.asarray(arrays["gaze"], np.float64)
        eyes += list((gaze / np.maximum(gaze[train].std(0), 1.0)).T)
    expression = np.concatenate([upper, np.stack(eyes, 1)], 1)
    # Brows do not know of the mouth: the few frames at rest would tell less of them than all with open eyes.
    expression -= np.median(expression[_open(blink, train)], 0)
    lower = lower - np.median(lower[resting], 0)
    return MotionFeatures(expression.astype(np.float32), lower.astype(np.float32), resting)


def _still(points: np.ndarray, label: np.ndarray, scheme: LandmarkScheme, train: np.ndarray) -> np.ndarray:
    """Landmarks [T, P, 2] without place, size and what second-order functions of the pose explain."""
    rigid = points[:, list(scheme.rigid)]
    centre = rigid.mean(1, keepdims=True)
    size = np.sqrt(((rigid - centre) ** 2).sum(-1).mean(1))[:, None, None]
    points = (points - centre) / size
    forward, up = label[:, [2, 6, 10]], label[:, [1, 5, 9]]  # the camera's axes in the head's world
    yaw, pitch, roll = np.arctan2(forward[:, 0], -forward[:, 2]), forward[:, 1], up[:, 0]
    pose = np.stack([np.ones_like(yaw), yaw, pitch, roll, yaw**2, pitch**2, yaw * pitch], 1)
    flat = points.reshape(len(points), -1)
    # A little ridge: in a short clip the pose may hardly vary, and then it explains nothing.
    design = pose[train]
    ridge = 1e-3 * len(train) * np.diag([0.0, *[1e-2] * (pose.shape[1] - 1)])
    explained = np.linalg.solve(design.T @ design + ridge, design.T @ flat[train])
    return (flat - pose @ explained).reshape(points.shape) + flat[train].mean(0).reshape(points.shape[1:])


def _components(points: np.ndarray, contours: list, train: np.ndarray, count: int) -> np.ndarray:
    """Principal components [T, ≤ count] of some contours' points, the first with unit deviation."""
    chosen = points[:, sorted({i for contour in contours for i in contour})].reshape(len(points), -1)
    middle = chosen[train].mean(0)
    _, values, axes = np.linalg.svd(chosen[train] - middle, full_matrices=False)
    if values[0] < 1e-9:
        return np.zeros((len(points), 1))
    kept = min(count, int((values > LEAST * values[0]).sum()))
    return (chosen - middle) @ axes[:kept].T / (values[0] / np.sqrt(len(train)))


def _resting(open_mouth: np.ndarray, blink: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Training frames whose mouth is among the least open and whose eyes are among the most open ones."""
    rank = lambda x: np.argsort(np.argsort(x[train])) / len(train)  # noqa: E731
    worst = np.maximum(rank(open_mouth), rank(blink))
    return train[worst <= max(RESTING, np.sort(worst)[min(4, len(worst) - 1)])]


def _open(blink: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Training frames without those whose eyes are most closed."""
    return train[blink[train] <= np.quantile(blink[train], OPEN)]


def _area(contour: np.ndarray) -> np.ndarray:
    """Area [T] inside closed contours [T, K, 2]."""
    x, y = contour[..., 0], contour[..., 1]
    return np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(1)) / 2
