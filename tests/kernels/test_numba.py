"""How XLA calls the Numba code: transformations, threads, devices, and where machine code is kept."""

import operator
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import numba_cpu, rasterize
from kernels.cpu import handlers
from kernels.dispatch import platform
from tests.kernels.scenes import look, random_gaussians

pytestmark = pytest.mark.skipif(platform() != "cpu", reason=f"numba runs on the CPU, found {platform()!r}")


def loss(gaussians, camera):
    return (rasterize(gaussians, camera, width=40, height=32, implementation="numba").image ** 2).sum()


def test_vmap_and_scan_are_the_loop():
    """Also with two levels of vmap, and with an operand that is not mapped; gradients as well, bit for bit."""
    gaussians, camera = random_gaussians(jax.random.key(0), (3,), count=70), look(2, (3,))
    value_and_gradient = jax.value_and_grad(loss, (0, 1))
    each = [value_and_gradient(*jax.tree.map(operator.itemgetter(i), (gaussians, camera))) for i in range(3)]
    want = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    vmapped = jax.jit(jax.vmap(value_and_gradient))(gaussians, camera)
    scanned = jax.jit(lambda *given: jax.lax.scan(lambda _, one: (None, value_and_gradient(*one)), None, given)[1])(
        gaussians, camera
    )
    for got in (vmapped, scanned):
        jax.tree.map(np.testing.assert_array_equal, got[1], want[1])
    first = jax.tree.map(lambda leaf: leaf[0], camera)
    shared = jax.vmap(value_and_gradient, (0, None))(gaussians, first)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0]), shared[1], want[1])
    doubled = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), (gaussians, camera))
    twice = jax.vmap(jax.vmap(value_and_gradient))(*doubled)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1], b), twice[1], want[1])


PROGRAM = """
import hashlib, sys, threading
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from kernels import rasterize
from tests.kernels.scenes import look, random_gaussians

gaussians, camera = random_gaussians(jax.random.key(0), (4,), count=3000), look(2, (4,), width=100, height=90)

def loss(gaussians, camera):
    return (rasterize(gaussians, camera, width=100, height=90, implementation="numba").image ** 2).sum()

gradient = jax.jit(jax.grad(loss, (0, 1)))
want = gradient(gaussians, camera)
if len(jax.devices()) > 1:
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    split = jax.device_put((gaussians, camera), NamedSharding(mesh, P("data")))
    jax.tree.map(np.testing.assert_array_equal, gradient(*split), want)
    mapped = jax.jit(jax.shard_map(jax.grad(loss, (0, 1)), mesh=mesh, in_specs=P("data"), out_specs=P("data")))
    jax.tree.map(np.testing.assert_array_equal, mapped(*split), want)
    # One Gaussian scene on all devices: its gradient is summed over them.
    def shared_loss(gaussians, camera):
        each = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(camera.intrinsics)), gaussians)
        return loss(each, camera)
    alone = jax.tree.map(lambda leaf: leaf[0], gaussians)
    mapped = jax.jit(jax.shard_map(jax.grad(shared_loss), mesh=mesh, in_specs=(P(), P("data")), out_specs=P()))
    for a, b in zip(mapped(alone, split[1])[:5], jax.grad(shared_loss)(alone, camera)[:5]):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())
wrong = []
def work():
    for _ in range(5):
        got = gradient(gaussians, camera)
        if not all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want))):
            wrong.append(1)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not wrong
print("digest", hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(want))).hexdigest())
"""


