"""The head with its hair on white, from a network that finds persons (``segmenter.py``), steady in time.

1. *Where.* The network looks at the head's surroundings; of several persons the one with these landmarks is kept.
2. *Clothes*, where the network does not know them: colours of what is well below the chin but hardly ever above it.
   Skin and hair have the head's colours, so they stay.
3. *Steady.* What was found in the frame before is carried along by the pictures' optical flow and remembered where the
   colours still agree, so that guesses about strands and dark corners do not change from frame to frame.
4. The edge is read off the picture (guided filter), and the neck fades out as in ``matte.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from jax_talker import geometry
from jax_talker.data.camera.crop import Crop
from jax_talker.data.cut.colour_histogram import colour_bins, histogram
from jax_talker.data.cut.masks import connected, filled
from jax_talker.data.cut.matte import Cutter, HeadView, below_chin, guided, neck_fade, smoothstep
from jax_talker.data.cut.segmenter import Segmented
from jax_talker.data.track.landmarks import LandmarkScheme

SIZE, CONTEXT = 256, 1.6  # px and crop sides of the square that the network sees
MEMORY = 0.8  # share of a frame's answer that comes from the frames before, where their colours agree
SAME_COLOUR = 8.0  # Lab
TORSO = 0.13  # world units below the chin; what is further down and is not of the head's colours are clothes
CLOTHES = (0.6, 0.85)  # probability by colour, from which on a pixel is perhaps and certainly clothes
LEAST_TORSO = 0.01  # of the squares; with less of it in view nothing is said about clothes


@dataclass(frozen=True)
class SegmentedView:
    """What is kept of a full picture until its head is cut out."""

    wide: UInt8[np.ndarray, "s s 3"]
    head: UInt8[np.ndarray, "s s"]  # 255 where the network sees it
    shape: tuple[int, ...]  # of the full picture


class PersonMatte:
    """Cuts out the head of the person with the given landmarks, frame by frame."""

    warm_up = 12  # frames; what the memory began with has faded to 0.8¹² = 7 % then
    fades = True

    def __init__(
        self,
        segmenter: Callable[[UInt8[np.ndarray, "H W 3"]], Segmented],
        pictures: Sequence[UInt8[np.ndarray, "H W 3"]],
        views: Sequence[HeadView],
        scheme: LandmarkScheme,
        focal: float = geometry.FOCAL,
    ):
        """``pictures`` are source frames spread over the clip, from which clothes' colours are learnt; ``views`` the
        head in each of them."""
        self._segment, self._scheme, self._focal = segmenter, scheme, focal
        self._clothes: Float[np.ndarray, " M"] | None = None  # probability by colour
        self._learn_clothes(pictures, views)

    def look(self, index: int, picture: UInt8[np.ndarray, "H W 3"], view: HeadView) -> SegmentedView:
        """What ``cutter`` needs of a full picture."""
        crop = view.crop.widened(CONTEXT)
        wide = crop.cut(picture, SIZE)
        found = self._segment(wide).head
        own = connected(found > 0.5, self._face(view, crop))
        own = cv2.GaussianBlur(cv2.dilate(own.astype(np.float32), np.ones((5, 5))), (3, 3), 0)
        if self._clothes is not None:
            by_colour = cv2.blur(self._clothes[colour_bins(_lab(wide))].astype(np.float32), (5, 5))
            under = smoothstep(-0.05, 0.03, below_chin(view, crop, SIZE, self._focal))
            own = own * (1 - under * smoothstep(*CLOTHES, by_colour))
        return SegmentedView(wide, np.round(found * own * 255).astype(np.uint8), picture.shape)

    def cutter(self) -> Cutter:
        """Cuts out successive frames with a memory of those before; the first few warm it up."""
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        before: tuple[np.ndarray, np.ndarray] | None = None  # picture, alpha

        def cut(looked: SegmentedView, view: HeadView, seen: UInt8[np.ndarray, "S S 3"]) -> Float32[np.ndarray, "S S"]:
            nonlocal before
            alpha = looked.head / np.float32(255)
            if before is not None:
                alpha = _remembered(alpha, looked.wide, *before, flow)
            before = looked.wide, alpha
            size, middle = len(seen), Crop(np.full(2, SIZE / 2), SIZE / CONTEXT)
            fine = middle.cut(np.round(alpha * 255).astype(np.uint8)[..., None], size)[..., 0] / np.float32(255)
            fine = np.clip(guided(seen, fine), 0, 1) * neck_fade(view, size, self._focal)
            return (fine * view.crop.inside(looked.shape, size)).astype(np.float32)

        return cut

    def _learn_clothes(self, pictures: Sequence[np.ndarray], views: Sequence[HeadView]) -> None:
        bins, head, face, torso = [], [], [], []
        for picture, view in zip(pictures, views, strict=True):
            crop = view.crop.widened(CONTEXT)
            wide = crop.cut(picture, SIZE)
            found = self._segment(wide)
            if not found.with_clothes:
                return
            weight = found.head * crop.inside(picture.shape, SIZE)
            below = below_chin(view, crop, SIZE, self._focal)
            bins.append(colour_bins(_lab(wide)).ravel())
            head.append((weight * (below < 0)).ravel())
            face.append((weight * self._face(view, crop)).ravel())
            torso.append((weight * (below > TORSO)).ravel())
        if not bins or np.mean(torso) < LEAST_TORSO:
            return
        places = np.concatenate(bins)
        of_head, of_face, of_torso = (histogram(places, np.concatenate(part)) for part in (head, face, torso))
        # The face counts by itself as well: a bare torso has much more skin than a head with its hair.
        self._clothes = of_torso / (of_torso + np.maximum(of_head, of_face))

    def _face(self, view: HeadView, crop: Crop) -> np.ndarray:
        return filled(self._scheme.outline(crop.to_crop(view.landmarks, SIZE)), SIZE) > 0


def _lab(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)


def _remembered(
    alpha: np.ndarray, wide: np.ndarray, wide_before: np.ndarray, before: np.ndarray, flow: cv2.DISOpticalFlow
) -> np.ndarray:
    """Mixed with the previous answer, moved along by the flow, where the colours agree."""
    now, then = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (wide, wide_before))
    rows, columns = np.indices(alpha.shape, np.float32)
    moved = flow.calc(now, then, np.zeros((*alpha.shape, 2), np.float32))
    place = columns + moved[..., 0], rows + moved[..., 1]
    colour, old = (
        cv2.remap(x, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for x in (_lab(wide_before).astype(np.float32), before)
    )
    distance = ((colour - _lab(wide)) ** 2).sum(-1)
    share = MEMORY * np.exp(-distance / (2 * SAME_COLOUR**2))
    return (share * old + (1 - share) * alpha).astype(np.float32)
