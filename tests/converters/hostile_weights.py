"""Hostile files for the converters of fixed networks' weights; ``hostile.py`` gives each to those that it is for.

The reader reads these: what they are made to cost comes later, where tensors are looked for, counted and compared.
"""

from importlib import import_module

import numpy as np
from graphs import constant, field
from opcodes import call, file, get, named, number, pairs, plain, put, storage, stored, tensor, text

LONG = "k" * 1_000_000
# A tensor's name in each of the networks.
OWN = (
    *("features.0.weight", "cp.resnet.conv1.weight", "Mixed_5b.branch_pool.conv.weight", "input_layer.0.weight"),
    *("netcnnlip.0.weight", "encoder.layers.0.fc1.weight"),
    "encoder.layers.0.feed_forward.intermediate_dense.weight",
)
# What stands before FILE OUT in a command. The first three walk through a file in ways of their own.
WALKS = ("bisenet", "whisper", "lpips alex")
EVERY = (*WALKS, "lpips alex +", "fid", "syncnet", "idsim irse50", "wav2vec2", "deepspeech")  # +: the file as both


def commands(converters, path, out):
    """Arguments of the program for each converter."""
    path = str(path)
    return [[path if word == "+" else word for word in name.split()] + [path, out] for name in converters]


ASKED = {"bisenet": (), "fid": (), "syncnet": (), "idsim": ("irse50",)}  # the arguments of each network's shapes()


def network_shapes():
    """By converter, what each would ask JAX for with every file."""
    return {name: import_module(f"converters.{name}").shapes(*arguments) for name, arguments in ASKED.items()}


def know_shapes(found):
    """Answer with what ``network_shapes`` found, be it through JSON."""
    for name, shapes in found.items():
        own = {path: tuple(shape) for path, shape in shapes.items()}
        vars(import_module(f"converters.{name}"))["shapes"] = lambda *_, own=own: own


def sharing():
    """A tensor, and dictionaries that have what was before them a hundred times: 100⁴ paths in 5 kB."""
    made = put(0, tensor())
    for _ in range(4):
        made += b"0" + put(0, pairs((text(f"k{i}"), get(0)) for i in range(100)))
    return file(made + b"0" + named(params=get(0)))


def all_of_one_tensor(names):
    """A tensor under many names."""
    return file(put(0, tensor()) + b"0" + pairs((text(name), get(0)) for name in names))


def whisper_names():
    from converters import whisper

    own = [*whisper.PLACES.values(), *(f"layers.0.{name}" for name in whisper.LAYER_PLACES.values())]
    return [f"encoder.{name}" for name in own]


def lpips_names():
    from converters import lpips

    return [f"features.{place}.{part}" for place in lpips.PLACES["alex"] for part in ("weight", "bias")]


def wav2vec2_names():
    from converters import wav2vec2

    kernels = range(len(wav2vec2.KERNELS))
    norms = [f"{wav2vec2.CONV}.0.layer_norm.{part}" for part in ("weight", "bias")]
    return [
        *(f"{wav2vec2.CONV}.{i}.conv.weight" for i in kernels),
        *norms,
        *wav2vec2.PLACES.values(),
        *(f"encoder.layers.0.{name}" for name in wav2vec2.LAYER_PLACES.values()),
    ]


def network(names, shapes):
    """Empty tensors of these shapes, and one number for each other name."""
    made = {name: tensor(plain(shape), plain((1,) * len(shape))) for name, shape in shapes.items()}
    one = put(0, tensor(b"K\x01\x85")) + b"0"
    return file(one + pairs((text(name), made.get(name, get(0))) for name in names))


