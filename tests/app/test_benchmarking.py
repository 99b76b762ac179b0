"""The benchmark's tables: means over people, and what is said where someone has no number."""

import numpy as np
import pytest

from jax_talker.app import benchmarking
from jax_talker.app.judging import protocols, tables
from jax_talker.app.judging.score import Missing, Score


def table(person, method, front, mean, jaw):
    score = lambda value: Score("psnr", "PSNR", value, "dB", "higher", np.full(3, value), digits=2)  # noqa: E731
    lips = jaw if isinstance(jaw, Missing) else Score("jaw_correlation", "Jaw correlation", jaw, "", "higher")
    groups = {benchmarking.FRONT: [score(front)], "side, 20°": [score(mean)], protocols.MEAN_VIEW: [score(mean)]}
    rows = [tables.Row("Truth, H.264", {benchmarking.FRONT: [score(40.0)]})]
    rows.append(tables.Row(method, groups | {benchmarking.OTHER: [lips]}))
    return tables.Table(f"{person}: {method}", rows, {"config": {method: {"seed": 0}}})


@pytest.fixture
def found():
    lacking = Missing("jaw_correlation", "Jaw correlation", "face_landmarker.task", "get it")
    return benchmarking.together(
        [
            table("7", "ours", 30.0, 25.0, 0.9),
            table("8", "ours", 32.0, 27.0, np.nan),
            table("7", "other", 29.0, 26.0, 0.5),
            table("8", "other", 33.0, 26.0, lacking),
        ],
        ["ours", "other"],
    )


def test_means_over_people(found):
    assert [row.name for row in found.rows] == ["Truth, H.264", "ours", "other"]
    value = {(row.name, group): results[0] for row in found.rows for group, results in row.results.items()}
    assert value["ours", benchmarking.FRONT].value == value["other", benchmarking.FRONT].value == 31
    assert value["ours", "side, 20°"].value == 26
    assert value["Truth, H.264", benchmarking.FRONT].value == 40
    for name, jaw in (("ours", 0.9), ("other", 0.5)):
        assert value[name, benchmarking.OTHER].value == jaw
        assert value[name, benchmarking.OTHER].note == "of 1 of 2 people"
    assert found.title == "synthetic people of the seeds 7, 8"


def test_each_persons_difference_is_told(found):
    assert f"{benchmarking.FRONT}, PSNR: other − ours, by person: -1.00, +1.00" in found.notes
    assert f"{benchmarking.OTHER}, Jaw correlation: other − ours, by person: -0.400" in found.notes
    assert not any("ours − ours" in note for note in found.notes)


def test_the_short_table_has_no_single_cameras(found):
    groups = {group for row in benchmarking.shortened(found).rows for group in row.results}
    assert groups == {benchmarking.FRONT, protocols.MEAN_VIEW, benchmarking.OTHER}
