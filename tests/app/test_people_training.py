"""Bases of the people's prior are kept for the people and sizes that they were found with, and for no others."""

import numpy as np

from configs import prior_people
from jax_talker.app import people_training
from jax_talker.people.corpus import Corpus, Points


def test_bases_are_found_anew_for_other_people_or_sizes(tmp_path, monkeypatch):
    found = []

    def statistics(points, corpus, shapes, sizes):
        found.append(sizes)
        return {"mean": np.full(3, len(found), np.float32)}

    monkeypatch.setattr(people_training.statistics, "statistics", statistics)
    monkeypatch.setattr(people_training, "rest_shapes", lambda points, seeds: None)
    config = prior_people.get_config()
    config.corpus.pack = "heads"
    points, corpus = object.__new__(Points), object.__new__(Corpus)  # nothing looks at them here
    mean = lambda: people_training.bases(config, tmp_path, points, corpus)["mean"][0]  # noqa: E731
    assert (mean(), mean()) == (1, 1)
    config.basis.shape = 32
    assert (mean(), mean()) == (2, 2)
    config.corpus.people = 10
    assert (mean(), mean()) == (3, 3)