def everywhere(names, places, numbers):
    """A whole network in each of many dictionaries, every time another view of the same numbers."""
    made = b"".join(put(i, text(name)) + b"0" for i, name in enumerate(names))
    parts = [
        *(call("torch.storage", "_load_from_bytes", stored(storage(numbers))), b"ctorch._utils\n_rebuild_tensor_v2\n"),
        *(number(numbers - places) + b"\x85", b"K\x01\x85", b"}"),
    ]
    made += b"".join(put(1000 + i, part) + b"0" for i, part in enumerate(parts))

    def view(i):
        return get(1001) + b"(" + get(1000) + number(i) + get(1002) + get(1003) + b"\x89" + get(1004) + b"tR"

    def place(i):
        tensors = [put(2000, view(i)), *[get(2000)] * (len(names) - 1)]
        return text(f"n{i}"), pairs((get(k), tensor) for k, tensor in enumerate(tensors))

    return file(made + pairs(place(i) for i in range(places)))


def records_for_keys():
    """One class with a long name, many objects of it, each a key."""
    meta = named(type=text("class"), version=b"K\x06", class_name=text(LONG), state=b"}")
    made = put(0, meta + b"\x85") + b"0" + put(1, b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n") + b"0"
    return file(made + put(2, tensor()) + b"0" + pairs((get(1) + get(0) + b"R", get(2)) for _ in range(60_000)))


SPEECH = ("whisper", "wav2vec2")
# name → (the file's bytes, the converters that it is for)
FILES = {
    "dictionaries that share": (sharing, EVERY),
    "a prefix for every tensor": (
        lambda: all_of_one_tensor(f"a{i}.cp.resnet.conv1.weight" for i in range(40_000)),
        ("bisenet",),
    ),
    "a prefix for every tensor of every network": (
        lambda: all_of_one_tensor(f"a{i}.{OWN[i % len(OWN)]}" for i in range(50_000)),
        EVERY,
    ),
    "tensors behind twelve prefixes": (
        lambda: all_of_one_tensor(
            [*("a." * i + name for i in range(12) for name in OWN), *("a." * 12 + f"x{i}" for i in range(17_000))]
        ),
        EVERY,
    ),
    "names of nothing but dots": (lambda: all_of_one_tensor("." * i for i in range(2400)), WALKS),
    "a long key before every dictionary": (
        lambda: file(
            put(0, text(LONG)) + b"0" + pairs((text(f"d{i}"), pairs([(get(0), b"}")])) for i in range(60_000))
        ),
        WALKS,
    ),
    "records for keys": (records_for_keys, WALKS),
    "a network in thousands of places": (lambda: everywhere(lpips_names(), 8000, 350_000), ("lpips alex +",)),
    "an encoder in thousands of places": (lambda: everywhere(whisper_names(), 2900, 500_000), ("whisper",)),
    "encoders of many layers": (
        lambda: all_of_one_tensor(OWN[5 + i % 2].replace("layers.0", f"layers.{i // 2}") for i in range(40_000)),
        SPEECH,
    ),
    "a layer whose number has many digits": (
        lambda: all_of_one_tensor(f"encoder.layers.{'9' * digits}.fc1.weight" for digits in (1_000_000, 150)),
        SPEECH,
    ),
    "a Whisper without size": (
        lambda: network(
            whisper_names(),
            {
                "encoder.conv1.weight": (64, 0, 0),
                "encoder.layers.0.fc1.bias": (0,),
                "encoder.embed_positions.weight": (0, 0),
            },
        ),
        SPEECH,
    ),
    "a wav2vec2 without size": (
        lambda: network(
            [*wav2vec2_names(), "encoder.pos_conv_embed.conv.weight_g", "encoder.pos_conv_embed.conv.weight_v"],
            {
                "feature_extractor.conv_layers.0.conv.weight": (1, 1, 0),
                "encoder.pos_conv_embed.conv.weight_g": (1, 1, 0),
                "encoder.pos_conv_embed.conv.weight_v": (64, 64, 0),
                "encoder.layers.0.feed_forward.intermediate_dense.bias": (0,),
            },
        ),
        SPEECH,
    ),
    "a graph of many constants": (
        lambda: b"".join(constant(f"h{i}", np.zeros(1, np.float32)) for i in range(25_000)),
        ("deepspeech",),
    ),
    "a graph of many empty nodes": (
        lambda: constant("h1", np.zeros(4, np.float32)) + field(1, b"") * 1_400_000,
        ("deepspeech", "whisper"),
    ),
}
