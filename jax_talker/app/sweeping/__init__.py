"""Sweeps: the same training with many configurations or for many people, and one report (docs/sweeps.md)."""
