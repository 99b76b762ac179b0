"""What a face parsing network's answer is good for: the head's alpha, and masks of hair, mouth and neck.

The network says of every pixel what it belongs to (``face_parts.FacePart``), at an eighth of its input's size; where
exactly the edge runs is read off the picture. Faces' upper and lower regions are made in ``masks.region_masks``.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from jax_talker import geometry
from jax_talker.data.cut.face_parts import HAIR, HEAD, MOUTH, NECK, FacePart, among
from jax_talker.data.cut.masks import connected, filled, region_masks
from jax_talker.data.cut.matte import HeadView, guided, neck_fade
from jax_talker.data.track.landmarks import LandmarkScheme

# Of the image size: standard deviation by which a part's edge is softened. The network's classes are as sharp as that.
SOFTNESS = 0.002
REACH = 128  # parts of the image size; the head's edge in the picture is looked for within one of them
EDGE = (0.3, 0.7)  # what the guided filter blurs beyond these is background and head for certain


@dataclass(frozen=True)
class ParsedMasks:
    """One frame's masks, [S, S] uint8 each, 255 inside, soft at their edges.

    ``upper`` and ``lower`` face never overlap. ``head`` is everything on white, with the neck fading out; ``hair``,
    ``mouth`` (lips and what is between them) and ``neck`` are parts of it.
    """

    upper: UInt8[np.ndarray, "S S"]
    lower: UInt8[np.ndarray, "S S"]
    head: UInt8[np.ndarray, "S S"]
    hair: UInt8[np.ndarray, "S S"]
    mouth: UInt8[np.ndarray, "S S"]
    neck: UInt8[np.ndarray, "S S"]


def parsed_masks(
    parts: UInt8[np.ndarray, "S S"],
    seen: UInt8[np.ndarray, "S S 3"],
    view: HeadView,
    scheme: LandmarkScheme,
    focal: float = geometry.FOCAL,
) -> ParsedMasks:
    """All masks of one frame, from its pixels' classes, the crop as it was seen and the landmarks in ``view``."""
    size = len(parts)
    upper, lower = region_masks(view.crop.to_crop(view.landmarks, size), scheme, size, parts)
    head = head_alpha(parts, seen, view, scheme, focal)

    def of_head(wanted: tuple[FacePart, ...]) -> np.ndarray:
        return _bytes(head * _softened(among(parts, wanted)))

    return ParsedMasks(upper, lower, _bytes(head), of_head(HAIR), of_head(MOUTH), of_head(NECK))


def head_alpha(
    parts: UInt8[np.ndarray, "S S"],
    seen: UInt8[np.ndarray, "S S 3"],
    view: HeadView,
    scheme: LandmarkScheme,
    focal: float = geometry.FOCAL,
) -> Float32[np.ndarray, "S S"]:
    """Alpha of the head in ``view.crop``: face, ears, hair, hat, glasses, jewels and the neck, which fades out.

    Of several people only the one with these landmarks, unless they touch. The edge follows the picture's (guided
    filter).
    """
    size = len(parts)
    face = filled(scheme.outline(view.crop.to_crop(view.landmarks, size)), size) > 0
    head = connected(among(parts, HEAD), face)
    edge = guided(seen, _softened(head), reach=max(1, size // REACH))
    low, high = EDGE
    return np.clip((edge - low) / (high - low), 0, 1) * neck_fade(view, scheme, size, focal)


def _softened(region: Bool[np.ndarray, "S S"]) -> Float32[np.ndarray, "S S"]:
    return cv2.GaussianBlur(region.astype(np.float32), (0, 0), SOFTNESS * len(region))


def _bytes(alpha: Float32[np.ndarray, "S S"]) -> UInt8[np.ndarray, "S S"]:
    return np.round(alpha * 255).astype(np.uint8)
