"""The options of a morphable head and what follows from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax_talker.priors.options as options
from jax_talker.errors import UserError

# Rows of W+ before the network's, and the parts of a style vector
ROWS = ("shape", "units", "skin", "hair", "shade", "light")
HARMONICS = 9  # numbers of light a colour
RANGES = {
    **dict.fromkeys(ROWS, (1, 1 << 12)),
    **dict.fromkeys(("vertices", "on_head", "on_shell", "backing", "people", "channel_base"), (1, 1 << 24)),
    "channel_max": (1, 1 << 16),
    "plane_resolution": (8, 1 << 13),
}


@dataclass(frozen=True)
class MorphableConfig:
    """Every option of the generator. ``shape`` … ``light`` are the numbers of coordinates."""

    vertices: int = 5_429  # U: of the head's mesh, between which its points lie
    on_head: int = 30_299  # K: points on the head's surface; the others lie on the hair's shell
    on_shell: int = 5_024
    backing: int = 5_000  # points of the head that have a second, wider Gaussian behind them, which closes gaps
    people: int = 240  # whose mixtures random latents are
    shape: int = 64
    units: int = 52
    skin: int = 48
    hair: int = 40
    shade: int = 20  # how much of the light reaches each point: other hair and other shapes shade elsewhere
    light: int = 27
    network: bool = True  # False: the bases alone
    plane_resolution: int = 64  # of the network's planes, a power of two
    channel_base: int = 2048
    channel_max: int = 64
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self):
        options.check_ranges(self, RANGES)
        if self.plane_resolution & (self.plane_resolution - 1):
            raise UserError(f"plane_resolution must be a power of two, got {self.plane_resolution}")
        if self.light != 3 * HARMONICS:
            raise UserError(f"light must be {3 * HARMONICS}, got {self.light}")
        if self.backing > self.on_head:
            raise UserError(f"backing {self.backing} must be at most on_head, {self.on_head}")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "MorphableConfig":
        """Inverse of :meth:`to_json`; unknown names are refused."""
        return options.from_json(cls, stored)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return options.to_json(self)

    @property
    def parts(self) -> dict[str, slice]:
        """Where each part lies in a style vector."""
        where, start = {}, 0
        for name in ROWS:
            where[name] = slice(start, start + getattr(self, name))
            start += getattr(self, name)
        return where

    @property
    def w_dim(self) -> int:
        return sum(getattr(self, name) for name in ROWS)

    @property
    def points(self) -> int:
        """N: points of the head and of the shell."""
        return self.on_head + self.on_shell


def num_ws(config: MorphableConfig) -> int:
    """A row for each basis and for each layer of the network."""
    return len(ROWS) + (2 * int(math.log2(config.plane_resolution)) - 2 if config.network else 0)
