"""The head with its hair on white, without a network: colours of this clip, what a resting camera has seen behind the
head, and where the landmarks say that a head can be.

A clip is learnt from a few dozen frames, then every frame is cut out alone, with a little memory of the one before:

1. *Where.* The face's outline is head for certain; with growing distance from it hair becomes unlikely. Below the chin
   only a neck's width counts, and everything fades out: heads on white have no torso.
2. *Colours.* Two histograms (Lab), of the head and of the rest, pooled over the clip and improved in turns with the
   mattes themselves, as GrabCut does for one picture.
3. *Background.* Where the camera rests, the background has a colour of its own at every place that was ever seen
   uncovered, which is much sharper evidence than a histogram; and it does not move with the head.
4. A random walk boundaries these along the picture's edges, and a guided filter brings the result to full resolution.

Limits: a background of the hair's colour that never shows at rest, thin flying hair, hands and microphones in front of
the face. Users with a matting network give its alpha instead (``--matte FOLDER``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from jax_talker import geometry
from jax_talker.data.camera.crop import Crop
from jax_talker.data.cut.background import Motion, Plate, SourceGrid
from jax_talker.data.cut.colour_histogram import BINS, colour_bins, histogram
from jax_talker.data.cut.masks import filled
from jax_talker.data.cut.random_walk import edge_weights, random_walk
from jax_talker.data.track.landmarks import LandmarkScheme

SIZE, CONTEXT = 160, 1.25  # px and crop sides of the square in which a head is cut out
ROUNDS = 6  # of learning
HOLE = 0.005  # of the square; smaller gaps inside a head are closed
THIN = 7  # px; nothing of a head is thinner but single strands, and those are beyond this method
UNSURE, SURE = 0.06, 3.0  # pull of evidence and of certainty, against neighbours' 1
MEMORY_COLOUR = 6.0  # Lab; a pixel that changed less than this keeps the previous frame's answer in mind
COLOUR_TRUST = 0.8  # neighbouring pixels' colours are not independent
PLATE_TRUST = 0.85
# World units (the eyes are 0.168 apart): how far hair may be from the face's outline, and how the neck ends.
HAIR, HAIR_SOFT, BACKGROUND_FROM, FACE_INSIDE = 0.15, 0.05, 0.34, 0.015
COVERED = 0.03  # from the face's outline: nearer, no background shows
NECK_WIDTH, NECK_SOFT, FADE_FROM, FADE_TO = 0.09, 0.14, 0.02, 0.115


@dataclass(frozen=True)
class HeadView:
    """Where the head is in one picture."""

    crop: Crop
    landmarks: Float[np.ndarray, "P 2"]  # px of the source
    up: Float[np.ndarray, " 2"]  # the head's up direction in the picture, unit length
    chin: float  # how far below the crop's centre the chin gets at most in this clip (lowest_chin), sides of the crop


@dataclass(frozen=True)
class Looked:
    """What is kept of a full picture until its head is cut out: the head's surroundings, small."""

    wide: UInt8[np.ndarray, "s s 3"]
    shape: tuple[int, ...]  # of the full picture


@runtime_checkable
class Cutter(Protocol):
    """Cuts out the head of successive frames: alpha of the head in the view's crop ``seen``."""

    def __call__(self, looked: Any, view: HeadView, seen: UInt8[np.ndarray, "S S 3"]) -> Float32[np.ndarray, "S S"]: ...


@runtime_checkable
class Matte(Protocol):
    """Where heads' alphas come from. ``look`` is called once per picture and in order, cutters from several threads."""

    @property
    def warm_up(self) -> int:
        """How many frames before the first that matters a cutter should be given."""
        ...

    @property
    def fades(self) -> bool:
        """Whether cutters let the neck fade out (``neck_fade``)."""
        ...

    def look(self, index: int, picture: UInt8[np.ndarray, "H W 3"], view: HeadView) -> Any:
        """What a cutter needs of picture ``index``."""
        ...

    def cutter(self) -> Cutter: ...


@dataclass(frozen=True)
class _Place:
    """Where each pixel of a square lies as seen from the face, in world units."""

    away: np.ndarray  # from the face's outline, negative inside
    aside: np.ndarray  # from the head's middle line
    below_chin: np.ndarray


