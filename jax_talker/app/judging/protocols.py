"""The paper's protocols (supplement 1.1–1.4): which pictures of a trained head are judged against what.

``self``            the held-out tail from its own cameras: the pictures themselves
``novel_view``      the same speech from four fixed views and along a spiral (Table 1): as sets, as faces, by sync
``generalization``  sound that the person never said, along a spiral: sync alone
``mead``            trained on the front camera; judged from it and from the real side cameras (Table 2)
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.app import builders, talking
from jax_talker.app.judging.catalogue import Setting
from jax_talker.app.judging.figures import Sampler
from jax_talker.app.judging.judge import Bar, judge
from jax_talker.app.judging.pictures import Pictures, of_video
from jax_talker.app.judging.score import Result, Score, mean
from jax_talker.app.judging.tables import Row
from jax_talker.app.judging.videos import TRUTH, of_truth
from jax_talker.app.judging.weights import Weights
from jax_talker.app.speaking import Speaker
from jax_talker.data.clip.clip import Clip
from jax_talker.data.read.audio import load_sound
from jax_talker.data.read.video import write_video
from jax_talker.errors import UserError

CEILING = "Truth, H.264 (crf 18)"  # what the delivered video's encoder alone costs
VIEWS = {f"({a:+d}°, {a:+d}°)": f"yaw={a},pitch={a}" for a in (30, 20, -20, -30)} | {"spiral": "spiral"}
OF_PICTURES = ("psnr", "ssim", "ssim_skimage", "lpips_alex", "lpips_vgg", "lmd", "expression", "jitter", "jaw", "sync")
OF_SETS = ("fid", "fid_clean", "idsim", "sync", "jaw", "jitter")
METRICS: Mapping[str, tuple[str, ...]] = {
    "self": OF_PICTURES,
    "novel_view": OF_SETS,
    "generalization": ("sync",),
    "mead": ("psnr", "ssim", "lpips_alex", "fid", "fid_clean", "sync"),
}
PROTOCOLS = tuple(METRICS)
MEAN_VIEW = "further cameras, mean"


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
    sheets: dict[str, Sampler] = field(default_factory=dict)  # every tenth frame of the protocol's main sequence

    @property
    def test(self) -> np.ndarray:
        """Frame numbers of the held-out tail, successive."""
        return builders.clip_split(self.config, self.clip).test

    def setting(self, pred: Pictures, truth: Pictures) -> Setting:
        return Setting(pred, truth, self.weights, self.landmarks, self.landmark_model)

    def shown(self, name: str, script: talking.Script) -> Pictures:
        """What the head shows of a script; rendered anew whenever it is gone through."""
        frames = partial(talking.frames, self.config, self.speaker, script, self.clip.size)
        return Pictures(f"{self.name}, {name}", frames, len(script.label), lambda: script.sound)

    def sampled(self, name: str) -> Sampler:
        """What keeps every tenth frame of a sequence for its figure."""
        self.sheets[f"{self.name}_{name}".rstrip("_")] = sampler = Sampler()
        return sampler

    def filmed(self, name: str, camera: Clip) -> Pictures:
        """What a camera of the clip saw of the held-out tail."""
        sound = talking.script_of_clip(self.clip, self.test, "clip").sound
        return Pictures(name, lambda: (camera.image(int(i)) for i in self.test), len(self.test), lambda: sound)


def rows(protocol: str, heads: Sequence[Head], names: Sequence[str], *, audio: Sequence[Path], bar: Bar) -> list[Row]:
    """The truth's row, the ceiling's where there is one, and one for each head. UserError for an unknown protocol, and
    where the clip or the flags lack what it needs.
    """
    if protocol not in METRICS:
        raise UserError(f"--protocol: there is no {protocol!r}; choose from {', '.join(PROTOCOLS)}")
    _check_same_frames(heads)
    run = {"self": _self, "novel_view": _novel_view, "mead": _mead}.get(protocol)
    if run is not None:
        return run(heads, names, bar)
    return _generalization(heads, names, audio, bar)


def _check_same_frames(heads: Sequence[Head]) -> None:
    first = heads[0]
    for head in heads[1:]:
        same = head.clip.files.sums == first.clip.files.sums and np.array_equal(head.test, first.test)
        if not same:
            raise UserError(
                f"{head.name} and {first.name} were not trained on the same clip, or hold out other frames of it: "
                "their numbers are not comparable"
            )


def _self(heads: Sequence[Head], names: Sequence[str], bar: Bar) -> list[Row]:
    first = heads[0]
    truth = first.filmed("truth", first.clip)
    out = [Row(TRUTH, {"": judge(of_truth(first.setting(truth, truth)), names, bar)})]
    with tempfile.TemporaryDirectory() as folder:
        encoded = _encoded(truth, Path(folder) / "truth.mp4", first.clip.size)
        out.append(Row(CEILING, {"": judge(first.setting(encoded, truth), names, bar)}))
    for head in heads:
        script = talking.script_of_clip(head.clip, head.test, "clip")
        setting = head.setting(head.shown("own camera", script), truth)
        out.append(Row(head.name, {"": judge(setting, names, bar, also=[head.sampled("")])}))
    return out


def _novel_view(heads: Sequence[Head], names: Sequence[str], bar: Bar) -> list[Row]:
    """Truth is what was filmed from the own camera: there is no other, so pixels are not compared."""
    first = heads[0]
    truth = first.filmed("truth", first.clip)
    own = judge(of_truth(first.setting(truth, truth)), names, bar)
    out = [Row(TRUTH, dict.fromkeys(VIEWS, own))]
    for head in heads:
        found = {}
        for view, camera in VIEWS.items():
            script = talking.script_of_clip(head.clip, head.test, camera)
            also = [head.sampled(view)] if view == "spiral" else []  # Fig. 2 of the supplement
            found[view] = judge(head.setting(head.shown(view, script), truth), names, bar, also=also)
        out.append(Row(head.name, found))
    return out


def _generalization(heads: Sequence[Head], names: Sequence[str], audio: Sequence[Path], bar: Bar) -> list[Row]:
    if not audio:
        raise UserError("--protocol generalization needs --audio: speech of others (several files: commas between)")
    if wrong := [name for name in names if name != "sync"]:
        raise UserError(f"--metrics: {wrong[0]} needs a truth, and nobody filmed this person saying this; only sync")
    first = heads[0]
    truth = first.filmed("truth", first.clip)
    own = judge(of_truth(first.setting(truth, truth)), names, bar)  # what the recording itself gets, for its own sound
    sounds = {path.name: load_sound(path) for path in audio}
    out = [Row(TRUTH, dict.fromkeys(sounds, own))]
    for head in heads:
        found = {}
        for name, sound in sounds.items():
            script = talking.script_for(sound, "spiral", held=head.speaker.usual, clip=head.clip, seed=0)
            shown = head.shown(name, script)
            found[name] = judge(head.setting(shown, shown), names, bar)
        out.append(Row(head.name, found))
    return out


def _mead(heads: Sequence[Head], names: Sequence[str], bar: Bar) -> list[Row]:
    first = heads[0]
    if not first.clip.view_names:
        raise UserError(f"{first.clip.root}: has no further cameras, which --protocol mead is about")
    cameras = ("front", *first.clip.view_names)
    filmed = {c: first.filmed(c, first.clip if c == "front" else first.clip.view(c)) for c in cameras}
    out = [Row(TRUTH, _with_mean({c: judge(of_truth(first.setting(p, p)), names, bar) for c, p in filmed.items()}))]
    for head in heads:
        found = {}
        for camera in cameras:
            script = talking.script_of_clip(head.clip, head.test, "clip")
            if camera != "front":
                seen = head.speaker.with_corrected_cameras(head.clip.view(camera))
                script = replace(script, label=seen.arrays["label"][head.test].astype(np.float32))
            setting = head.setting(head.shown(camera, script), filmed[camera])
            found[camera] = judge(setting, names, bar, also=[head.sampled(camera)])
        out.append(Row(head.name, _with_mean(found)))
    return out


def _with_mean(found: dict[str, list[Result]]) -> dict[str, list[Result]]:
    """And the mean over all cameras but the front one, as Table 2 has it."""
    further = [results for camera, results in found.items() if camera != "front"]
    means: list[Result] = []
    for same in zip(*further, strict=True):
        scores = [result for result in same if isinstance(result, Score)]
        if len(scores) == len(same):
            value = mean(np.array([score.value for score in scores]))
            means.append(replace(scores[0], value=value, per_frame=None, note=f"of {len(scores)} cameras"))
        else:
            means.append(same[0])
    return {**found, MEAN_VIEW: means}


def _encoded(pictures: Pictures, path: Path, size: int) -> Pictures:
    """The same through the encoder of ``render``, which pads odd sizes."""
    write_video(path, pictures.frames())
    video = of_video(path)

    def frames() -> Iterator[np.ndarray]:
        return (frame[:size, :size] for frame in islice(video.frames(), pictures.expected))

    return Pictures(CEILING, frames, pictures.expected, pictures.sound)
