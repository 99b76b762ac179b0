"""What a face parsing network's answer is good for: the head's alpha.

The network says of every pixel what it belongs to (``face_parts.FacePart``), at an eighth of its input's size; where
exactly the edge runs is read off the picture. Faces' upper and lower regions are made in ``masks.region_masks``.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from jax_talker import geometry
from jax_talker.data.cut.face_parts import HEAD, among
from jax_talker.data.cut.masks import connected, filled
from jax_talker.data.cut.matte import HeadView, guided, neck_fade
from jax_talker.data.track.landmarks import LandmarkScheme

# Of the image size: standard deviation by which a part's edge is softened. The network's classes are as sharp as that.
SOFTNESS = 0.002
REACH = 128  # parts of the image size; the head's edge in the picture is looked for within one of them
EDGE = (0.3, 0.7)  # what the guided filter blurs beyond these is background and head for certain


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
    return np.clip((edge - low) / (high - low), 0, 1) * neck_fade(view, size, focal)


def _softened(region: Bool[np.ndarray, "S S"]) -> Float32[np.ndarray, "S S"]:
    return cv2.GaussianBlur(region.astype(np.float32), (0, 0), SOFTNESS * len(region))
