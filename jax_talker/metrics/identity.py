"""Faces brought onto a template by five points, and how alike two embeddings are."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8


def similarity(source: Float[np.ndarray, "P 2"], target: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "2 3"]:
    """target_from_source: the turn, scale and shift (no mirror) of least squared error (Umeyama 1991,
    doi:10.1109/34.88573); what insightface's and Talk3D's alignment does. NaN where the source points coincide.
    """
    middle, onto = source.mean(0), target.mean(0)
    a, b = source - middle, target - onto
    # With z = x + iy the least-squares factor is Σ b·conj(a) / Σ |a|²: scale and turn in one number.
    a, b = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    size = (np.abs(a) ** 2).sum()
    factor = (b * a.conj()).sum() / size if size > 0 else complex(np.nan, np.nan)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, onto - turn @ middle])


def warped(
    picture: UInt8[np.ndarray, "H W 3"],
    points: Float[np.ndarray, "P 2"],
    template: Float[np.ndarray, "P 2"],
    size: int,
) -> UInt8[np.ndarray, "size size 3"]:
    """The face whose ``points`` (centre of the top-left pixel at (0.5, 0.5)) come to lie on the ``template`` (there at
    (0, 0), as in OpenCV); bilinear, black beyond the picture.
    """
    matrix = similarity(points - 0.5, template)
    return np.asarray(cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0)))


def cosine(a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    """Cosine similarity of each pair of embeddings."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (np.asarray(y, np.float64) for y in (a, b)))
    return (a * b).sum(1)
