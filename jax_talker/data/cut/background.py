"""What a resting camera knows about the background: its colour at every place, and that it does not move with the head.

Pictures arrive as square Lab samples of one size, cut around the head; everything that is known of the background lives
in the coordinates of the source picture, at a small size. Nothing here needs to be told whether the camera rests: where
it does not, colours at a place vary, and neither kind of evidence says much.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from jax_talker.data.camera.crop import Crop

WIDTH = 192  # px of the longer side of the source
SEEN = 20  # a place's own colour is known when one in so many samples showed it uncovered
MIN_SPREAD, MAX_SPREAD = 4.0, 20.0  # Lab; below: noise and compression, above: not one colour
NOISE = 48.0  # Lab², three channels of about 4 levels
MOTION_LIMIT = 1.5  # log odds


class SourceGrid:
    """The source picture at a small size, and the samples' way there and back."""

    def __init__(self, source_shape: tuple[int, ...], sample_size: int):
        self._scale = WIDTH / max(source_shape[:2])
        self._sample_size = sample_size
        self._size = (int(np.ceil(source_shape[1] * self._scale)), int(np.ceil(source_shape[0] * self._scale)))

    def laid(self, layers: Float[np.ndarray, "S S C"], crop: Crop, outside: float = 0.0) -> np.ndarray:
        """Layers of a sample, laid where they belong in the source: [h, w, C]."""
        border = (outside,) * 4
        parts = [
            cv2.warpAffine(part, self._matrix(crop), self._size, flags=cv2.INTER_LINEAR, borderValue=border)
            for part in np.split(layers, range(4, layers.shape[2], 4), axis=2)  # OpenCV takes four channels at most
        ]
        return np.dstack(parts)

    def lifted(self, layers: Float[np.ndarray, "h w C"], crop: Crop) -> np.ndarray:
        """What the source's layers hold where a sample is: [S, S, C]; its edge is repeated outside."""
        flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (self._sample_size,) * 2
        parts = [
            cv2.warpAffine(part, self._matrix(crop), size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            for part in np.split(layers, range(4, layers.shape[2], 4), axis=2)
        ]
        return np.dstack(parts)

    def _matrix(self, crop: Crop) -> np.ndarray:
        """Source grid indices from a sample's indices."""
        step = crop.side / self._sample_size * self._scale
        corner = (crop.centre - crop.side / 2) * self._scale + step / 2 - 0.5
        return np.array([[step, 0, corner[0]], [0, step, corner[1]]])


class Plate:
    """The background's own colour at each place of the source, from pixels that were clear of the head."""

    def __init__(
        self,
        grid: SourceGrid,
        labs: Sequence[Float32[np.ndarray, "S S 3"]],
        crops: Sequence[Crop],
        clear: Sequence[Bool[np.ndarray, "S S"]],
    ):
        self._grid = grid
        total: np.ndarray | float = 0.0
        for lab, crop, seen in zip(labs, crops, clear, strict=True):
            weight = seen.astype(np.float32)[..., None]
            total = total + grid.laid(np.dstack([weight, lab * weight, (lab**2).sum(-1, keepdims=True) * weight]), crop)
        total = np.asarray(total)
        count = np.maximum(total[..., 0], 1e-6)
        mean = total[..., 1:4] / count[..., None]
        variance = np.maximum(total[..., 4] / count - (mean**2).sum(-1), 0) / 3
        known = (total[..., 0] >= len(labs) / SEEN) & (variance < MAX_SPREAD**2)
        self._layers = np.dstack([known, mean, np.sqrt(variance)]).astype(np.float32)

    def density(
        self, lab: Float32[np.ndarray, "S S 3"], crop: Crop
    ) -> tuple[Float[np.ndarray, "S S"], Float[np.ndarray, "S S"]]:
        """(how far a place is known, 0 … 1; density of the sample's colours there per Lab unit³)."""
        here = self._grid.lifted(self._layers, crop)
        spread = np.maximum(here[..., 4], MIN_SPREAD)
        distance = ((lab - here[..., 1:4]) ** 2).sum(-1)
        return here[..., 0], np.exp(-distance / (2 * spread**2)) / (np.sqrt(2 * np.pi) * spread) ** 3


class Motion:
    """Does a pixel move with the head or rest with the camera? It agrees with the median of one of them.

    Where a surface has no pattern, or head and camera move alike, both agree, and the answer is that nothing is known.
    """

    def __init__(
        self,
        grid: SourceGrid,
        labs: Sequence[Float32[np.ndarray, "S S 3"]],
        crops: Sequence[Crop],
        inside: Sequence[Float[np.ndarray, "S S"]],
        covered: Sequence[Bool[np.ndarray, "S S"]],
    ):
        """``inside`` is 1 where a sample shows the source; ``covered`` where a head is certain to hide what rests."""
        self._grid = grid
        hidden = [np.where(i[..., None] > 0.99, lab, np.nan) for lab, i in zip(labs, inside, strict=True)]
        behind = [np.where(c[..., None], np.nan, lab) for lab, c in zip(hidden, covered, strict=True)]
        with np.errstate(all="ignore"):
            self._head = _median(hidden)
            self._source = _median([grid.laid(lab, crop, np.nan) for lab, crop in zip(behind, crops, strict=True)])

    def head_odds(self, lab: Float32[np.ndarray, "S S 3"], crop: Crop) -> Float[np.ndarray, "S S"]:
        """Log odds that each pixel belongs to the head, from motion alone, within ± 1.5."""
        resting, moving = (
            cv2.blur(((lab - median) ** 2).sum(-1), (5, 5)) + NOISE
            for median in (self._grid.lifted(self._source, crop), self._head)
        )
        return np.clip(np.log(resting / moving), -MOTION_LIMIT, MOTION_LIMIT)


def _median(layers: Sequence[np.ndarray]) -> np.ndarray:
    """Median over pictures of what is not NaN; 0 where nothing is. Sorting puts NaN last."""
    stack = np.sort(np.stack(layers).astype(np.float32), axis=0)
    count = np.isfinite(stack).sum(0, keepdims=True)
    low, high = (np.take_along_axis(stack, np.maximum(i, 0), 0)[0] for i in ((count - 1) // 2, count // 2))
    return np.where(count[0] > 0, (low + np.where(count[0] % 2 == 1, low, high)) / 2, 0).astype(np.float32)
