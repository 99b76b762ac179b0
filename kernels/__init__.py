"""A 3D Gaussian rasteriser for JAX: one door, four implementations, one truth. See ``rasterize``, docs/kernels.md."""

from kernels.api import IMPLEMENTATIONS as IMPLEMENTATIONS
from kernels.api import Implementation as Implementation
from kernels.api import rasterize as rasterize
from kernels.capacity import default_capacity as default_capacity
from kernels.capacity import grow_capacity as grow_capacity
from kernels.constants import Constants as Constants
from kernels.dispatch import Unsupported as Unsupported
from kernels.measure import suggest_capacity as suggest_capacity
from kernels.ply import read_ply as read_ply
from kernels.ply import write_ply as write_ply
from kernels.types import Camera as Camera
from kernels.types import Gaussians as Gaussians
from kernels.types import Rendered as Rendered
