"""What a visitor of the page asks for, and how it is made; no word of the page itself."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.app import navigating, publishing, scripting, showing
from jax_talker.app.in_one_go.display import Watch
from jax_talker.app.in_one_go.making import Wish, make
from jax_talker.app.in_one_go.times import Times
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.studio.limits import Limits
from jax_talker.data.clip.clip import FPS
from jax_talker.data.preparation.options import Options
from jax_talker.data.read import model_files
from jax_talker.errors import UserError
from jax_talker.provenance import credentials

CAMERAS = {
    "from the front": "front",
    "around the head": "spiral",
    **{f"{abs(yaw)}° from the {'left' if yaw < 0 else 'right'}": f"yaw={yaw}" for yaw in (-30, -20, 20, 30)},
}
NEW = "somebody new, from a video"


@dataclass(frozen=True)
class Order:
    """What was filled in; None is what was left empty."""

    person: str | None  # a key of ``Studio.people``, or NEW
    video: Path | None
    speech: Path | None
    camera: str  # a key of CAMERAS
    quality: str
    agreed: bool  # that the person of ``video`` agreed to it
    anyway: bool = False  # learn from a video that the doctor gives up


@dataclass(frozen=True)
class Studio:
    """Where people are kept, and how they are learnt."""

    place: Path  # the folder of their run folders
    limits: Limits
    quality: Callable[[str], Any]  # its configuration (configs/talk.py)
    of_run: Callable[[RunFolder], Any]  # the configuration that a run was made with
    options: Callable[[], Options]  # how videos are prepared
    out: Path  # where finished videos go

    @property
    def people(self) -> dict[str, RunFolder]:
        """Everybody who can speak, by the name of their folder."""
        folders = sorted(path for path in self.place.glob("*") if path.is_dir())
        return {path.name: folder for path in folders if _can_speak(folder := RunFolder(path))}

    def check(self, order: Order) -> None:
        """UserError where something is missing, or is more than the limits allow."""
        if order.speech is None:
            raise UserError("what shall be said? give a sound file, or record something")
        if order.camera not in CAMERAS:
            raise UserError(f"there is no camera {order.camera!r}")
        if order.person == NEW:
            if order.video is None:
                raise UserError("who shall speak? give a video of the person, or choose somebody")
            if not order.agreed:
                raise UserError("only make heads of people who agreed to it; say that the person did")
            self.limits.check_video(order.video)
        elif order.person not in self.people:
            raise UserError("who shall speak? choose a person, or give a video")
        self.limits.check_speech(order.speech)

    def make(self, order: Order, tell: Callable[[str], None], watch: Watch) -> Path:
        """The finished video. ``tell`` is given lines about it, ``watch`` how far it is.

        UserError where it cannot be made: ``check`` is asked again first.
        """
        self.check(order)
        assert order.speech is not None  # says ``check``
        out = Path(tempfile.mkdtemp(dir=self.out)) / "talking.mp4"
        if order.person == NEW:
            self._learn(order, out, tell, watch)
        else:
            tell(self._speak(self.people[str(order.person)], order, out, watch))
        says = "an invisible mark and content credentials say" if credentials.available() else "an invisible mark says"
        tell(f"It is synthetic, and {says} so.")
        return out

    def _learn(self, order: Order, out: Path, tell: Callable[[str], None], watch: Watch) -> None:
        assert order.video is not None
        assert order.speech is not None
        wish = Wish(
            video=order.video,
            speech=order.speech,
            out=out,
            camera=CAMERAS[order.camera],
            keep=None,
            start=0.0,
            duration=None,
            seed=0,
            anyway=order.anyway,
            place=self.place,
        )
        make(wish, self.quality(order.quality), self.options, tell, Times(model_files.own_folder().parent), watch)

    def _speak(self, folder: RunFolder, order: Order, out: Path, watch: Watch) -> str:
        watch(0.0, "opening the head")
        config = self.of_run(folder)
        config.data.features_weights = folder.find_features()
        opened = scripting.open_run(config, folder, scripting.Asked(order.speech, CAMERAS[order.camera]))
        count = len(opened.script.label)
        frames = _watched(showing.frames(opened, None, None), count, watch)
        publishing.publish(out, frames, sound=opened.sound, folder=folder, provenance=publishing.ON)
        return f"{order.person} speaks for {count / FPS:.2f} s."


def _watched(frames: Iterator[np.ndarray], count: int, watch: Watch) -> Iterator[np.ndarray]:
    for number, frame in enumerate(frames):
        yield frame
        watch((number + 1) / count, f"frame {number + 1} of {count}")


def _can_speak(folder: RunFolder) -> bool:
    return folder.personalised and folder.steps_done(navigating.STAGE) > 0
