"""What every pretrained Gaussian GAN looks like to the rest of the house."""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float, Key

from jax_talker.types import Camera, Gaussians, Latent

Variables = Mapping[str, Any]
"""Linen variables: ``params`` (what tuning may change) and ``buffers`` (fixed arrays: w_avg, noise, UV points, …)."""


def leaves(variables: Variables) -> dict[str, Any]:
    """Every variable by its path, "params/mapping/fc0/kernel"."""
    return dict(flatten_dict(dict(variables), sep="/"))


@runtime_checkable
class Prior(Protocol):
    """A generator of 3D Gaussian heads: latent → Gaussians. Immutable and hashable; its arrays travel beside it.

    All methods are pure and may be traced; shapes come from the configuration alone.
    """

    kind: ClassVar[str]  # its name in config.json

    @property
    def config(self) -> Any:
        """A frozen dataclass with every option; ``to_json`` and ``from_json`` are inverse."""
        ...

    @property
    def num_ws(self) -> int:
        """L, style vectors of a W+ latent."""
        ...

    @property
    def w_dim(self) -> int:
        """D, width of one style vector."""
        ...

    @property
    def z_dim(self) -> int: ...

    @property
    def num_gaussians(self) -> int: ...

    @property
    def background(self) -> tuple[float, float, float]:
        """sRGB colour that the generator was trained to be composited on."""
        ...

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The name of the layer that each of the L rows of W+ feeds first."""
        ...

    def init(self, key: Key[Array, ""]) -> Variables:
        """Fresh variables, as before training."""
        ...

    def shapes(self) -> Variables:
        """Shape and dtype of every variable, from the configuration alone."""
        ...

    def mapping(
        self,
        variables: Variables,
        z: Float[Array, "B Z"],
        label: Float[Array, "B 25"],
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Latent:
        """z and the conditioning EG3D label → W+."""
        ...

    def mean_latent(self, variables: Variables) -> Float[Array, "L D"]:
        """The centre of the latent space (w_avg, repeated)."""
        ...

    def gaussians(self, variables: Variables, latent: Latent) -> Gaussians:
        """W+ → activated Gaussians with ``rgb``: colours seen from the prior's frozen frontal direction.

        A talking head keeps its colours while the camera moves; this is the field's remedy for flicker.
        """
        ...

    def gaussians_for_view(self, variables: Variables, latent: Latent, label: Float[Array, "B 25"]) -> Gaussians:
        """The same with the view dependence the generator was trained with (``sh``, or ``rgb`` for this label)."""
        ...

    def camera(self, label: Float[Array, "B 25"], size: int) -> Camera:
        """The camera that the prior was trained with for an EG3D label, its quirks included."""
        ...


@functools.partial(jax.jit, static_argnums=0)
def draw(prior: Prior, variables: Variables, latent: Latent) -> Gaussians:
    """``prior.gaussians``, compiled: one program for all who draw as many latents, for generators compile slowly."""
    return prior.gaussians(variables, latent)
