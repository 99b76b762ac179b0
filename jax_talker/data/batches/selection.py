"""Choose frames of a clip that differ as much as possible: what a person should be learnt from."""

from collections.abc import Mapping

import numpy as np

COMPONENTS = 6  # principal components of the landmarks: mouth, brows, yaw, pitch … whatever varies most


def expression_features(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a frame looks like, [T, C], each column with unit variance, from landmarks, blink and camera.

    Landmarks lose position and size first; their principal components then serve any landmark scheme.
    """
    points = arrays["landmarks"].astype(np.float64)
    points = points - points.mean(1, keepdims=True)
    points = points / np.sqrt((points**2).sum((1, 2), keepdims=True))
    flat = points.reshape(len(points), -1)
    flat = flat - flat.mean(0)
    left, values, _ = np.linalg.svd(flat, full_matrices=False)
    count = min(COMPONENTS, int((values > 1e-9).sum()))
    columns = [left[:, :count], np.asarray(arrays["blink"], np.float64)[:, None]]
    features = np.concatenate(columns, 1)
    return (features - features.mean(0)) / np.maximum(features.std(0), 1e-9)


def choose_frames(arrays: Mapping[str, np.ndarray], candidates: np.ndarray, count: int) -> np.ndarray:
    """``count`` of the candidate frame numbers, farthest-point sampled: first the most usual, then what differs most.

    Deterministic; sorted by frame number. Fewer candidates than asked for are all taken.
    """
    features = expression_features({name: arrays[name][candidates] for name in ("landmarks", "blink")})
    chosen = [int(np.argmin((features**2).sum(1)))]
    distance = ((features - features[chosen[0]]) ** 2).sum(1)
    while len(chosen) < min(count, len(candidates)):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((features - features[chosen[-1]]) ** 2).sum(1))
    return np.sort(candidates[chosen])
