"""Render: any sound → a talking head video with that sound, from any camera.

python -m jax_talker.render --run runs/may --audio speech.wav --camera spiral --out spiral.mp4
python -m jax_talker.render --run runs/may --audio test --camera clip --out held_out.mp4   # truth beside the model
python -m jax_talker.render --run runs/may --audio speech.wav --background transparent --out head.webm
python -m jax_talker.render --run runs/may --audio speech.wav --paste-back may.mp4 --out speaking.mp4
ffmpeg … -f wav - | python -m jax_talker.render --stream --run runs/may --audio - --out live.mp4
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from configs import quickstart
from jax_talker import cli
from jax_talker.app import (
    builders,
    camera_files,
    compositing,
    navigating,
    publishing,
    scripting,
    showing,
    streaming,
    talking,
)
from jax_talker.app.publishing import Provenance
from jax_talker.app.run_folder import RunFolder
from jax_talker.data.clip.clip import FPS
from jax_talker.data.read import stdin
from jax_talker.data.read.live import Tape, live_sound
from jax_talker.data.read.video import check_video_path
from jax_talker.errors import UserError, check_writable
from jax_talker.training.log import progress

RUN = flags.DEFINE_string("run", None, "A run folder of python -m jax_talker.train.", required=True)
AUDIO = flags.DEFINE_string(
    "audio",
    None,
    "Any file with sound, - for standard input, or 'test' / 'all': the clip's own held-out or whole sound.",
)
CAMERA = flags.DEFINE_string(
    "camera", "front", "front, spiral, clip, a .json file, or angles in degrees: yaw=30,pitch=20."
)
CAMERA_OUT = flags.DEFINE_string("camera_out", None, "Write the cameras of all frames to this .json file, too.")
COEFFICIENTS = flags.DEFINE_string("coefficients", None, "Show this motion (.npz) rather than what the sound says.")
COEFFICIENTS_OUT = flags.DEFINE_string("coefficients_out", None, "Write the head's motion to this .npz file, too.")
BACKGROUND = flags.DEFINE_string(
    "background", None, "A colour (green, #00ff00), a picture's file, or transparent (.webm, .mov); unset: the run's."
)
PASTE_BACK = flags.DEFINE_string(
    "paste_back", None, "The video that the run was learnt from: put the head back into it, where it was filmed."
)
OUT = flags.DEFINE_string("out", None, "The video to write (.mp4, .mov, .mkv, .webm).", required=True)
SIZE = flags.DEFINE_integer("size", 0, "Pixels on a side; 0 is the size of the training clip.", lower_bound=0)
CLIP = flags.DEFINE_string("clip", None, "Where the run's clip is, when it is needed and not found by itself.")
WEIGHTS = flags.DEFINE_string(
    "features_weights",
    None,
    "Where the weights of the run's audio features are, when not found by themselves.",
)
STREAM = flags.DEFINE_bool(
    "stream",
    False,
    "Hear --audio as it comes (-, a file, or a microphone such as alsa:default) and write frames as they are known; "
    "--out - writes them to standard output as raw RGB.",
)
GAIN = flags.DEFINE_float(
    "gain", None, "dB that bring streamed speech to the run's level (docs/audio.md); unset: found while listening."
)
AT_ONCE = flags.DEFINE_integer("at_once", 2, "Frames drawn at once while streaming.", lower_bound=1)
PROVENANCE = flags.DEFINE_enum(
    "provenance", "on", ["on", "off"], "off: no invisible mark and no content credentials; it is written down."
)
CERTIFICATE = flags.DEFINE_list("certificate", None, "chain.pem,key.pem to sign with (default: a self-made one).")
SEED = flags.DEFINE_integer("seed", 0, "Of the blinks that new speech gets.")


def main() -> None:
    if STREAM.value:
        _stream()
        return
    for name in ("gain", "at_once"):
        if flags.FLAGS[name].present:
            raise UserError(f"--{name.replace('_', '-')} goes with --stream only")
    transparent = BACKGROUND.value == compositing.TRANSPARENT
    for given in (AUDIO.value, PASTE_BACK.value):
        check_video_path(OUT.value, given=given, transparent=transparent)
    if PASTE_BACK.value and (BACKGROUND.value or CAMERA.value not in ("front", "clip")):
        raise UserError("--paste-back has its own camera and background: those of the video")
    for path in filter(None, (CAMERA_OUT.value, COEFFICIENTS_OUT.value)):
        check_writable(Path(path).resolve().parent, path)
    provenance = publishing.asked_for(PROVENANCE.value, CERTIFICATE.value)
    if AUDIO.value is None:
        _render(None, provenance)
        return
    with stdin.as_file(AUDIO.value) as audio:
        _render(audio, provenance)


def _render(audio: Path | None, provenance: Provenance) -> None:
    folder = RunFolder(Path(RUN.value))
    config: Any = ConfigDict(folder.config(quickstart.get_config().to_dict()))
    config.data.features_weights = folder.find_features(WEIGHTS.value)
    asked = scripting.Asked(
        audio=audio,
        camera="clip" if PASTE_BACK.value else CAMERA.value,
        size=SIZE.value,
        clip=CLIP.value,
        coefficients=COEFFICIENTS.value,
        seed=SEED.value,
    )
    opened = scripting.open_run(config, folder, asked)
    count = len(opened.script.label)
    if CAMERA_OUT.value:
        camera_files.write_path(CAMERA_OUT.value, opened.script.label, opened.size)
    if COEFFICIENTS_OUT.value:
        opened = opened.keep_motion(Path(COEFFICIENTS_OUT.value))
    shown = progress(showing.frames(opened, BACKGROUND.value, PASTE_BACK.value), total=count, desc="render")
    publishing.publish(OUT.value, shown, sound=opened.sound, folder=folder, provenance=provenance)
    print(f"wrote {OUT.value}: {count} frames, {count / FPS:.2f} s")


def _stream() -> None:
    raw = OUT.value == stdin.STDIN
    for name in ("camera_out", "coefficients", "coefficients_out", "background", "paste_back"):
        if flags.FLAGS[name].present:
            raise UserError(f"--{name.replace('_', '-')} does not go with --stream")
    if AUDIO.value is None:
        raise UserError("--stream needs --audio: -, a file, or a microphone")
    if not raw:
        check_video_path(OUT.value, given=AUDIO.value)
    folder = RunFolder(Path(RUN.value))
    config: Any = ConfigDict(folder.config(quickstart.get_config().to_dict()))
    config.data.features_weights = folder.find_features(WEIGHTS.value)
    speaker = navigating.open_speaker(config, folder)
    size = SIZE.value or folder.clip_size
    if not size or CAMERA.value in ("clip", "spiral"):
        raise UserError("--stream needs a camera that stands still, and --size in runs of earlier versions")
    label = talking.camera_path(CAMERA.value, 1)[0].astype(np.float32)
    stream = streaming.Stream(
        speaker,
        builders.extractor(config),
        builders.level(config),
        label,
        size,
        held=speaker.usual,
        smoothing=config.render.smoothing,
        gain=GAIN.value,
        at_once=AT_ONCE.value,
        seed=SEED.value,
    )
    say = lambda line: print(line, file=sys.stderr)  # noqa: E731  (standard output may be the video)
    say(f"listening to {AUDIO.value}; frames of {size}² at {FPS} fps follow {stream.latency:.3f} s behind")
    tape = None if raw else Tape()  # who writes the video takes the sound off it
    frames = streaming.listen(stream, streaming.until_interrupted(live_sound(AUDIO.value), say), tape, say)
    provenance = publishing.asked_for(PROVENANCE.value, CERTIFICATE.value)
    if not raw:
        publishing.publish(OUT.value, frames, sound=tape, folder=folder, provenance=provenance)
        print(f"wrote {OUT.value}")
        return
    streaming.pour(publishing.marked(frames, folder, provenance), sys.stdout.buffer)


if __name__ == "__main__":
    cli.run(main)
