"""The options of GSGAN and what follows from them: gsgan_spec section 1."""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax_talker.priors.options as options
from jax_talker.errors import UserError
from jax_talker.priors.points import HEADS, NEIGHBOURS, SIBLINGS

STYLED_BLOCKS = (8, 16)  # blocks with style inputs and nearest neighbours; finer ones look at their siblings
BACKGROUND_RATIO = 4
MOST_CHANNELS, MOST_POINTS = 1 << 13, 1 << 24
RANGES = {
    **dict.fromkeys(("z_dim", "w_dim"), (1, 1 << 16)),
    "c_dim": (0, 1 << 16),
    **dict.fromkeys(("mapping_layers", "transformer_layers"), (1, 64)),
    "num_pts": (1, 1 << 20),
    "up_ratio": (1, 64),
    "background_width": (1, MOST_CHANNELS),
    "background_points": (1, 1 << 20),
    **dict.fromkeys(("scale_init", "scale_threshold", "scale_end"), (-100, 100)),  # logarithms
    **dict.fromkeys(("scale_init_bg", "scale_threshold_bg"), (-100, 100)),
}


@dataclass(frozen=True)
class Level:
    """One level's block: its name, the widths of its input and output features, and of which kind it is."""

    name: str
    inputs: int
    features: int
    styled: bool
    last: bool


@dataclass(frozen=True)
class GSGANConfig:
    """Every option of the generator; the defaults are those of the published FFHQ-512 model.

    Scales are natural logarithms. ``channels``, ``transformer_layers`` and the background's sizes are constants of the
    original program; they are read off a checkpoint's tensors.
    """

    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 25
    mapping_layers: int = 2
    c_scale: float = 1.0
    c_gen_conditioning_zero: bool = False  # the mapping network sees zeros instead of the label
    num_pts: int = 256  # points of the coarsest level
    up_ratio: int = 4  # children of each point
    res_end: int = 256  # log2(res_end) − 2 levels
    scale_init: float = math.log(1 / 16)
    scale_threshold: float = math.log(1 / 16)  # largest scale of the coarsest level
    scale_end: float = math.log(1 / 512)  # Gaussians below this size do not split
    scale_init_bg: float = -2.0
    scale_threshold_bg: float = -2.0
    xyz_output_scale: float = 0.1
    use_start_pe: bool = True  # sine and table encoding of the input points; otherwise one linear layer
    use_dir_cond: bool = True  # colours depend on the viewing direction
    channels: tuple[int, ...] = (512, 512, 512, 256, 128, 128, 128)  # of block_4, block_8, …: widths at 4 … 256
    transformer_layers: int = 6
    background_width: int = 128
    background_points: int = 2000
    use_background: bool = True  # False leaves the sphere of background Gaussians out of the scene

    def __post_init__(self):
        res = self.res_end
        if not 32 <= res <= 256 or res & (res - 1):
            raise UserError(f"res_end must be 32, 64, 128 or 256, got {res}")
        if self.num_pts <= NEIGHBOURS:
            raise UserError(f"num_pts must be at least {NEIGHBOURS + 1} (points look at {NEIGHBOURS} neighbours)")
        options.check_ranges(self, RANGES)
        if len(self.channels) < self.num_levels + 1 or min(self.channels) < 2:
            raise UserError(f"channels needs a width for each of 4 … {res}, got {reprlib.repr(self.channels)}")
        if self.channels[1] != self.channels[0]:
            raise UserError(f"block_8 reads what block_4 writes: channels {self.channels[:2]} must be equal")
        if self.channels[0] % (2 * HEADS):
            raise UserError(f"channels[0] must be a multiple of {2 * HEADS}, got {self.channels[0]}")
        if max(self.channels) > MOST_CHANNELS or self.num_foreground > MOST_POINTS:
            raise UserError(
                f"channels up to {MOST_CHANNELS} and {MOST_POINTS:,} points at most, got {max(self.channels)} and "
                f"{self.num_foreground:,}"
            )
        for level, entering in enumerate(self.points_per_level[:-1], 1):
            if level >= 3 and entering % SIBLINGS:
                raise UserError(f"level {level} is entered by {entering} points; a multiple of {SIBLINGS} is needed")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "GSGANConfig":
        """Inverse of :meth:`to_json`; unknown names are refused."""
        return options.from_json(cls, stored)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return options.to_json(self)

    @property
    def num_levels(self) -> int:
        return int(math.log2(self.res_end)) - 2

    @property
    def levels(self) -> tuple[Level, ...]:
        """Coarse to fine. Block i turns features of width channels(i) into channels(2i); block_4 keeps its width."""
        found = []
        for i in range(self.num_levels):
            resolution = 4 << i
            inputs, features = self.channels[i], self.channels[i + 1 if i else 0]
            last = i == self.num_levels - 1
            found.append(Level(f"block_{resolution}", inputs, features, resolution in STYLED_BLOCKS, last))
        return tuple(found)

    @property
    def points_per_level(self) -> tuple[int, ...]:
        return tuple(self.num_pts * self.up_ratio**i for i in range(self.num_levels))

    @property
    def num_foreground(self) -> int:
        return sum(self.points_per_level)

    @property
    def num_background(self) -> int:
        return self.background_points * (1 + BACKGROUND_RATIO)

    @property
    def num_ws(self) -> int:
        """Two rows for each transformer layer and each styled block, one for the background."""
        return 2 * self.transformer_layers + 2 * len(STYLED_BLOCKS) + 1

    @property
    def split_above(self) -> float:
        """Gaussians larger than this (world units) split."""
        return math.exp(self.scale_end)

    @property
    def log_split_ratio(self) -> float:
        """How much smaller, as a logarithm, the children of a Gaussian that splits start."""
        return (self.scale_init - self.scale_end) / (self.num_levels - 1)
