"""A 3D Gaussian rasteriser for JAX: one door, four implementations, one truth. See ``rasterize``, docs/kernels.md."""

from kernels.api import IMPLEMENTATIONS as IMPLEMENTATIONS
from kernels.api import rasterize as rasterize
from kernels.constants import Constants as Constants
from kernels.dispatch import Unsupported as Unsupported
from kernels.types import Camera as Camera
from kernels.types import Gaussians as Gaussians
from kernels.types import Rendered as Rendered
