"""What a prepared clip is like, in numbers and in words: the summary line, the warnings, the curves of the sheet."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from jax_talker.data.blink import count_blinks
from jax_talker.data.clip import FPS
from jax_talker.data.pose import HeadTrack, jitter

MUCH_OUTSIDE = 0.02  # share of a crop that the source does not show
ENLARGED = 1.5  # times; beyond this a crop is visibly blurred
COARSE_FIT = 3.0  # px at 512²; three times what a well-tracked face leaves
SIZE_CHANGE = 1.6  # largest over smallest crop
LARGE_YAW, LARGE_PITCH = 45, 35  # degrees; beyond what priors trained on portraits know
USUAL_BLINKS = 60  # s; a speaker who blinks less often than this has not been seen
QUIET = 10 ** (-60 / 20)  # of full scale


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
        angles, crop = jitter(self.head.euler).max(), jitter(self._crop()).max()
        seconds = len(self.blink) / FPS
        return (
            f"{len(self.blink)} frames ({seconds:.1f} s) at {self.size}², yaw {yaw}, pitch {pitch}, roll {roll}, "
            f"jitter {angles:.2f}° and {crop:.2f} px, fit {self.head.error.mean() * self.size:.1f} px, "
            f"{60 * count_blinks(self.blink) / seconds:.0f} blinks/min"
        )

    def warnings(self) -> tuple[str, ...]:
        """What a person should look at before training on the clip."""
        head, found = self.head, []
        if lost := int((self.detected == 0).sum()):
            found.append(f"the face was not found in {lost} of {len(self.detected)} frames; they are interpolated")
        if self.outside.max() > MUCH_OUTSIDE:
            found.append(
                f"the crop reaches beyond the source picture (up to {self.outside.max():.0%}, on average "
                f"{self.outside.mean():.0%}); what it did not show is white"
            )
        if (factor := self.size / np.median(head.side)) > ENLARGED:
            found.append(
                f"the head's crop has {np.median(head.side):.0f} px in the source and is enlarged {factor:.1f} times"
            )
        if (error := float(head.error.mean() * 512)) > COARSE_FIT:
            found.append(f"landmarks move against each other ({error:.1f} px at 512²): pose and crop may be unsteady")
        if (change := float(head.side.max() / head.side.min())) > SIZE_CHANGE:
            found.append(f"the head's size in the picture changes by a factor of {change:.1f}; is it one shot?")
        if (yaw := float(np.abs(head.euler[:, 0]).max())) > LARGE_YAW:
            found.append(f"the head turns by up to {yaw:.0f}°; landmarks of a profile are guesses")
        if (pitch := float(np.abs(head.euler[:, 1]).max())) > LARGE_PITCH:
            found.append(f"the head nods by up to {pitch:.0f}°; check the pose in the contact sheet")
        if len(self.blink) > USUAL_BLINKS * FPS and count_blinks(self.blink) == 0:
            found.append("no blink was seen; check the eyes in the contact sheet")
        if np.abs(self.sound).max() < QUIET:
            found.append("the sound is silent")
        return tuple(found)

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

    def _crop(self) -> np.ndarray:
        return self.head.centre * (self.size / self.head.side.mean())
