"""What ``render`` and ``export`` are asked for, as a script: a run, its sound or coefficients, and cameras."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.app import builders, navigating, talking
from jax_talker.app.coefficient_files import Motion, load_motion, save_motion
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.speaking import Speaker
from jax_talker.app.talking import Script
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE, Clip
from jax_talker.data.read.audio import num_video_frames, speech_of
from jax_talker.data.read.sound import Sound, open_sound
from jax_talker.errors import UserError

OF_CLIP = ("test", "all")  # what stands for a sound: the clip's own, held-out or whole


@dataclass(frozen=True)
class Asked:
    """Flags of both programs."""

    audio: Path | None  # a file with sound, "test", "all", or None where there are coefficients
    camera: str  # talking.camera_path
    size: int = 0  # pixels; 0: that of the run's clip
    clip: str | None = None
    coefficients: str | None = None  # an .npz file
    seed: int = 0
    needs_clip: bool = False


@dataclass(frozen=True)
class Opened:
    """A run, ready to show the script."""

    config: Any
    folder: RunFolder
    speaker: Speaker
    clip: Clip | None  # only where it is needed: it may be gone
    script: Script
    sound: Sound | np.ndarray | None  # of the video; a file's as it was given
    size: int

    def keep_motion(self, path: Path) -> "Opened":
        """Write the coefficients of all frames, and show those."""
        coefficients = talking.moving(self.config, self.speaker, self.script)
        save_motion(path, Motion(coefficients, self.script.held), self.folder)
        return replace(self, script=replace(self.script, coefficients=coefficients))


def open_run(config: Any, folder: RunFolder, asked: Asked) -> Opened:
    """Open a run for what was asked; UserError for what it cannot show."""
    of_clip = str(asked.audio) in OF_CLIP
    needed = of_clip or asked.camera == "clip" or asked.clip or asked.needs_clip or not (asked.size or folder.clip_size)
    speaker = navigating.open_speaker(config, folder)
    clip = speaker.with_corrected_cameras(folder.find_clip(asked.clip)) if needed else None
    if clip is not None and of_clip:
        test = builders.clip_split(config, clip).test
        indices = test if str(asked.audio) == "test" else np.arange(clip.frames)
        script = talking.script_of_clip(clip, indices, asked.camera)
        sound = script.sound
    elif asked.audio is not None:
        sound = open_sound(asked.audio)
        script = talking.script_for(speech_of(sound), asked.camera, held=speaker.usual, clip=clip, seed=asked.seed)
    else:
        nothing = np.zeros(0)
        script, sound = Script(nothing, nothing, nothing, nothing), None
    if asked.coefficients:
        talker = speaker.head.talker
        motion = load_motion(asked.coefficients, folder, talker.expressions, talker.lips)
        script = _moved(script, motion, asked, clip)
    elif asked.audio is None:
        raise UserError("give a sound with --audio, or a head's motion with --coefficients")
    if isinstance(sound, Sound):
        sound = replace(sound, seconds=len(script.label) / FPS)  # as it was given; the script's is for the model
    elif sound is not None:
        sound = sound[: round(len(script.label) / FPS * SAMPLE_RATE)]
    size = asked.size or (clip.size if clip is not None else folder.clip_size)
    return Opened(config, folder, speaker, clip, script, sound, size)


def _moved(script: Script, motion: Motion, asked: Asked, clip: Clip | None) -> Script:
    """The script with a motion of its own, as long as that is."""
    count = len(motion.held)
    if asked.audio is not None and str(asked.audio) not in OF_CLIP:
        spoken = num_video_frames(len(script.sound))
        if abs(spoken - count) > 1:
            raise UserError(f"{asked.coefficients}: lasts {count / FPS:.2f} s, the sound {spoken / FPS:.2f} s")
    if asked.camera == "clip" and script.truth is not None and len(script.truth) != count:
        raise UserError(f"{asked.coefficients}: holds {count} frames, the clip's part {len(script.truth)}")
    label = talking.camera_path(asked.camera, count, clip).astype(np.float32)
    if script.truth is not None:
        label = script.label
    return replace(script, label=label, held=motion.held, coefficients=motion.coefficients)
