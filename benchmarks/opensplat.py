"""OpenSplat's C++ rasteriser for CPUs, behind the bench's door: the fastest peer that knows no GPU.

    OPENSPLAT=~/OpenSplat python -m benchmarks splats --of numba,opensplat --threads 1

Its code is AGPL and no package index has it, so nothing of it lies here: ``OPENSPLAT`` names a checkout of
github.com/pierotofy/OpenSplat, whose ``rasterizer/gsplat-cpu/gsplat_cpu.cpp`` is compiled with ``-O3 -march=native``
(PyTorch, ninja and a C++ compiler are needed). It is driven as OpenSplat drives it, projection by PyTorch's own
gradients and tiles by its two loops, with one repair: depths are handed over contiguous (it reads them as if they were,
and would sort by others). Its loops run on one thread; PyTorch's operations take as many as they may.
"""

import argparse
import functools
import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Cannot, Program, peak_memory
from benchmarks.workloads import Workload

SOURCE = "rasterizer/gsplat-cpu/gsplat_cpu.cpp"
NEAR, FAR = 0.5, 1000.0  # only order depths; nothing is clipped there
# Its forward hands over lists by pointer, which PyTorch's binding cannot: they travel as a number.
BINDING = """
using Lists = std::vector<int32_t> *;

std::vector<torch::Tensor> project(torch::Tensor means, torch::Tensor scales, torch::Tensor quats, torch::Tensor view,
                                   torch::Tensor projection, double fx, double fy, double cx, double cy, int64_t height,
                                   int64_t width) {
  auto out = project_gaussians_forward_tensor_cpu(means.size(0), means, scales, 1.0f, quats, view, projection, fx, fy,
                                                  cx, cy, height, width, 0.01f);
  return {std::get<0>(out), std::get<2>(out), std::get<3>(out), std::get<4>(out)};
}

std::tuple<torch::Tensor, torch::Tensor, int64_t> blend(int64_t width, int64_t height, torch::Tensor xys,
                                                        torch::Tensor conics, torch::Tensor colors,
                                                        torch::Tensor opacities, torch::Tensor background,
                                                        torch::Tensor cov2d, torch::Tensor depths) {
  auto out = rasterize_forward_tensor_cpu(width, height, xys, conics, colors, opacities, background, cov2d, depths);
  return {std::get<0>(out), std::get<1>(out), reinterpret_cast<int64_t>(std::get<2>(out))};
}

std::vector<torch::Tensor> pull(int64_t width, int64_t height, torch::Tensor xys, torch::Tensor conics,
                                torch::Tensor colors, torch::Tensor opacities, torch::Tensor background,
                                torch::Tensor cov2d, torch::Tensor depths, torch::Tensor light, int64_t lists,
                                torch::Tensor image, torch::Tensor alpha) {
  auto out = rasterize_backward_tensor_cpu(height, width, xys, conics, colors, opacities, background, cov2d, depths,
                                           light, reinterpret_cast<Lists>(lists), image, alpha);
  return {std::get<0>(out), std::get<1>(out), std::get<2>(out), std::get<3>(out)};
}

void release(int64_t lists) { delete[] reinterpret_cast<Lists>(lists); }
"""


@functools.cache
def built() -> Any:
    """The compiled functions of the checkout that OPENSPLAT names. Raises Cannot without one, or without a compiler."""
    folder = os.environ.get("OPENSPLAT")
    if not folder:
        raise Cannot("OPENSPLAT does not name a checkout of github.com/pierotofy/OpenSplat")
    source = Path(folder).expanduser().resolve() / SOURCE
    if not source.is_file():
        raise Cannot(f"{source} is missing: OPENSPLAT does not name a checkout of github.com/pierotofy/OpenSplat")
    try:
        from torch.utils import cpp_extension
    except ImportError as error:
        raise Cannot(f"torch is not installed ({error})") from error
    try:
        return cpp_extension.load_inline(
            "opensplat_cpu",
            cpp_sources=[f'#include "{source}"\n{BINDING}'],
            functions=["project", "blend", "pull", "release"],
            extra_cflags=["-O3", "-march=native"],
        )
    except (RuntimeError, OSError, ImportError) as error:
        raise Cannot(f"{source} cannot be compiled and loaded ({type(error).__name__}): {error}") from error


def make(workload: Workload, pull: np.ndarray, args: argparse.Namespace) -> Program:
    """Forward and forward+backward of one image of the workload."""
    if len(workload.gaussians.means) > 1:
        raise Cannot("opensplat renders one image at a time")
    if args.antialiased:
        raise Cannot("opensplat has no antialiasing")
    theirs = built()
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    size = workload.width, workload.height
    trained = [torch.tensor(np.asarray(leaf[0]), requires_grad=True) for leaf in workload.gaussians[:5]]
    view = torch.tensor(np.asarray(workload.camera[0][0, 0]))
    focal = np.asarray(workload.camera[1][0, 0], np.float64)
    onto = torch.tensor(_projection(focal, *size), dtype=torch.float32) @ view
    black, no_alpha = torch.zeros(3), torch.zeros(*size[::-1], 1)
    weights = torch.tensor(pull[0, 0])

    def projected() -> list[Any]:
        means, quats, scales = trained[:3]
        numbers = [float(focal[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2))]
        xys, conics, cov2d, depths = theirs.project(means, scales, quats, view, onto, *numbers, *size[::-1])
        return [xys, conics, cov2d, depths.detach().contiguous()]

    def given(parts: list[Any]) -> list[Any]:
        xys, conics, cov2d, depths = (part.detach() for part in parts)
        return [*size, xys, conics, trained[4].detach(), trained[3].detach()[:, None], black, cov2d, depths]

    def forward() -> Any:
        with torch.no_grad():
            image, _, lists = theirs.blend(*given(projected()))
            theirs.release(lists)
        return image

    def both() -> None:
        parts = projected()
        blended = given(parts)
        _, light, lists = theirs.blend(*blended)
        pulled = theirs.pull(*blended, light, lists, weights, no_alpha)
        theirs.release(lists)
        torch.autograd.grad(parts[:2], trained[:3], pulled[:2])  # colours' and opacities' are pulled[2:]

    def picture() -> np.ndarray:
        return forward().numpy()[None, None]

    return Program(forward, both, picture, lambda: peak_memory(both), {}, ("torch",))


def _projection(focal: np.ndarray, width: int, height: int) -> np.ndarray:
    """OpenGL's matrix for a pinhole camera that looks along +z: clip coordinates of a point of the camera."""
    onto = np.zeros((4, 4))
    onto[0, 0], onto[0, 2] = 2 * focal[0, 0] / width, 2 * focal[0, 2] / width - 1
    onto[1, 1], onto[1, 2] = 2 * focal[1, 1] / height, 2 * focal[1, 2] / height - 1
    onto[2, 2:] = (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    onto[3, 2] = 1
    return onto
