"""FID: all frames of the render against all of the truth, as two sets."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jax_talker.app.judging.meters import Pair
from jax_talker.app.judging.score import Result, Score
from jax_talker.metrics.frechet import Moments, frechet_distance
from jax_talker.networks import inception

TITLES = {"fid": "FID", "fid_clean": "FID (clean-fid's resize)"}


class FidMeter:
    """``fid`` is pytorch-fid's, ``fid_clean`` has clean-fid's resize; two names, because they are two numbers."""

    needs_faces = False

    def __init__(self, name: str, params: dict[str, Any]):
        self._name = name
        self._features: Callable = jax.jit(
            lambda params, x: inception.Inception().apply({"params": params}, inception.RESIZES[name](x))
        )
        self._params = params
        self._pred, self._truth = Moments(inception.FEATURES), Moments(inception.FEATURES)

    def add(self, pair: Pair) -> None:
        pred, truth = pair.unit()
        self._truth.add(np.asarray(self._features(self._params, truth))[: pair.count])
        if pair.pred is not pair.truth:
            self._pred.add(np.asarray(self._features(self._params, pred))[: pair.count])

    def scores(self) -> list[Result]:
        pred = self._pred if self._pred.count else self._truth
        if min(pred.count, self._truth.count) < 2:
            return [Score(self._name, TITLES[self._name], np.nan, better="lower", note="of fewer than two frames")]
        value = frechet_distance(pred.mean, pred.covariance, self._truth.mean, self._truth.covariance)
        return [Score(self._name, TITLES[self._name], value, better="lower", digits=2)]
