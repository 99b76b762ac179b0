"""What a prepared clip is like, in numbers: the summary line and the curves of the sheet. Faults: ``data/doctor``."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from jax_talker.data.camera.pose import HeadTrack
from jax_talker.data.clip.clip import FPS
from jax_talker.data.track.blink import count_blinks


@dataclass(frozen=True)
class Quality:
    """A clip's tracks; every method is a view of them."""

    head: HeadTrack
    blink: Float32[np.ndarray, " T"]
    detected: Float32[np.ndarray, " T"]
    outside: Float32[np.ndarray, " T"]  # share of each crop that lies outside the source picture
    sound: Float32[np.ndarray, " samples"]
    size: int  # px of the clip

    def summary(self) -> str:
        """One line: length, ranges, jitter, fit, blinks."""
        yaw, pitch, roll = (
            f"{a:.0f}…{b:.0f}°" for a, b in zip(self.head.euler.min(0), self.head.euler.max(0), strict=True)
        )
        angles, crop = (
            self.head.jitter.degrees.max(),
            self.head.jitter.pixels[:2].max() * self.size / self.head.side.mean(),
        )
        seconds, fit = len(self.blink) / FPS, np.nanmean(self.head.error) * self.size
        return (
            f"{len(self.blink)} frames ({seconds:.1f} s) at {self.size}², yaw {yaw}, pitch {pitch}, roll {roll}, "
            f"jitter {angles:.2f}° and {crop:.2f} px, fit {fit:.1f} px, "
            f"{60 * count_blinks(self.blink) / seconds:.0f} blinks/min"
        )

    def tracks(self) -> dict[str, dict[str, Float[np.ndarray, " T"]]]:
        """The curves of the contact sheet."""
        yaw, pitch, roll = self.head.euler.T
        x, y = (self.head.centre - self.head.centre.mean(0)).T
        return {
            "camera, degrees": {"yaw": yaw, "pitch": pitch, "roll": roll},
            "crop, source px": {"x": x, "y": y, "side": self.head.side - self.head.side.mean()},
            "blink": {"blink": self.blink},
            f"fit, px at {self.size}²": {"fit": self.head.error * self.size},
        }
