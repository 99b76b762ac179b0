"""One trained head as protocols judge it: what it shows, what was filmed, and what is kept of both for figures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.app import builders, talking
from jax_talker.app.judging.catalogue import Setting
from jax_talker.app.judging.figures import Sampler, file_name
from jax_talker.app.judging.judge import Bar, judge
from jax_talker.app.judging.meters import Meter
from jax_talker.app.judging.pictures import Pictures
from jax_talker.app.judging.regions import RegionMeter
from jax_talker.app.judging.score import Result
from jax_talker.app.judging.weights import Weights
from jax_talker.app.speaking import Speaker
from jax_talker.data.clip.clip import Clip

TRUTH_VIDEO = "truth"


def video_name(row: str, group: str) -> str:
    """What the video of a row, seen from one of several cameras, is called, without ending."""
    return file_name(f"{row}_{group}".rstrip("_"))


@dataclass(frozen=True)
class Film:
    """A video of a protocol's sequence: made when its frames are asked for."""

    frames: Callable[[], Iterator[np.ndarray]]
    sound: np.ndarray  # 16 kHz mono
    count: int


@dataclass(frozen=True)
class Camera:
    """From where a head is looked at, and what that is compared with."""

    label: np.ndarray  # [T, 25] of the held-out tail
    truth: Clip  # whose pictures of the tail are the truth
    masks: bool = True  # whether it is this camera's own truth, pixel by pixel


@dataclass(frozen=True)
class Head:
    """One trained run with its clip and how it is judged."""

    name: str
    config: Any
    speaker: Speaker
    clip: Clip  # with the cameras as the run corrected them
    weights: Weights
    landmark_model: Path | None = None
    landmarks: str = "auto"
    tested: np.ndarray | None = None  # frame numbers that are judged, where it is not the clip's held-out tail
    learnt: Clip | None = None  # what it was trained on, where that is another clip; cameras corrected as well
    ceiling: int = 0  # every so manieth held-out frame is fitted for the ceiling's row; 0: no such row
    sheets: dict[str, Sampler] = field(default_factory=dict)  # every tenth frame of the protocol's main sequence
    films: dict[str, Film] = field(default_factory=dict)
    openface: Path | None = None  # a folder with OpenFace's CSVs, named as the videos that it saw
    videos: dict[str, Pictures] = field(default_factory=dict)  # which those are: what AUE was asked of

    @property
    def test(self) -> np.ndarray:
        """Frame numbers of what is judged, successive: the held-out tail."""
        return self.tested if self.tested is not None else builders.clip_split(self.config, self.clip).test

    @property
    def trained(self) -> tuple[Clip, np.ndarray]:
        """The clip that it was trained on, and the numbers of those frames."""
        clip = self.learnt or self.clip
        return clip, builders.clip_split(self.config, clip).train

    def setting(self, pred: Pictures, truth: Pictures) -> Setting:
        openface = None
        if self.openface is not None and pred.video and truth.video:
            openface = self.openface / f"{pred.video}.csv", self.openface / f"{truth.video}.csv"
        return Setting(pred, truth, self.weights, self.landmarks, self.landmark_model, openface)

    def shown(self, name: str, script: talking.Script) -> Pictures:
        """What the head shows of a script; rendered anew whenever it is gone through."""
        frames = partial(talking.frames, self.config, self.speaker, script, self.clip.size)
        title = f"{self.name}, {name}".rstrip(", ")
        return Pictures(title, frames, len(script.label), lambda: script.sound, video_name(self.name, name))

    def sampled(self, name: str) -> Sampler:
        """What keeps every tenth frame of a sequence for its figure."""
        self.sheets[f"{self.name}_{name}".rstrip("_")] = sampler = Sampler()
        return sampler

    def filmed(self, name: str, camera: Clip, indices: np.ndarray | None = None) -> Pictures:
        """What a camera of the clip saw of the held-out tail, or of the frames ``indices``."""
        seen = self.test if indices is None else indices
        sound = talking.script_of_clip(self.clip, self.test, "clip").sound
        video = video_name(TRUTH_VIDEO, name.removeprefix(TRUTH_VIDEO))
        return Pictures(name, lambda: (camera.image(int(i)) for i in seen), len(seen), lambda: sound, video)

    def truth_of(self, name: str, camera: Camera, indices: np.ndarray | None = None) -> Pictures:
        """What pictures from ``camera``, called ``name``, are compared with."""
        return self.filmed(name if camera.masks else TRUTH_VIDEO, camera.truth, indices)

    def keep_film(self, name: str, pictures: Pictures, truth: Pictures | None = None) -> None:
        """A video to write when it is asked for: the truth, where there is one, beside what the head shows."""
        if pictures.sound is None or pictures.expected is None:
            raise ValueError(f"{pictures.name}: a film needs its sound and its length")

        def beside() -> Iterator[np.ndarray]:
            for made in zip(*(p.frames() for p in (truth, pictures) if p is not None), strict=True):
                yield np.concatenate(made, 1)

        self.films[f"{self.name}_{name}".rstrip("_")] = Film(beside, pictures.sound(), pictures.expected)

    def judged(
        self,
        pred: Pictures,
        truth: Pictures,
        names: Sequence[str],
        bar: Bar,
        *,
        camera: Clip | None = None,
        indices: np.ndarray | None = None,
        also: Sequence[Meter] = (),
    ) -> list[Result]:
        """Metrics ``names``; where PSNR is among them, also of the parts of the face, by ``camera``'s masks of the
        frames ``indices`` (the held-out tail unless given). What ``camera`` does not know (Clip.valid) counts for
        nothing. Without ``camera`` the truth was seen from elsewhere, and how far landmarks are off in the picture is
        not told."""
        setting = self.setting(pred, truth)
        if "aue" in names and setting.openface is not None:
            self.videos.update({pictures.video: pictures for pictures in (pred, truth)})
        seen = self.test if indices is None else indices
        parts = [RegionMeter(camera, seen)] if camera is not None and "psnr" in names else []
        known = None if camera is None else lambda: (camera.valid(int(index)) > 0 for index in seen)
        found = judge(setting, names, bar, also=[*parts, *also], known=known)
        if camera is None:
            found = [result for result in found if result.name != "jitter_error"]
        return found + [result for meter in parts for result in meter.scores()]
