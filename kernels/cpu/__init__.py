"""The CPU rasteriser's compiled part: Numba functions that XLA calls through its FFI, with no Python in between."""
