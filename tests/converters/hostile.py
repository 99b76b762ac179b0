"""Small files made to cost memory, time or patience, and a driver that gives each to the converters.

    python tests/converters/hostile.py OUT.json [NAME …]    # a process for each file: bounded memory, bounded time

None is longer than 3 MB. They are written opcode by opcode: what a careless reader would do with them is the point.
"""

import contextlib
import io
import json
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

import hostile_weights as weights
import numpy as np
from opcodes import (
    again,
    call,
    chain,
    file,
    get,
    laughs,
    many,
    module,
    named,
    ndarray,
    number,
    overlapping,
    pairs,
    plain,
    put,
    safetensors_file,
    snapshot,
    storage,
    stored,
    tensor,
    text,
    zipped,
)

SECONDS, MEMORY = 10, 1 << 30

# -- generators' options ---------------------------------------------------------------------------------------------


def nested(flat):
    tree = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return tree


def gghead_options(**changes):
    from converters import gghead
    from jax_talker.priors.gghead import GGHeadConfig

    defaults = GGHeadConfig().to_json()
    flat = {theirs: defaults[ours] for theirs, ours in gghead.USED.items()} | {"background_color": [255, 255, 255]}
    flat["uv_attributes"] = list(flat["uv_attributes"])
    return nested(flat | changes)


def gghead_file(options):
    """A generator with options, with no tensor but the one that counts its Gaussians."""
    grid = tensor(shape=b"(K\x01K\x01K\x01K\x02t", strides=b"(K\x02K\x02K\x02K\x01t")
    options = options if isinstance(options, bytes) else plain(options)
    return snapshot(module(parameters=named(_uv_grid=grid), _config=options))


def gsgan_file(**changes):
    from converters import gsgan
    from jax_talker.priors.gsgan_config import GSGANConfig

    defaults = GSGANConfig().to_json()
    custom = "rendering_kwargs.custom_options."
    flat = {theirs: defaults[ours] for theirs, ours in gsgan.USED.items()} | {custom + k: v for k, v in changes.items()}
    sizes = {f"point_gen.out_layers.xyz.block_{4 << i}.1.weight": (1, 32) for i in range(6)}
    sizes |= {"mapping_network.fc0.weight": (1, 1), "point_gen_bg.conv_in.ffm.linear.weight": (1, 1), "_xyz_bg": (1, 1)}
    sizes["point_gen.blocks.block_4.0.resblocks.0.attn.c_proj.weight"] = (1, 1)
    tensors = [
        (text(name), tensor(plain(size), plain((size[1], 1)), data=stored(storage(32)))) for name, size in sizes.items()
    ]
    return snapshot(module(parameters=pairs(tensors), _init_kwargs=plain(nested(flat))))


# -- what is beside a file, or in its place ----------------------------------------------------------------------------


def npz(folder, **arrays):
    np.savez_compressed(folder / "io.npz", **arrays)
    return folder / "io.npz"


