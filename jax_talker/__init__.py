"""jax_talker: audio-driven 3D Gaussian talking heads (DGTalker, ICCV 2025) in JAX.

The doors for users are the programs (``python -m jax_talker.prepare | personalize | train | render``); the doors for
code are ``jax_talker.types``, ``jax_talker.geometry``, ``jax_talker.priors``, ``jax_talker.rendering`` and
``kernels.rasterize``. docs/architecture.md says which room may import which.
"""

__version__ = "0.1.0"