def test_same_bits_for_any_threads_and_devices():
    """One thread, many threads, two devices under jit and shard_map, four Python threads at once: no deadlock, and the
    same gradient bit for bit."""
    one = python(PROGRAM, NPROC="1", XLA_FLAGS="")  # neither with the flags of whoever runs the tests
    many = python(PROGRAM, NPROC="7", XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert "digest" in one
    assert one == many


def test_machine_code_is_kept_where_it_can_be(monkeypatch, tmp_path):
    """NUMBA_CACHE_DIR first, then the package, then the user's cache; with nowhere to write it compiles every time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert numba_cpu._cache_folder(str(tmp_path / "own")).parent == tmp_path / "own"
    assert numba_cpu._cache_folder("").parent == Path(numba_cpu.__file__).parent / "__pycache__"
    package = Path(numba_cpu.__file__).parent
    touch = Path.touch

    def read_only(self, *args, **kwargs):
        if package in self.parents:
            raise PermissionError(self)
        touch(self, *args, **kwargs)

    monkeypatch.setattr(Path, "touch", read_only)
    assert numba_cpu._cache_folder("").parent == tmp_path / "xdg" / "kernels"

    def nowhere(self, *args, **kwargs):
        raise PermissionError(self)

    monkeypatch.setattr(Path, "touch", nowhere)
    assert numba_cpu._cache_folder("") is None
    for name in ("HOME", "XDG_CACHE_HOME"):  # a container's user without a name
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert numba_cpu._cache_folder("") is None


def test_a_user_without_a_home_needs_none(monkeypatch, tmp_path):
    """As one of a container who is in no /etc/passwd: Python says RuntimeError."""

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert numba_cpu._cache_folder(str(tmp_path)).parent == tmp_path
    assert numba_cpu._cache_folder("").parent == Path(numba_cpu.__file__).parent / "__pycache__"

    def read_only(self, *args, **kwargs):
        raise PermissionError(self)

    monkeypatch.setattr(Path, "touch", read_only)
    assert numba_cpu._cache_folder("") is None


def test_two_processes_meet(monkeypatch, tmp_path):
    """The second one begins at the other end and stops where the first has been; on one processor there is none."""
    done = []

    def compiled(function, *, cache):
        done.append(function)
        return SimpleNamespace(cache_hits=len(done) > 3)

    monkeypatch.setattr(handlers, "compile_entry_point", compiled)
    handlers.compile_from_the_end()
    assert tuple(done) == handlers.BY_COST[:-5:-1]
    begun = []
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **options: begun.append(given) or SimpleNamespace(**ENDED))
    for processors, cached in ((1, False), (2, False), (2, True)):
        monkeypatch.setattr(numba_cpu, "_processors", lambda count=processors: count)
        if cached:
            (tmp_path / "tiles_back.composite_back-1.py311.nbi").touch()
        with numba_cpu._compiled_beside(tmp_path, "composite_back"):
            pass
        assert len(begun) == (processors == 2)


ENDED = {"kill": lambda: None, "wait": lambda: 0}


COMPILE = """
import time
from numba.core import event
from kernels.cpu import handlers

class Compiled(event.Listener):
    def on_start(self, happened):
        literal.extend(kind for kind in happened.data["args"] if "iteral" in str(kind))

    def on_end(self, happened):
        pass

literal = []
start = time.process_time()
with event.install_listener("numba:compile", Compiled()):
    handlers.compile_all(cache=False)
print(time.process_time() - start, len(literal))
"""


@pytest.mark.slow
def test_compiling_is_quick():
    """All of it, in one process with nothing cached: 10 s of a processor where it took 24 s with NumPy's arrays, and
    no function for a single number (a constant of Python's as an argument)."""
    seconds, literal = python(COMPILE).split()
    assert literal == "0"
    assert float(seconds) < 16


@pytest.mark.slow
def test_what_was_compiled_is_loaded(tmp_path):
    """After two processes have compiled, everything is in the cache, and nothing is compiled again."""
    program = "import tests.kernels.test_numba as t; t.loss(*t.small()).block_until_ready(); print('done')"
    for turn in range(2):
        assert python(program, NUMBA_CACHE_DIR=str(tmp_path)) == "done\n"
        files = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb[ic]")}
        indices = sorted(name.split(".")[1].split("-")[0] for name in files if name.endswith(".nbi"))
        assert indices == sorted(function.py_func.__name__ for function in handlers.BY_COST)
        if turn == 0:
            first = files
    assert files == first


def python(program, **environment):
    root = Path(__file__).resolve().parents[2]
    env = os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"} | environment
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=root, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def small():
    return random_gaussians(jax.random.key(0), count=5), look()