def long_header(folder):
    """An array of terabytes in an npz of a hundred bytes."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}"
    header += b" " * (118 - len(header) - 1) + b"\n"
    with zipfile.ZipFile(folder / "io.npz", "w") as archive:
        archive.writestr("z.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    return folder / "io.npz"


def run_folder(folder, config):
    """A GGHead run with this model_config.json."""
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / "checkpoints" / "checkpoint-1.pkl").write_bytes(gghead_file(gghead_options()))
    (folder / "run" / "model_config.json").write_text(config)
    return folder / "run"


def long_keys_in_json(key="k" * 3000, levels=300):
    return '{"generator_config": ' + f'{{"{key}": ' * levels + "1" + "}" * levels + "}"


def prior_folder(folder, config, params=b""):
    (folder / "prior").mkdir()
    (folder / "prior" / "config.json").write_text(config)
    (folder / "prior" / "params.safetensors").write_bytes(params)
    return folder / "prior"


def prior_options(**options):
    return json.dumps({"format": 1, "kind": "gghead", "dtype": "float32", "options": options})


def fifo(folder):
    os.mkfifo(folder / "pipe.pkl")
    return folder / "pipe.pkl"


def loop(folder):
    (folder / "loop.pkl").symlink_to(folder / "loop.pkl")
    return folder / "loop.pkl"


LONG = "k" * 1_000_000
ELEMENTS = many([b"K\x01"] * 400_000)
MANY_PAIRS = many([b"](NNe"] * 60_000)

# name → the file's bytes, or a function that makes what stands in its place
FILES = {
    # one list, copied again and again
    "set": lambda: again(call("builtins", "set", get(0)), 20_000, memo=put(0, ELEMENTS)),
    "python 2's set": lambda: again(call("__builtin__", "set", get(0)), 20_000, memo=put(0, ELEMENTS)),
    "frozenset": lambda: again(call("builtins", "frozenset", get(0)), 20_000, memo=put(0, ELEMENTS)),
    "deque": lambda: again(call("collections", "deque", get(0)), 20_000, memo=put(0, ELEMENTS)),
    "counter": lambda: again(
        call("collections", "Counter", get(0)),
        20_000,
        memo=put(0, pairs((number(i), b"K\x01") for i in range(100_000))),
    ),
    "ordered dictionary": lambda: again(call("collections", "OrderedDict", get(0)), 20_000, memo=put(0, MANY_PAIRS)),
    "torch.Size": lambda: again(call("torch", "Size", get(0)), 20_000, memo=put(0, ELEMENTS)),
    # the same bytes, parsed again and again
    "storage": lambda: again(
        call("torch.storage", "_load_from_bytes", get(0)), 20_000, memo=put(0, stored(storage(200_000)))
    ),
    "storage with many opcodes": lambda: again(
        call("torch.storage", "_load_from_bytes", get(0)),
        20_000,
        memo=put(0, stored(storage()[:15] + b"\x80\x02" + b"N0" * 200_000 + b"N.")),
    ),
    "latin-1": lambda: again(
        call("_codecs", "encode", get(0), text("latin1")), 20_000, memo=put(0, text("x" * 1_000_000))
    ),
    # names that grow
    "shared modules": lambda: snapshot(
        put(0, module(parameters=pairs((text(f"p{i}"), put(9, tensor()) if i == 0 else get(9)) for i in range(5000))))
        + b"0"
        + module(modules=pairs((text(f"m{i}"), get(0)) for i in range(5000)))
    ),
    "modules with long names": lambda: snapshot(
        chain(40, LONG, module(parameters=named(w=tensor())), lambda inner: module(modules=inner))
    ),
    "modules in themselves": lambda: file(
        pairs([(text("G_ema"), put(0, module()) + b"0" + module(modules=named(a=get(0), b=get(0))))])
    ),
    "wide modules": lambda: snapshot(
        put(1, module())
        + b"".join(
            b"0" + put(i + 1, module(modules=pairs((text(f"{n}"), get(i)) for n in range(2000)))) for i in range(1, 20)
        )
    ),
    "a dictionary in itself": lambda: file(
        b"}" + b"r\0\0\0\0" + b"(" + text("me") + get(0) + text("w") + tensor() + b"u"
    ),
    "a wide dictionary in itself": lambda: file(
        b"}r\0\0\0\0(" + b"".join(text(f"k{i}") + get(0) for i in range(50_000)) + text("w") + tensor() + b"u"
    ),
    "dictionaries with long names": lambda: file(chain(50, LONG, named(w=tensor()), lambda inner: inner)),
    "tensors with a long name": lambda: file(
        put(0, text(LONG))
        + b"0"
        + put(1, tensor())
        + b"0"
        + pairs((text(f"d{i}"), pairs([(get(0), get(1))])) for i in range(40_000))
    ),
    "values under many keys": lambda: file(
        put(0, text(LONG)) + b"0" + pairs((number(i), get(0)) for i in range(100_000))
    ),
    "a class with a long name": lambda: file(
        put(0, text("training." + LONG))
        + b"0"
        + put(1, text("X"))
        + b"0"
        + pairs((number(i), get(0) + get(1) + b"\x93)\x81") for i in range(60_000))
    ),
    "a persistent class with a long name": lambda: file(
        put(
            0,
            call(
                "torch_utils.persistence",
                "_reconstruct_persistent_obj",
                named(type=text("class"), version=b"K\x06", class_name=text(LONG), state=b"}"),
            ),
        )
        + b"0"
        + pairs((number(i), get(0)) for i in range(100_000))
    ),
    # options
    "options that share": lambda: gghead_file(laughs()),
    "options in themselves": lambda: gghead_file(b"}r\0\0\0\0(" + text("me") + get(0) + text("you") + get(0) + b"u"),
    "options with long names": lambda: gghead_file(chain(50, LONG, named(a=b"K\x01"), lambda inner: inner)),
    "an option of many long texts": lambda: gghead_file(
        put(0, text(LONG)) + b"0" + named(unknown=many([get(0)] * 100_000))
    ),
    "attributes of many long texts": lambda: gghead_file(
        put(0, text("K" * 1_000_000))
        + b"0"
        + plain(gghead_options())[:-1]
        + text("uv_attributes")
        + many([get(0)] * 20_000)
        + b"u"
    ),
    "a long path": lambda: gghead_file(
        put(0, text(LONG)) + b"0" + named(a=many([call("pathlib", "PosixPath", *[get(0)] * 50)] * 2000))
    ),
    "a generator of a billion layers": lambda: gghead_file(
        gghead_options(**{"mapping_network_config.num_layers": 10**9})
    ),
    "a plane of 2⁴⁰ pixels": lambda: gghead_file(gghead_options(plane_resolution=1 << 40)),
    "a latent of 2¹⁰⁰ numbers": lambda: gghead_file(gghead_options(z_dim=1 << 100)),
    "a background that is no colour": lambda: gghead_file(gghead_options(background_color=["red", None, {}])),
    "a background that is text": lambda: gghead_file(gghead_options(background_color="white")),
    "an infinite option": lambda: gghead_file(gghead_options(max_scale=float("inf"))),
    "no features": lambda: gghead_file(gghead_options(**{"synthesis_network_config.channel_max": -3})),
    "a billion children": lambda: gsgan_file(up_ratio=10**9),
    "a large scale": lambda: gsgan_file(scale_end=1e300),
    "an array among the options": lambda: gghead_file(
        named(a=put(5, ndarray(b"J\xa0\x86\x01\0\x85", data=bytes(400_000))), b=many([get(5)] * 100_000))
    ),
    # sizes
    "an empty tensor of 2¹⁰⁰ rows": lambda: file(
        named(w=tensor(b"K\0" + number(1 << 100) + b"\x86", b"K\x01K\x01\x86"))
    ),
    "an empty tensor of 2⁶² rows": lambda: snapshot(
        module(parameters=named(w=tensor(b"K\0" + number(1 << 62) + b"\x86", b"K\x01K\x01\x86")))
    ),
    "a tensor of 2¹⁰⁰ numbers": lambda: file(named(w=tensor(number(1 << 100) + b"\x85"))),
    "a step of 2⁵⁰⁰": lambda: snapshot(
        module(parameters=named(w=tensor(b"K\x01K\x02\x86", number(1 << 500) + b"K\x01\x86")))
    ),
    "a tensor of many axes": lambda: file(
        named(w=tensor(b"(" + b"K\x01" * 300_000 + b"t", b"(" + b"K\x01" * 300_000 + b"t"))
    ),
    "an array of many axes": lambda: file(named(w=ndarray(b"(" + number(1 << 400) * 20_000 + b"t"))),
    "an array of 2⁶² rows": lambda: file(named(w=ndarray(b"K\0" + number(1 << 62) + b"\x86"))),
    "an array of objects": lambda: file(named(w=ndarray(b"K\x01\x85", "O8", b"\0" * 8))),
    # opcodes
    "lists in lists": lambda: file(b"]" * 300_000 + b"a" * 299_999),
    "tuples in tuples": lambda: file(b"N" + b"\x85" * 600_000),
    "dictionaries in dictionaries": lambda: file((b"}" + b"K\x01") * 200_000 + b"}" + b"s" * 200_000),
    "many sets": lambda: file(b"]" + b"(" + b"\x8f" * 2_900_000 + b"e"),
    "many records": lambda: file(put(0, b"cnumpy\nndarray\n") + b"0](" + (b"h\0)R") * 700_000 + b"e"),
    "many floats": lambda: file(b"](" + b"G\0\0\0\0\0\0\0\0" * 320_000 + b"e"),
    "much to remember": lambda: file(b"N" + b"\x94" * 2_900_000),
    "memory far away": lambda: file(b"N" + b"".join(b"r" + struct.pack("<I", 0xFFFFFFFF - i) for i in range(500_000))),
    "a text of 4 GB": lambda: file(b"X\xff\xff\xff\xff"),
    "a storage of 2⁶² numbers": lambda: file(
        named(w=tensor(data=stored(storage().replace(number(2), number(1 << 62)))))
    ),
    # protocol 0
    "an integer of a million digits": lambda: b"(lp0\nI" + b"9" * 1_000_000 + b"\na.",
    "a long integer of a million digits": lambda: b"(lp0\nL" + b"9" * 1_000_000 + b"L\na.",
    "a text without an end": lambda: b"(dp0\nS'" + b"a" * 2_000_000 + b".",
    "a program of protocol 0": lambda: b"cos\nsystem\n(S'echo executed'\ntR.",
    # containers
    "a zip of many parts": lambda: zipped([("a/data.pkl", file(b"N")), *((f"a/data/{i}", b"") for i in range(25_000))]),
    "a zip bomb": lambda: zipped([("a/data.pkl", bytes(1 << 30))], zipfile.ZIP_DEFLATED),
    "a zip that overlaps": overlapping,
    "a zip with a hostile pickle": lambda: zipped(
        [("a/data.pkl", again(call("builtins", "set", get(0)), 20_000, memo=put(0, ELEMENTS)))]
    ),
    "a safetensors header of 2⁶³ bytes": lambda: struct.pack("<Q", 1 << 63) + b"{}",
    "safetensors of many tensors": lambda: safetensors_file(
        {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(40_000)}
    ),
    "safetensors of 2⁶² rows": lambda: safetensors_file(
        {"t": {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]}}
    ),
    "safetensors in lists": lambda: safetensors_file(b'{"t":' + b"[" * 1_000_000),
    # no files
    "a pipe": fifo,
    "a device": lambda folder: Path("/dev/zero"),
    "a link to itself": loop,
    "a folder": lambda folder: folder,
    "three megabytes of zeros": lambda: bytes(3_000_000),
    # beside the checkpoint
    "a run with long names": lambda folder: run_folder(folder, long_keys_in_json()),
    "a run with a deep text": lambda folder: run_folder(folder, '{"generator_config": ' + '{"a":' * 100_000),
    "a run with a number of 4000 digits": lambda folder: run_folder(
        folder, json.dumps({"generator_config": gghead_options(max_scale=10**4000)})
    ),
    "a run with a long config": lambda folder: run_folder(folder, '{"generator_config": {}}' + " " * 3_000_000),
    # for verify
    "golden data that are a pipe": fifo,
    "golden data that unpack to gigabytes": lambda folder: npz(folder, z=np.zeros((1 << 28, 1), np.float32)),
    "golden data with a long header": long_header,
    "a prior of a billion layers": lambda folder: prior_folder(folder, prior_options(mapping_layers=10**9)),
    "a prior with a deep config": lambda folder: prior_folder(folder, "[" * 1_000_000),
    "a prior whose numbers are no numbers": lambda folder: prior_folder(
        folder, prior_options(plane_resolution=8, num_gaussians=1), b"\xff" * 1000
    ),
    **{name: make for name, (make, _) in weights.FILES.items()},
}


# Files that nothing refuses before the converters of weights walk through them.
WALKED = {
    *("a dictionary in itself", "a wide dictionary in itself", "dictionaries with long names", "wide modules"),
    *("modules in themselves", "shared modules", "modules with long names", "tensors with a long name"),
    *("values under many keys", "a persistent class with a long name", "an array of objects"),
    "an empty tensor of 2¹⁰⁰ rows",
}
NO_FILES = {"a pipe", "a device", "a link to itself", "a folder"}


def commands(name, path, folder):
    """What a user might do with it."""
    out = str(folder / "out")
    if name.startswith("golden"):
        from jax_talker.priors.store import ASSETS

        return [["verify", str(next(ASSETS.iterdir())), "--golden", str(path)]]
    if name.startswith("a prior"):
        np.savez(folder / "io.npz", z=np.zeros((1, 512), np.float32))
        return [["verify", str(path), "--golden", str(folder / "io.npz")]]
    if name.startswith("a run"):
        return [["gghead", str(path), out]]
    if name in weights.FILES:
        return [["inspect", str(path)], *weights.commands(weights.FILES[name][1], path, out)]
    generator = "gsgan" if name in ("a billion children", "a large scale") else "gghead"
    converters = weights.EVERY if name in NO_FILES else weights.WALKS if name in WALKED else ("bisenet",)
    return [["inspect", str(path)], [generator, str(path), out], *weights.commands(converters, path, out)]


def attempt(command):
    """(exit code, what it said) of one command in this process."""
    from converters.__main__ import main

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(command)
    return code, said.getvalue()


def child(name, folder, report):
    """One file, in a process of its own, which the clock on the wall ends: what waits uses no processor time."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    make = FILES[name]
    path = make(folder) if make.__code__.co_argcount else folder / "file.pkl"
    if not make.__code__.co_argcount:
        path.write_bytes(make())
    size = path.stat().st_size if path.is_file() else 0
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    found = []
    for command in commands(name, path, folder):
        # Addresses, not memory, are what can be limited: the threads of JAX, which verify starts, reserve gigabytes of
        # them. What was really used is measured.
        limit = used + (8 if command[0] == "verify" else 1) * MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        signal.setitimer(signal.ITIMER_PROF, SECONDS + 5)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        start = time.perf_counter()
        cpu = time.process_time()
        code, said = attempt(command)
        found.append(
            {
                "command": command[0],
                "code": code,
                "said": said[:2000],
                "seconds": time.perf_counter() - start,
                "processor": time.process_time() - cpu,
            }
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    report.write_text(json.dumps({"size": size, "peak": peak, "left": (folder / "out").exists(), "runs": found}))


def alone(work):
    """The exit code of a process that does this, or minus the signal that ended it."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main(out, names):
    import jax_talker.priors.store  # once, for all children  # noqa: F401
    from converters import deepspeech, gghead, gsgan, lpips, verify, wav2vec2, whisper  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: JAX starts threads, and a process that has some must not be forked.
        shapes = Path(folder) / "shapes.json"
        assert alone(lambda: shapes.write_text(json.dumps(weights.network_shapes()))) == 0
        weights.know_shapes(json.loads(shapes.read_text()))
    results = {}
    for name in names or FILES:
        with tempfile.TemporaryDirectory() as folder:
            work, report = Path(folder) / "work", Path(folder) / "report.json"
            work.mkdir()
            code = alone(lambda name=name, work=work, report=report: child(name, work, report))
            results[name] = json.loads(report.read_text()) if report.is_file() else {"died": code}
    Path(out).write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
