"""DeepSpeech's frozen graph, read without TensorFlow: written here in the original's names, whole, cut and mutated."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converters import budget
from converters import checkpoint as checkpoints
from converters import deepspeech as converter
from converters.errors import CheckpointError
from jax_talker.audio.deepspeech import DeepSpeech, as_int16
from jax_talker.data.read.audio import load_sound
from jax_talker.networks.deepspeech import Sizes, shapes

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode knows no packages of tests
import graphs
from test_fuzz import run

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
SMALL = Sizes(494, 12, 12, 16, 8, 10, 29)


def fake(sizes=SMALL):
    """Constants by the original's names."""
    rng = np.random.default_rng(0)
    own = {name: (0.3 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes(sizes).items()}
    return {converter.PLACES[name]: array for name, array in own.items()}


def saved(tmp_path, constants):
    path = tmp_path / "deepspeech-0_1_0-b90017e8.pb"
    path.write_bytes(graphs.graph(constants))
    return path


def test_names_are_the_originals():
    names = {f"{kind}{n}" for kind in "hb" for n in (1, 2, 3, 5, 6)}
    names |= {f"bidirectional_rnn/{d}/basic_lstm_cell/{p}" for d in ("fw", "bw") for p in ("kernel", "bias")}
    assert set(converter.PLACES.values()) == names
    assert shapes(Sizes())["forward/kernel"] == (4096 + 2048, 8192)
    assert 110e6 < sum(np.prod(shape) for shape in shapes(Sizes()).values()) < 125e6  # published: about 120 million


def test_program_converts_and_the_extractor_opens_it(tmp_path):
    constants = fake()
    saved(tmp_path, constants)
    command = [sys.executable, "-m", "converters", "deepspeech", "deepspeech-0_1_0-b90017e8.pb", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stderr
    assert converter.SHA1 in done.stderr  # not the published file: said, with both values
    assert "--config.data.features=deepspeech --config.data.features_weights=out" in done.stdout
    own = DeepSpeech(tmp_path / "out")
    assert own.extract(np.zeros(16_000, np.float32)).shape == (50, 29)
    for path, name in converter.PLACES.items():
        layer, part = path.split("/")
        np.testing.assert_array_equal(own._weights[layer][part], constants[name])
    command = [sys.executable, "-m", "converters", "inspect", "deepspeech-0_1_0-b90017e8.pb"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert "a TensorFlow graph" in listed.stdout
    assert "bidirectional_rnn/fw/basic_lstm_cell/kernel" in listed.stdout


class Original:
    """AD-NeRF's features from the graph's own constants, by their names: python_speech_features, and in PyTorch what
    DeepSpeech v0.1.0 builds (BiRNN, its BasicLSTMCells in TensorFlow's gate order i, j, f, o)."""

    def __init__(self, constants):
        import torch

        self.torch = torch
        self.constants = {name: torch.from_numpy(array) for name, array in constants.items()}

    def features(self, sound):
        """[T, 29] at 50 Hz, as the published program makes them of int16 sound."""
        reference = pytest.importorskip("python_speech_features", reason="needs the test extra")
        rows = reference.mfcc(sound, 16_000, numcep=26)[::2]
        padded = np.concatenate([np.zeros((9, 26)), rows, np.zeros((9, 26))])
        inputs = np.stack([padded[i : i + 19].ravel() for i in range(len(rows))])
        inputs = (inputs - inputs.mean()) / inputs.std()
        with self.torch.no_grad():
            return self.logits(self.torch.from_numpy(inputs.astype(np.float32))).numpy()

    def dense(self, number, x):
        return x @ self.constants[f"h{number}"] + self.constants[f"b{number}"]

    def lstm(self, direction, x):
        cell = f"bidirectional_rnn/{direction}/basic_lstm_cell"
        kernel, bias = (self.constants[f"{cell}/{part}"] for part in ("kernel", "bias"))
        c = h = self.torch.zeros(kernel.shape[1] // 4)
        found = []
        for step in x:
            i, j, f, o = (self.torch.cat([step, h]) @ kernel + bias).chunk(4)
            c = c * (f + 1.0).sigmoid() + i.sigmoid() * j.tanh()
            h = c.tanh() * o.sigmoid()
            found.append(h)
        return self.torch.stack(found)

    def logits(self, x):
        for number in (1, 2, 3):
            x = self.dense(number, x).clamp(0, 20)
        x = self.torch.cat([self.lstm("fw", x), self.lstm("bw", x.flip(0)).flip(0)], 1)
        return self.dense(6, self.dense(5, x).clamp(0, 20))


def original_shapes(first, third, cell, letters):
    """The variables of DeepSpeech v0.1.0 by name; published: 2048, 4096, 2048 and 29."""
    dense = {1: (494, first), 2: (first, first), 3: (first, third), 5: (2 * cell, first), 6: (first, letters)}
    found = {f"h{number}": shape for number, shape in dense.items()}
    found |= {f"b{number}": shape[1:] for number, shape in dense.items()}
    for direction in ("fw", "bw"):
        name = f"bidirectional_rnn/{direction}/basic_lstm_cell"
        found |= {f"{name}/kernel": (third + cell, 4 * cell), f"{name}/bias": (4 * cell,)}
    return found


@pytest.mark.torch
@pytest.mark.parametrize(
    ("sizes", "seconds"),
    [((24, 40, 20, 29), 5), pytest.param((2048, 4096, 2048, 29), 2, marks=pytest.mark.slow)],  # the latter: 0.5 GB
)
def test_a_frozen_graph_gives_the_originals_features(shared, tmp_path, sizes, seconds):
    """From a graph in the original's names and shapes, with random weights, and a real recording to AD-NeRF's logits:
    coefficients, context, standardisation, converter and network beside what the original does with the same."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    constants = {  # activations keep their size, and biases matter
        name: (rng.standard_normal(shape) * (2 / np.sqrt(shape[0]) if len(shape) == 2 else 0.3)).astype(np.float32)
        for name, shape in original_shapes(*sizes).items()
    }
    arrays = converter.convert(saved(tmp_path, constants))
    converter.save(tmp_path / "weights", arrays)
    sound = load_sound(shared / "clips" / "Obama_5s.wav")[: 16_000 * seconds]
    got = DeepSpeech(tmp_path / "weights").extract(sound)
    want = Original(constants).features(as_int16(sound))
    assert got.shape == (50 * seconds, 29)
    assert want.std(0).min() > 0.1
    np.testing.assert_allclose(got[: len(want)], want, atol=1e-5 * max(1, np.abs(want).max()))
    assert (got[len(want) :] == got[-1]).all()  # AD-NeRF stretches the steps that there are over the sound's length
    assert len(got) - len(want) <= 1


def test_the_published_file_is_known_by_its_sum(tmp_path, monkeypatch, caplog):
    path = saved(tmp_path, fake())
    with caplog.at_level(logging.WARNING):
        converter.convert(path)
    assert caplog.text.count("SHA-1") == 1
    own = caplog.text.split("SHA-1 ")[1][:40]
    monkeypatch.setattr(converter, "SHA1", own)
    caplog.clear()
    converter.convert(path)
    assert caplog.text == ""


@pytest.mark.parametrize("how", ["floats", "float by float", "prefix"])
def test_other_ways_to_write_the_same(tmp_path, how):
    constants = fake()
    bias = constants.pop("b6")
    if how == "floats":
        more = graphs.constant("b6", bias, content=False)
    elif how == "prefix":
        more, constants = b"", {f"deepspeech/{name}": array for name, array in {**constants, "b6": bias}.items()}
    else:
        single = b"".join(graphs.varint(5 << 3 | 5) + number.tobytes() for number in bias)
        own = graphs.field(1, 1) + graphs.field(2, graphs.shape(bias.shape)) + single
        more = graphs.node("b6", "Const", attributes=graphs.attribute("value", graphs.field(8, own)))
    path = tmp_path / "a.pb"
    path.write_bytes(graphs.graph(constants) + more)
    np.testing.assert_array_equal(converter.convert(path)["dense6/bias"], bias)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.pop("b6"), "has no constant b6; is it the graph of another release"),
        (lambda c: c.update(b5=np.zeros(3, np.float32)), r"b5 has shape \(3,\)"),
        (lambda c: c.update(h1=np.zeros(3, np.float32)), "no matrices"),
        (lambda c: c["h2"].fill(np.inf), "h2 holds numbers that are not finite"),
    ],
)
def test_other_graphs_are_refused(tmp_path, spoil, message):
    constants = fake()
    spoil(constants)
    with pytest.raises(CheckpointError, match=message):
        converter.convert(saved(tmp_path, constants))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.pb"
    for content, message in (
        (b"\n\n\nnot a graph at all", "neither a pickle nor a zip"),
        (b"\n<html>", "a web page"),
        (graphs.node("input", "Placeholder"), "without constants"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            converter.convert(path)


def test_every_prefix_is_refused(tmp_path):
    data = graphs.graph(fake())
    path = tmp_path / "cut.pb"
    for length in np.linspace(1, len(data) - 40, 60, dtype=int):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            converter.convert(path)


MANY = 20_000  # of what a file may hold a tenth of where this is tested; the limits themselves take seconds to reach
HOSTILE = {
    "a shape beyond any memory": graphs.constant("h1", np.zeros(4, np.float32), sizes=(2**40, 2**40)),
    "a negative size": graphs.constant("h1", np.zeros(4, np.float32), sizes=(2**64 - 4,)),
    "many axes": graphs.constant("h1", np.zeros(4, np.float32), sizes=(1,) * MANY),
    "one number for many": graphs.constant("h1", np.zeros(1, np.float32), content=False, sizes=(2**33,)),
    "many empty nodes": graphs.constant("h1", np.zeros(4, np.float32)) + graphs.field(1, b"") * MANY,
    "many empty attributes": graphs.node("h1", "Const", attributes=graphs.field(5, b"") * MANY),
    "many constants": b"".join(graphs.constant(f"h{i}", np.zeros(1, np.float32)) for i in range(MANY // 8)),
    "a name of a megabyte": graphs.constant("h1", np.zeros(4, np.float32)) + graphs.constant("n" * 2**20, np.zeros(1)),
    "a length beyond the file": graphs.constant("h1", np.zeros(4, np.float32))
    + graphs.varint(10)
    + b"\xff" * 9
    + b"\1",
    "a number that never ends": graphs.constant("h1", np.zeros(4, np.float32)) + b"\xff" * 1_000_000,
    "a group": graphs.constant("h1", np.zeros(4, np.float32)) + b"\x0b" * 1000,
    "the same name twice": graphs.constant("h1", np.zeros(4, np.float32)) * 2,
    "a number for a message": graphs.constant("h1", np.zeros(4, np.float32)) + graphs.field(1, 7),
    "part of a number": graphs.node(
        "h1",
        "Const",
        attributes=graphs.attribute("value", graphs.field(8, graphs.field(1, 1) + graphs.field(4, b"abc"))),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_graphs_are_refused(tmp_path, name, monkeypatch):
    monkeypatch.setitem(budget.LIMITS, "values", MANY // 2)
    monkeypatch.setitem(budget.LIMITS, "tensors", MANY // 16)
    path = tmp_path / "a.pb"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(CheckpointError) as error:
        converter.convert(path)
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)


def test_the_same_numbers_are_not_read_twice(tmp_path):
    """Constants lie one behind another, so what they hold together is less than the file."""
    path = saved(tmp_path, fake())
    found = checkpoints.read(path)
    assert sum(tensor.bytes for tensor in found.value.values()) < found.bytes


def test_mutated_graphs(tmp_path):
    run(saved(tmp_path, fake()), 400, seed=5)
