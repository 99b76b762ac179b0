"""How much the page takes from its visitors: what is too long or too large is refused before it waits in the queue."""

from dataclasses import dataclass
from pathlib import Path

from jax_talker.data.clip.clip import SAMPLE_RATE
from jax_talker.data.read.audio import speech_of
from jax_talker.data.read.sound import open_sound
from jax_talker.data.read.video import probe
from jax_talker.errors import UserError


@dataclass(frozen=True)
class Limits:
    """Of one video, and of how many wait for theirs."""

    speech: float = 60.0  # s
    video: float = 300.0  # s
    megabytes: int = 300  # of a file
    waiting: int = 4  # videos; whoever comes then is asked to come again

    def check_speech(self, path: Path) -> None:
        """UserError unless it is a sound of a length that is taken."""
        self._check_size(path)
        seconds = len(speech_of(open_sound(path))) / SAMPLE_RATE
        if seconds > self.speech:
            raise UserError(f"the speech lasts {seconds:.0f} s; at most {self.speech:.0f} s are taken here")

    def check_video(self, path: Path) -> None:
        """UserError unless it is a video, with sound, of a length that is taken."""
        self._check_size(path)
        info = probe(path)
        if info.duration > self.video:
            raise UserError(f"the video lasts {info.duration:.0f} s; at most {self.video:.0f} s are taken here")
        if not info.has_sound:
            raise UserError("the video has no sound; a head learns to speak from somebody who is heard")

    def _check_size(self, path: Path) -> None:
        size = path.stat().st_size / 1e6
        if size > self.megabytes:
            raise UserError(f"{path.name}: {size:.0f} MB; at most {self.megabytes} MB are taken here")
