"""How long the generators take here, beside their PyTorch ports in the same process with equal threads.

    python -m benchmarks priors --of jax,torch --threads 2            # both generators, full size, random weights
    python -m benchmarks priors --workload gghead --of jax --compute bfloat16 --batch 8      # on an accelerator

Forward is W+ → Gaussians; forward+backward the gradient of their sum to the latent.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness
from benchmarks.harness import Cannot, Program
from jax_talker.priors import GGHeadConfig, GSGANConfig, make_gghead, make_gsgan
from jax_talker.priors import template as templates
from jax_talker.types import Latent

PRIORS = ("gghead", "gsgan")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks priors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="+", choices=PRIORS, default=list(PRIORS))
    parser.add_argument("--compute", default="float32", help="float32, tf32 or bfloat16")
    contenders: dict[str, harness.Make] = {"jax": _jax, "torch": _torch}
    harness.common_options(parser, contenders)
    args = parser.parse_args(argv)
    args.same = ["--compute", args.compute]
    return harness.run("priors", args.workload, contenders, args)


def build(name: str, compute: str) -> tuple[Any, Any]:
    """A full-size generator with random weights; nothing that training starts at zero stays zero."""
    if name == "gghead":
        mesh = templates.ellipsoid()
        template = templates.bake(mesh, plane_resolution=256, uv_samples=512, register=False)
        prior: Any = make_gghead(GGHeadConfig.for_template(template), compute=compute)
        variables = prior.init(jax.random.key(0), template)
    else:
        prior = make_gsgan(GSGANConfig(), compute=compute)
        variables = prior.init(jax.random.key(0))
    rng = np.random.default_rng(0)

    def perturb(x):
        return x + 0.1 * rng.standard_normal(x.shape).astype(np.float32) if x.size and not np.any(x) else x

    return prior, {"params": jax.tree.map(perturb, variables["params"]), "buffers": variables["buffers"]}


def jax_functions(prior: Any) -> dict[str, Callable]:
    def gaussians(variables, ws):
        return prior.gaussians(variables, Latent(w=ws))

    def loss(ws, variables):
        return sum(jnp.sum(x) for x in jax.tree.leaves(gaussians(variables, ws)))

    return {"forward": gaussians, "forward+backward": lambda variables, ws: jax.grad(loss)(ws, variables)}


def torch_functions(prior: Any, variables: Any, threads: int | None) -> dict[str, Callable]:
    import torch

    from converters.torch_reference import gghead, gsgan
    from converters.torch_reference.state import to_torch

    if threads:
        torch.set_num_threads(threads)
    state = to_torch(prior, variables)

    def values(ws):
        if prior.kind == "gghead":
            return list(gghead.gaussians(state, prior.config, gghead.planes(state, prior.config, ws)).values())
        direction = torch.tensor([[0.0, 0, -1]]).repeat(len(ws), 1)
        foreground, _, background = gsgan.parts(state, prior.config, ws, direction)
        return [torch.cat([foreground[name], background[name]], 1) for name in foreground]

    def forward(ws):
        with torch.no_grad():
            return values(torch.tensor(ws))

    def backward(ws):
        latent = torch.tensor(ws, requires_grad=True)
        return torch.autograd.grad(sum(x.sum() for x in values(latent)), latent)

    return {"forward": forward, "forward+backward": backward}


def _latents(prior: Any, batch: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((batch, prior.num_ws, prior.w_dim)).astype(np.float32)


_built = functools.lru_cache(maxsize=1)(build)  # both contenders of a workload have the same weights


def _notes(prior: Any, args: argparse.Namespace) -> dict[str, Any]:
    return {"gaussians": prior.num_gaussians, "compute": args.compute}


def _jax(workload: str, batch: int, args: argparse.Namespace) -> Program:
    prior, variables = _built(workload, args.compute)
    ws = _latents(prior, batch)
    forward, both = (jax.jit(function) for function in jax_functions(prior).values())

    def run(function: Callable) -> None:
        jax.block_until_ready(function(variables, ws))

    peak = functools.partial(harness.peak_memory, lambda: run(both))
    packages = ("jax", "jaxlib", "numpy")
    return Program(lambda: run(forward), lambda: run(both), None, peak, _notes(prior, args), packages)


def _torch(workload: str, batch: int, args: argparse.Namespace) -> Program:
    if jax.default_backend() != "cpu":
        raise Cannot("the PyTorch ports run on a CPU")
    prior, variables = _built(workload, args.compute)
    ws = _latents(prior, batch)
    try:
        forward, both = torch_functions(prior, variables, args.threads).values()
    except ImportError as error:
        raise Cannot(f"torch is not installed ({error})") from error
    peak = functools.partial(harness.peak_memory, lambda: both(ws))
    return Program(lambda: forward(ws), lambda: both(ws), None, peak, _notes(prior, args), ("torch", "numpy"))
