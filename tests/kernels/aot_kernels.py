"""The Pallas kernels through XLA's own GPU compiler, without a GPU: registers, spills, branches. A program, not a test.

    python3.12 -m venv v && v/bin/pip install jax==0.11.2 numba jaxtyping
    v/bin/pip install --no-deps --target plug jax-cuda13-plugin==0.11.2 jax-cuda13-pjrt==0.11.2  # no CUDA libraries
    PYTHONPATH=.:plug v/bin/python tests/kernels/aot_kernels.py      # ptxas (13.0) must be on the PATH

XLA writes each kernel's PTX and calls ptxas; a wrapper keeps what that says. Prints a line of JSON for each kernel and
one for each whole program. ``test_aot.py`` judges them.
"""

import json
import os
import re
import shutil
import stat
import tempfile
import warnings
from pathlib import Path

TARGET = """gpu_device_info { threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
 shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3352320000000
 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84942979072 shared_memory_per_block_optin: 232448
 cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
 registers_per_core_limit: 65536 registers_per_block_limit: 65536 name: "NVIDIA H100 80GB HBM3" }
platform_name: "CUDA" dnn_version_info { major: 9 minor: 12 } runtime_version { major: 13 }
device_description_str: "NVIDIA H100 80GB HBM3" """
WRAPPER = """#!/bin/bash
[ "$1" = "--version" ] && exec {ptxas} "$@"
id={log}/$(date +%s%N)_$$
cp "$1" $id.ptx; {ptxas} -v "$@" 2> $id.log; rc=$?; cat $id.log >&2; exit $rc
"""

LOG = Path(tempfile.mkdtemp())
_tools = LOG / "cuda"
(_tools / "bin").mkdir(parents=True)
_ptxas = _tools / "bin" / "ptxas"
_ptxas.write_text(WRAPPER.format(ptxas=shutil.which("ptxas"), log=LOG))
_ptxas.chmod(_ptxas.stat().st_mode | stat.S_IEXEC)
os.environ |= {
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",  # or the plugin looks for cuDNN
    "CUDA_VISIBLE_DEVICES": "-1",
    "XLA_FLAGS": "--xla_gpu_enable_libnvptxcompiler=false --xla_gpu_enable_libnvjitlink=false "
    f"--xla_gpu_cuda_data_dir={_tools}",
}
warnings.filterwarnings("ignore", message="The Pallas Triton backend is deprecated")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.experimental import topologies  # noqa: E402

from kernels import Camera, Gaussians, rasterize  # noqa: E402


def compile_for_h100(function, *shapes):
    """``function`` of arrays of these shapes, lowered and compiled for a card that is not here."""
    topology = topologies.get_topology_desc(platform="cuda", target_config=TARGET, topology="1x1x1")
    mesh = topologies.make_mesh(topology, (1,), ("x",))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    given = [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=everywhere) for shape in shapes]
    # Pallas asks which GPU the program is for.
    h100 = jax.sharding.AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), axis_types=(), abstract_device=h100)):
        lowered = jax.jit(function).lower(*given)
    return lowered.compile()


def kernels_compiled():
    """What ptxas said of each kernel since the last look."""
    for path in sorted(LOG.glob("*.log")):
        said = re.search(
            r"entry function '(splat\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
            r".*?Used (\d+) registers",
            path.read_text(),
            re.DOTALL,
        )
        if said:
            stack, stores, loads, registers = map(int, said.groups()[1:])
            ptx = path.with_suffix(".ptx").read_text()
            warps = int(re.search(r"\.(?:reqntid|maxntid) (\d+)", ptx)[1]) // 32
            held = 16384 // (-(-registers * 32 // 256) * 256) * 4 // warps * warps
            row = {"kernel": said[1], "warps": warps, "registers": registers, "stack": stack, "spills": stores + loads}
            yield row | {"warps_an_SM": min(held, 64, 32 * warps), "fma": len(re.findall(r"\bfma\.rn", ptx))}
        path.rename(path.with_suffix(".seen"))


def main():
    for size, images, extra in ((512, 1, 0), (1024, 1, 6), (256, 4, 0)):
        count = 100_000

        def loss(means, quats, scales, opacities, colors, poses, intrinsics, channels, size=size):
            gaussians = Gaussians(means, quats, scales, opacities, colors)
            out = rasterize(
                gaussians,
                Camera(poses, intrinsics),
                width=size,
                height=size,
                extra=channels,
                capacity=1 << 20,
                implementation="pallas_triton",
            )
            return out.image.sum() + out.extra.sum(), out.overflow

        inner = ((count, 3), (count, 4), (count, 3), (count,), (count, 3), (1, 4, 4), (1, 3, 3), (count, extra))
        compiled = compile_for_h100(jax.grad(loss, (0, 1, 2, 3, 4), has_aux=True), *((images, *one) for one in inner))
        case = {"size": size, "images": images, "extra": extra}
        for row in kernels_compiled():
            print(json.dumps(case | row), flush=True)
        text = compiled.as_text()
        sorts = re.findall(r'custom_call_target="(__cub\$\w+)"', text)
        memory = compiled.memory_analysis()
        whole = {"conditionals": len(re.findall(r"\bconditional\(", text)), "cub_sorts": len(sorts)}
        whole |= {"other_sorts": len(re.findall(r" sort\(", text)), "temp_mb": memory.temp_size_in_bytes >> 20}
        print(json.dumps(case | whole), flush=True)


if __name__ == "__main__":
    main()
