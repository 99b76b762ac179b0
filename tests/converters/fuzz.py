"""Mutated checkpoints, and a watch over what reading them does.

    python tests/converters/fuzz.py SEED_FILE COUNT SEED     # a process of its own: no type checks, bounded memory

Every file must be read, or refused with CheckpointError; nothing may be executed, imported, written or connected to;
each file has seconds, and the process a fixed amount of memory.
"""

import codecs
import contextlib
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

# Audit events of things that a checkpoint could make a careless reader do. Opening for reading is reading.
FORBIDDEN = {"exec", "compile", "import", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen",
             "os.remove", "os.rename", "os.mkdir", "shutil.rmtree", "socket.connect", "ctypes.dlopen",
             "pickle.find_class", "os.chmod", "os.symlink"}  # fmt: skip
MEMORY = 1 << 30
OPCODES = b"NKMJGXCB(t)\x85\x86\x87]}esuacRb\x81Qqrhj0.\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x93\x94\x95"


class Watch:
    """Collects forbidden events while it is armed. An audit hook cannot be removed, so there is one per process."""

    def __init__(self):
        self.armed = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event, args):
        if self.armed and (event in FORBIDDEN or (event == "open" and _writes(args))):
            self.seen.append(f"{event} {args!r:.200}")

    def __enter__(self):
        self.armed, self.seen = True, []
        return self

    def __exit__(self, *error):
        self.armed = False


def _writes(args):
    mode, flags = args[1], args[2]
    return any(c in mode for c in "wax+") if isinstance(mode, str) else bool((flags or 0) & 3)


@contextlib.contextmanager
def limited(more: int = MEMORY):
    """So many bytes more than the process has now, for what runs inside; beyond that, MemoryError."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def peak_bytes() -> int:
    """The most memory that this program had; ``ru_maxrss`` would begin at what the process that started it had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) << 10


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to four small changes: flips, cuts, copies, inserted opcodes and lengths."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        place = rng.randrange(len(out)) if out else 0
        match rng.randrange(8):
            case 0:
                out[place : place + 1] = bytes([out[place] ^ (1 << rng.randrange(8))]) if out else b""
            case 1:
                out[place : place + 1] = bytes([rng.randrange(256)])
            case 2:
                del out[place:]
            case 3:
                del out[place : place + rng.randrange(1, 64)]
            case 4:
                out[place:place] = bytes(rng.choice(OPCODES) for _ in range(rng.randrange(1, 6)))
            case 5:
                start = rng.randrange(len(out)) if out else 0
                out[place:place] = out[start : start + rng.randrange(1, 200)]
            case 6:
                out[place : place + 4] = rng.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80"))
            case 7:
                name = rng.choice((b"cos\nsystem\n", b"cbuiltins\neval\n", b"ctorch._utils\n_rebuild_tensor_v2\n"))
                out[place:place] = name + rng.choice((b"", b"(tR", b"X\4\0\0\0exit\x85R"))
    return bytes(out)


def tensors_in(value):
    """Every tensor of a value that was read: in dictionaries, lists and modules."""
    from converters.tensors import as_tensor

    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if (tensor := as_tensor(item)) is not None:
            yield tensor
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        elif hasattr(item, "state"):
            waiting += [item.state, item.args, item.items, item.values]


def main(seed_file: str, count: int, seed: int) -> None:
    from converters import checkpoint as checkpoints
    from converters.errors import CheckpointError

    for codec in ("ascii", "latin-1", "utf-8", "raw_unicode_escape"):  # Python's own, imported when first used
        codecs.lookup(codec)
    data = Path(seed_file).read_bytes()
    rng, watch = random.Random(seed), Watch()
    outcomes = {"read": 0, "refused": 0, "tensors": 0}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder, limited():
        path = Path(folder) / "file.pkl"
        for number in range(count):
            path.write_bytes(mutate(data, rng))
            start = time.process_time()
            with watch:
                lines = 1
                try:
                    found = checkpoints.read(path)
                    if "G_ema" in str(list(found.value) if isinstance(found.value, dict) else "")[:1000]:
                        tensors = checkpoints.state(checkpoints.ema_generator(found), found.budget)
                        outcomes["tensors"] += len(checkpoints.arrays(tensors, found))
                    else:
                        outcomes["tensors"] += sum(
                            1 for tensor in tensors_in(found.value) if tensor.array() is not None
                        )
                    outcomes["read"] += 1
                except CheckpointError as error:
                    outcomes["refused"] += 1
                    lines = len(str(error).splitlines())
            slowest = max(slowest, time.process_time() - start)
            assert lines == 1, f"file {number} of seed {seed}: an error of {lines} lines"
            assert not watch.seen, f"file {number} of seed {seed}: {watch.seen}"
    peak = peak_bytes()
    print(json.dumps(outcomes | {"slowest": slowest, "peak MiB": peak >> 20}))
    assert slowest < 10
    assert peak <= MEMORY


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
