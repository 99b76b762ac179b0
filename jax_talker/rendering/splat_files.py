"""Gaussians as .ply files of 3D Gaussian Splatting (kernels/ply.py), the way up in which its viewers expect them."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jax_talker.types import Gaussians
from kernels import ply
from kernels.types import Gaussians as KernelGaussians

# Half a turn about x: our y points up; that of 3DGS's scenes, which come from photographs' cameras, points down.
HALF_TURN = np.array([1.0, -1.0, -1.0])
# Spherical harmonics after half a turn about x, in their order in 3DGS: those that are odd in (y, z) change sign.
SIGNS = np.array([1, -1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1], np.float64)


def save_splats(path: str | Path, gaussians: Gaussians, *, y_down: bool = True) -> None:
    """Write one head (no batch axis); scales as ln, opacities as logits, colours as spherical harmonics.

    ``y_down`` turns it over, as SuperSplat and others expect; without, it stays in its prior's world (y up, the face
    looks along +z). Opacities are brought within [0, 1], which priors may overshoot by 0.001.
    """
    one: dict[str, Any] = {
        name: None if x is None else np.asarray(x, np.float64) for name, x in vars(gaussians).items()
    }
    if y_down:
        one["mean"] = one["mean"] * HALF_TURN
        one["quat"] = _turned(one["quat"])
        one["sh"] = None if one["sh"] is None else one["sh"] * SIGNS[: one["sh"].shape[1], None]
    ply.write_ply(
        path,
        KernelGaussians(
            means=one["mean"],
            quats=one["quat"],
            scales=one["scale"],
            opacities=np.clip(one["opacity"], 0, 1),
            colors=one["rgb"],
            sh=one["sh"],
        ),
    )


def _turned(quat_wxyz: Float[np.ndarray, "N 4"]) -> Any:
    """(0, 1, 0, 0) times each quaternion: half a turn about x after its own rotation."""
    w, x, y, z = quat_wxyz.T
    return np.stack([-x, w, -z, y], 1)
