"""The generators' 3 × 3 convolutions on a CPU: Winograd's against XLA's, layer by layer, in turns.

    python -m benchmarks convolutions --of direct,winograd --threads 2 --no-memory

Workloads are PIXELSxCHANNELS, of images and of both sides of the kernel; default: a full-size GGHead's from 32² on.
Forward is the convolution, forward+backward that and the gradient to its image. ``winograd.pays`` follows from this.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness
from benchmarks.harness import Cannot, Program
from jax_talker.priors import conv, winograd

LAYERS = ("32x512", "64x512", "128x256", "256x128")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks convolutions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workload", nargs="+", default=list(LAYERS), help="PIXELSxCHANNELS")
    contenders: dict[str, harness.Make] = {
        "direct": lambda *given: _program(functools.partial(conv.conv, padding=((1, 1), (1, 1))), *given),
        "winograd": lambda *given: _program(winograd.conv3x3, *given),
    }
    harness.common_options(parser, contenders)
    args = parser.parse_args(argv)
    args.same = []
    return harness.run("convolutions", args.workload, contenders, args)


def _program(convolve, workload: str, batch: int, args: argparse.Namespace) -> Program:
    try:
        size, channels = map(int, workload.split("x"))
    except ValueError:
        raise ValueError(f"{workload!r} is no workload, 64x512 is one: pixels x channels") from None
    if size % winograd.TILE:
        raise Cannot(f"pixels must be a multiple of {winograd.TILE}")
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((batch, size, size, channels)), jnp.float32)
    weight = jnp.asarray(rng.standard_normal((3, 3, channels, channels)) / (3 * channels**0.5), jnp.float32)
    pull = jnp.asarray(rng.standard_normal(x.shape), jnp.float32)
    forward = jax.jit(convolve)

    @jax.jit
    def both(x, weight, pull):  # all as arguments: XLA would work out in advance what follows from constants
        out, back = jax.vjp(lambda x: convolve(x, weight), x)
        return out, back(pull)

    def run_both() -> None:
        jax.block_until_ready(both(x, weight, pull))

    notes = {"pays": winograd.pays(x.shape, channels)}
    peak = functools.partial(harness.peak_memory, run_both)
    return Program(
        lambda: jax.block_until_ready(forward(x, weight)),
        run_both,
        lambda: np.asarray(forward(x, weight)),
        peak,
        notes,
        ("jax", "jaxlib", "numpy"),
    )