class HeadMatte:
    """Learns a clip's colours, then cuts out the head frame by frame."""

    warm_up = 4  # frames; a frame's say halves from one to the next
    fades = True

    def __init__(
        self,
        pictures: Sequence[UInt8[np.ndarray, "H W 3"]],
        views: Sequence[HeadView],
        scheme: LandmarkScheme,
        focal: float = geometry.FOCAL,
    ):
        """``pictures`` are source frames spread over the clip, ``views`` the head in each of them."""
        self._scheme, self._focal = scheme, focal
        self._plate: Plate | None = None
        looks = [self.look(0, picture, view) for picture, view in zip(pictures, views, strict=True)]
        samples = [self._sample(x.wide, x.shape, view) for x, view in zip(looks, views, strict=True)]
        differences = [((s.lab[:, 1:] - s.lab[:, :-1]) ** 2).sum(-1).mean() for s in samples]
        self._spread = float(max(np.mean(differences), 4.0))
        grid = SourceGrid(pictures[0].shape, SIZE)
        labs, crops = [s.lab for s in samples], [s.crop for s in samples]
        covered = [s.place.away < COVERED for s in samples]
        self._motion = Motion(grid, labs, crops, [s.inside for s in samples], covered)
        near_face = [np.where(s.place.below_chin > -0.2, 0.03, 0.10) for s in samples]
        guesses = [_sigmoid((near - s.place.away) / 0.025) for near, s in zip(near_face, samples, strict=True)]
        guesses = [np.where(s.place.below_chin > -0.02, 0.5, 1) * g for g, s in zip(guesses, samples, strict=True)]
        # At first only what is next to the face or far from it speaks; between them may be hair or wall.
        trusted = [(s.place.away < 0.07) | ((s.place.away > 0.2) & (s.place.below_chin < 0)) for s in samples]
        for turn in range(ROUNDS):
            weights = [s.inside * (t if turn == 0 else 1) for s, t in zip(samples, trusted, strict=True)]
            self._learn_colours(samples, guesses, weights)
            walks = [self._walk(s) for s in samples]
            guesses = [smoothstep(0.3, 0.7, w) for w in walks]
            self._plate = Plate(grid, labs, crops, [s.clear(w) for s, w in zip(samples, walks, strict=True)])

    def look(self, index: int, picture: UInt8[np.ndarray, "H W 3"], view: HeadView) -> "Looked":
        """What ``cutter`` needs of a full picture."""
        wide = view.crop.widened(CONTEXT)
        return Looked(wide.cut(picture, SIZE), picture.shape)

    def cutter(self) -> Cutter:
        """Cuts out successive frames with a memory of the one before; the first few warm it up."""
        before: tuple[np.ndarray, np.ndarray] | None = None

        def cut(looked: Looked, view: HeadView, seen: UInt8[np.ndarray, "S S 3"]) -> Float32[np.ndarray, "S S"]:
            nonlocal before
            sample = self._sample(looked.wide, looked.shape, view)
            walk = self._walk(sample, before)
            before = sample.lab, walk
            return self._fine(walk, looked.shape, view, seen)

        return cut

    def _fine(self, walk: np.ndarray, shape: tuple[int, ...], view: HeadView, seen: np.ndarray) -> np.ndarray:
        size = len(seen)
        alpha = np.maximum(smoothstep(0.35, 0.65, walk) * _solid(walk), _holes(walk))
        middle = Crop(np.full(2, SIZE / 2), SIZE / CONTEXT)
        fine = middle.cut(np.round(alpha * 255).astype(np.uint8)[..., None], size)[..., 0] / np.float32(255)
        fine = np.clip(guided(seen, fine), 0, 1) * neck_fade(view, size, self._focal)
        return (fine * view.crop.inside(shape, size)).astype(np.float32)

    def _sample(self, wide: np.ndarray, shape: tuple[int, ...], view: HeadView) -> "_Sample":
        crop = view.crop.widened(CONTEXT)
        lab = cv2.cvtColor(wide, cv2.COLOR_RGB2LAB)
        return _Sample(
            lab.astype(np.float32), colour_bins(lab), self._place(view, crop, SIZE), crop.inside(shape, SIZE), crop
        )

    def _place(self, view: HeadView, crop: Crop, size: int) -> _Place:
        face = filled(self._scheme.outline(crop.to_crop(view.landmarks, size)), size)
        away = cv2.distanceTransform(1 - face, cv2.DIST_L2, 5) - cv2.distanceTransform(face, cv2.DIST_L2, 5)
        down, aside = below_chin(view, crop, size, self._focal), _aside(view, crop, self._scheme, size, self._focal)
        return _Place(away * np.float32(_pixel(view, crop, size, self._focal)), aside, down)

    def _learn_colours(self, samples: "list[_Sample]", heads: list[np.ndarray], weights: list[np.ndarray]) -> None:
        bins = np.concatenate([s.bins.ravel() for s in samples])
        head = np.concatenate([h.ravel() for h in heads])
        weight = np.concatenate([w.ravel() for w in weights])
        self._head, self._rest = (histogram(bins, w) for w in (head * weight, (1 - head) * weight))

    def _walk(self, sample: "_Sample", before: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
        head, rest = self._head[sample.bins], self._rest[sample.bins]
        if self._plate is not None:
            known, density = self._plate.density(sample.lab, sample.crop)
            known = PLATE_TRUST * known
            rest = rest * (1 - known) + density * (256 / BINS) ** 3 * known + 1e-7
        evidence = COLOUR_TRUST * np.clip(np.log(head / rest), -5, 5) + self._motion.head_odds(sample.lab, sample.crop)
        probability = _sigmoid(evidence + _head_shape(sample.place))
        to_one, to_zero = UNSURE * probability, UNSURE * (1 - probability)
        face = sample.place.away < -FACE_INSIDE
        wall = (sample.place.away > BACKGROUND_FROM) & (sample.place.below_chin < -0.1)
        to_one, to_zero = np.where(face, SURE, to_one), np.where(face, 0, to_zero)
        to_one, to_zero = np.where(wall, 0, to_one), np.where(wall, SURE, to_zero)
        if before is not None:
            lab, walk = before
            same = UNSURE * np.exp(-((sample.lab - lab) ** 2).sum(-1) / (2 * MEMORY_COLOUR**2))
            to_one, to_zero = to_one + same * walk, to_zero + same * (1 - walk)
        across, down = edge_weights(sample.lab, self._spread)
        return random_walk(across, down, to_one.astype(np.float32), to_zero.astype(np.float32))


def lowest_chin(
    crops: Sequence[Crop],
    landmarks: Float[np.ndarray, "T P 2"],
    up: Float[np.ndarray, "T 2"],
    scheme: LandmarkScheme,
) -> float:
    """How far the chin gets below the crop's centre, along the head, in sides of the crop: in 2 % of the frames it is
    lower. ``landmarks`` are px of the source, ``up`` as in HeadView."""
    side, centre = np.array([c.side for c in crops]), np.array([c.centre for c in crops])
    below = -((scheme.named(landmarks, "chin") - centre) * up).sum(-1) / side
    return float(np.percentile(below, 98))


def below_chin(
    view: HeadView, crop: Crop, size: int, focal: float = geometry.FOCAL
) -> Float[np.ndarray, "{size} {size}"]:
    """How far each pixel of ``crop`` is below the lowest place of the chin, along the head, in world units.

    It goes with the rigid head, not with the jaw: a neck that ends elsewhere whenever the mouth opens would flicker.
    """
    offset, unit = view.crop.centre - crop.centre, _pixel(view, crop, size, focal)
    place = (np.arange(size) + 0.5 - size / 2) * unit
    x, y = (place - offset[axis] / crop.side * size * unit for axis in (0, 1))
    return -(x * view.up[0])[None, :] - (y * view.up[1])[:, None] - view.chin * geometry.RADIUS / focal


def neck_fade(view: HeadView, size: int, focal: float = geometry.FOCAL) -> Float32[np.ndarray, "{size} {size}"]:
    """1 in the head, falling to 0 below the chin: heads on white have no torso, and long hair ends with the neck."""
    return (1 - smoothstep(FADE_FROM, FADE_TO, below_chin(view, view.crop, size, focal))).astype(np.float32)


def as_filmed(view: HeadView, size: int, focal: float = geometry.FOCAL) -> Bool[np.ndarray, "{size} {size}"]:
    """Where nothing has faded; below, a neck went on that the picture does not show, so nothing is known there."""
    return neck_fade(view, size, focal) > 1 - 1 / 255


def on_white(picture: UInt8[np.ndarray, "S S 3"], alpha: Float32[np.ndarray, "S S"]) -> UInt8[np.ndarray, "S S 3"]:
    """Composite on white with the head's own colours at soft edges, not the mixture with the background behind it.

    The colours are estimated by blurring inside and outside and solving for the rest, from coarse to fine (Forte and
    Pitié, "Approximate fast foreground colour estimation", ICIP 2021); the means at a quarter of the size.
    """
    size = len(picture)
    quarter = (max(1, size // 4),) * 2
    image = cv2.resize(picture, quarter, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.resize(alpha, quarter, interpolation=cv2.INTER_AREA)[..., None]
    head = rest = image
    for reach in (size // 24, max(1, size // 256)):
        window = (2 * reach + 1, 2 * reach + 1)
        weight = cv2.blur(small, window)[..., None]
        head = cv2.blur(head * small, window) / np.maximum(weight, 1e-3)
        rest = cv2.blur(rest * (1 - small), window) / np.maximum(1 - weight, 1e-3)
        solved = np.clip(head + small * (image - small * head - (1 - small) * rest), 0, 255)
        head, mean = solved, head
    mean, rest = (cv2.resize(m, (size, size), interpolation=cv2.INTER_LINEAR) for m in (mean, rest))
    white = np.where(alpha[..., None] > 0.5, picture, np.uint8(255))
    edge = (alpha > 1 / 512) & (alpha < 1 - 1 / 512)
    a, seen, mean, rest = alpha[edge][:, None], picture[edge].astype(np.float32), mean[edge], rest[edge]
    own = np.clip(mean + a * (seen - a * mean - (1 - a) * rest), 0, 255)
    white[edge] = np.round(own * a + 255 * (1 - a)).astype(np.uint8)
    return white


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sample:
    lab: np.ndarray  # [SIZE, SIZE, 3] float32
    bins: np.ndarray  # [SIZE, SIZE] index into the histograms
    place: _Place
    inside: np.ndarray  # 1 where the source picture has something
    crop: Crop

    def clear(self, walk: np.ndarray) -> np.ndarray:
        """Where the background is seen, with some distance from the head and not where hair or shoulders may hang."""
        clear = cv2.dilate(walk, np.ones((3, 3))) < 0.45
        return clear & (self.inside > 0.5) & (self.place.away > 0.03) & (self.place.below_chin < -0.02)


def _aside(view: HeadView, crop: Crop, scheme: LandmarkScheme, size: int, focal: float) -> np.ndarray:
    """How far each pixel is beside the middle of the eyes, across the head."""
    eyes = scheme.anchors(crop.to_crop(view.landmarks, size))[:2].mean(0)
    unit, (up_x, up_y) = _pixel(view, crop, size, focal), view.up
    place = (np.arange(size) + 0.5).astype(np.float32)
    return -((place - eyes[0]) * (up_y * unit))[None, :] + ((place - eyes[1]) * (up_x * unit))[:, None]


def _pixel(view: HeadView, crop: Crop, size: int, focal: float) -> float:
    """World units of a pixel."""
    return crop.side / view.crop.side * geometry.RADIUS / focal / size


def _head_shape(place: _Place) -> np.ndarray:
    """Log odds of being head by place alone."""
    near = np.clip((HAIR - place.away) / HAIR_SOFT, -4, 3)
    under = smoothstep(-0.05, 0.03, place.below_chin)
    neck = 1 - smoothstep(NECK_WIDTH, NECK_SOFT, np.abs(place.aside))
    return near * (1 - under) + under * (3 * neck - 2)


def _solid(walk: np.ndarray) -> np.ndarray:
    """1 on and next to the one large part of a matte; lines and specks that a wall's pattern left are taken away."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (THIN, THIN))
    opened = cv2.morphologyEx((walk > 0.5).astype(np.uint8), cv2.MORPH_OPEN, disc)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    largest = labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]) if len(stats) > 1 else opened > 0
    around = cv2.dilate(largest.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    return cv2.GaussianBlur(around.astype(np.float32), (3, 3), 0)


def _holes(walk: np.ndarray) -> np.ndarray:
    """1 in small gaps that a matte encloses: highlights and shadows of hair far more often than background."""
    _, components, stats, _ = cv2.connectedComponentsWithStats((walk < 0.5).astype(np.uint8), connectivity=4)
    labels = np.asarray(components, np.intp)
    small = np.asarray(stats[:, cv2.CC_STAT_AREA] < HOLE * walk.size)
    small[np.unique(np.concatenate([labels[[0, -1]].ravel(), labels[:, [0, -1]].ravel()]))] = False
    small[0] = False
    gaps = cv2.dilate(small[labels].astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    return cv2.GaussianBlur(gaps.astype(np.float32), (3, 3), 0)


def guided(
    picture: UInt8[np.ndarray, "S S 3"],
    alpha: Float32[np.ndarray, "S S"],
    *,
    reach: int | None = None,
    detail: float = 0.02,
) -> Float32[np.ndarray, "S S"]:
    """Guided filter (He et al., ECCV 2010): alpha as a local linear function of the picture's brightness.

    ``reach`` is half the window's side, px (a 64th of the picture); it only smooths contrasts below ``detail``.
    """
    guide = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) / np.float32(255)
    reach = max(1, len(guide) // 64) if reach is None else reach

    def mean(x):
        return cv2.blur(x, (2 * reach + 1, 2 * reach + 1))

    m_guide, m_alpha = mean(guide), mean(alpha)
    slope = (mean(guide * alpha) - m_guide * m_alpha) / (mean(guide * guide) - m_guide**2 + detail**2)
    return mean(slope) * guide + mean(m_alpha - slope * m_guide)


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 beyond ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
