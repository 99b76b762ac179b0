"""IDSIM: whether a face recognition network takes the rendered face for the true one, frame by frame."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_talker.app.judging.meters import Pair
from jax_talker.app.judging.score import Result, Score, mean
from jax_talker.data.track.faces import Face
from jax_talker.data.track.landmarks import scheme_of
from jax_talker.metrics.identity import cosine, warped
from jax_talker.networks import iresnet

# ``LandmarkScheme.anchors`` gives the person's left eye first; the template goes from left to right in the picture.
FROM_ANCHORS = (1, 0, 2, 4, 3)


class IdentityMeter:
    """Cosine similarity of frame i's embedding with that of the truth's frame i.

    Talk3D's measure, but for the five points: they come from the landmarker that all metrics share, not from MTCNN.
    """

    needs_faces = True

    def __init__(self, net: str, params: dict[str, Any]):
        self._net, self._params = net, params
        network = iresnet.network(net)
        self._embed = jax.jit(lambda params, faces: network.apply({"params": params}, (faces / 255 - 0.5) / 0.5))
        self._found: list[np.ndarray] = []

    def add(self, pair: Pair) -> None:
        found = np.full(pair.count, np.nan)
        both = [i for i in range(pair.count) if pair.pred_faces[i] is not None and pair.truth_faces[i] is not None]
        if both:
            pred = self._embedded(pair.pred, pair.pred_faces, both)
            same = pair.pred is pair.truth
            truth = pred if same else self._embedded(pair.truth, pair.truth_faces, both)
            found[both] = cosine(pred, truth)
        self._found.append(found)

    def _embedded(self, pictures: np.ndarray, faces, indices: list[int]) -> np.ndarray:
        """[len(indices), 512]; always a whole batch, so that one program serves all."""
        batch = np.zeros((len(pictures), iresnet.SIZE, iresnet.SIZE, 3), np.float32)
        for k, i in enumerate(indices):
            batch[k] = warped(pictures[i], five_points(faces[i]), iresnet.TEMPLATE, iresnet.SIZE)
        return np.asarray(self._embed(self._params, jnp.asarray(batch)))[: len(indices)]

    def scores(self) -> list[Result]:
        values = np.concatenate(self._found)
        missed = int(np.isnan(values).sum())
        note = f"of {len(values) - missed} of {len(values)} frames, where both faces were found" if missed else ""
        return [Score(name(self._net), title(self._net), mean(values), "", "higher", values, note)]


def five_points(face: Face) -> np.ndarray:
    """Eyes, nose tip and corners of the mouth [5, 2], left to right in the picture, px."""
    return scheme_of(len(face.points)).anchors(face.points)[list(FROM_ANCHORS)]


def name(net: str) -> str:
    return "idsim" if net == "curricularface" else f"idsim_{net}"


def title(net: str) -> str:
    return f"IDSIM ({iresnet.KINDS[net].title})"
