"""How long the generators take here, beside their PyTorch ports in the same process.

    python -m benchmarks.priors                                  # both generators, full size, random weights
    python -m benchmarks.priors --prior gghead --repeat 9 --json out.json
    python -m benchmarks.priors --compute bfloat16 --batch 8     # on an accelerator; without torch there is no ratio

Reported: compile time, medians of the forward pass (W+ → Gaussians) and of forward and backward to the latent, and the
peak of resident memory of each framework, measured in a process of its own. The two frameworks take turns, so that a
change of the machine's load meets both.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_talker.priors import GGHeadConfig, GSGANConfig, make_gghead, make_gsgan
from jax_talker.priors import template as templates
from jax_talker.types import Latent

PRIORS = ("gghead", "gsgan")
MODES = ("forward", "forward+backward")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", choices=PRIORS, action="append", help="default: both")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=7, help="timed runs; the median is reported")
    parser.add_argument("--compute", default="float32", help="float32, tf32 or bfloat16")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch; JAX takes all cores it may use")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory (two more processes per mode)")
    parser.add_argument("--json", help="write the results here as well")
    parser.add_argument("--only", choices=("jax", "torch"), help=argparse.SUPPRESS)  # one framework, for its memory
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(peak_memory(args)))
        return
    results = [measure(prior, args) for prior in args.prior or PRIORS]
    for result in results:
        print(table(result))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)


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


def torch_functions(prior: Any, variables: Any, threads: int) -> dict[str, Callable]:
    import torch

    from converters.torch_reference import gghead, gsgan
    from converters.torch_reference.state import to_torch

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


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    prior, variables = build(name, args.compute)
    ws = np.random.default_rng(1).standard_normal((args.batch, prior.num_ws, prior.w_dim)).astype(np.float32)
    result: dict[str, Any] = {
        "prior": name,
        "gaussians": prior.num_gaussians,
        "batch": args.batch,
        "compute": args.compute,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "threads": args.threads,
    }
    peer = None
    if jax.devices()[0].platform == "cpu":
        peer = torch_functions(prior, variables, args.threads)
    for mode in MODES:
        start = time.perf_counter()
        run = jax.jit(jax_functions(prior)[mode]).lower(variables, ws).compile()
        row = {"compile_s": time.perf_counter() - start}
        calls: dict[str, Callable] = {"jax": lambda: jax.block_until_ready(run(variables, ws))}  # noqa: B023
        if peer:
            calls["torch"] = lambda: peer[mode](ws)  # noqa: B023
        seconds = {framework: [] for framework in calls}
        for turn in range(args.repeat + 1):
            for framework, call in calls.items():
                start = time.perf_counter()
                call()
                if turn:  # the first turn warms up
                    seconds[framework].append(time.perf_counter() - start)
        row |= {f"{framework}_s": statistics.median(times) for framework, times in seconds.items()}
        if peer:
            row["ratio"] = row["jax_s"] / row["torch_s"]
            if not args.no_memory:
                for framework in calls:
                    row[f"{framework}_peak_mib"] = in_own_process(name, args, framework, mode)
        result[mode] = row
    return result


def peak_memory(args: argparse.Namespace) -> float:
    """MiB that one framework's run adds to the process that holds the weights."""
    prior, variables = build(args.prior[0], args.compute)
    ws = np.random.default_rng(1).standard_normal((args.batch, prior.num_ws, prior.w_dim)).astype(np.float32)
    if args.only == "jax":
        run = jax.jit(jax_functions(prior)[args.mode]).lower(variables, ws).compile()
        call: Callable = lambda: jax.block_until_ready(run(variables, ws))  # noqa: E731
    else:
        function = torch_functions(prior, variables, args.threads)[args.mode]
        call = lambda: function(ws)  # noqa: E731
    before = resident()
    call()
    call()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


def resident() -> float:
    """MiB of memory that this process holds now."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def in_own_process(name: str, args: argparse.Namespace, framework: str, mode: str) -> float:
    command = [sys.executable, "-m", "benchmarks.priors", "--prior", name, "--batch", str(args.batch)]
    command += ["--compute", args.compute, "--threads", str(args.threads), "--only", framework, "--mode", mode]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['prior']}, {result['gaussians']:,} Gaussians, batch {result['batch']}, {result['compute']}, "
        f"{result['device']}, JAX {result['jax']}"
    ]
    for mode in MODES:
        cells = [f"{key} {value:.3f}" if value < 100 else f"{key} {value:.0f}" for key, value in result[mode].items()]
        lines.append(f"  {mode:<18}" + "  ".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
