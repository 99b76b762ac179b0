"""How fast things are here: ``python -m benchmarks splats …`` (the rasterisers), ``python -m benchmarks priors …``.

``workloads`` names what is measured (tests use the same), ``harness`` measures, ``splats`` and ``priors`` tell what.
"""
