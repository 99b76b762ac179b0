"""Render: any sound → a talking head video with that sound, from any camera.

python -m jax_talker.render --run runs/may --audio speech.wav --camera spiral --out spiral.mp4
python -m jax_talker.render --run runs/may --audio test --camera clip --out held_out.mp4   # truth beside the model
ffmpeg … -f wav - | python -m jax_talker.render --stream --run runs/may --audio - --out live.mp4
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from configs import quickstart
from jax_talker import cli
from jax_talker.app import builders, navigating, streaming, talking
from jax_talker.app.run_folder import RunFolder
from jax_talker.data.clip.clip import FPS
from jax_talker.data.read import stdin
from jax_talker.data.read.audio import speech_of
from jax_talker.data.read.live import Tape, live_sound
from jax_talker.data.read.sound import open_sound
from jax_talker.data.read.video import check_video_path, write_video
from jax_talker.errors import UserError
from jax_talker.training.log import progress

RUN = flags.DEFINE_string("run", None, "A run folder of python -m jax_talker.train.", required=True)
AUDIO = flags.DEFINE_string(
    "audio",
    None,
    "Any file with sound, - for standard input, or 'test' / 'all': the clip's own held-out or whole sound.",
    required=True,
)
CAMERA = flags.DEFINE_string("camera", "front", "front, spiral, clip, or angles in degrees: yaw=30,pitch=20.")
OUT = flags.DEFINE_string("out", None, "The video to write (.mp4).", required=True)
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
GAIN = flags.DEFINE_float("gain", None, "dB that bring streamed speech to -26 dBFS; unset: found while listening.")
AT_ONCE = flags.DEFINE_integer("at_once", 2, "Frames drawn at once while streaming.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of the blinks that new speech gets.")


def main() -> None:
    if STREAM.value:
        _stream()
        return
    check_video_path(OUT.value, given=AUDIO.value)
    with stdin.as_file(AUDIO.value) as audio:
        _render(audio)


def _render(audio: Path) -> None:
    folder = RunFolder(Path(RUN.value))
    config: Any = ConfigDict(folder.config(quickstart.get_config().to_dict()))
    config.data.features_weights = folder.find_features(WEIGHTS.value)
    of_clip = AUDIO.value in ("test", "all")
    needed = of_clip or CAMERA.value == "clip" or CLIP.value or not (SIZE.value or folder.clip_size)
    speaker = navigating.open_speaker(config, folder)
    clip = speaker.with_corrected_cameras(folder.find_clip(CLIP.value)) if needed else None  # else it may be gone
    if clip is not None and of_clip:
        test = builders.clip_split(config, clip).test
        script = talking.script_of_clip(clip, test if AUDIO.value == "test" else np.arange(clip.frames), CAMERA.value)
        sound = script.sound
    else:
        given = open_sound(audio)
        script = talking.script_for(speech_of(given), CAMERA.value, held=speaker.usual, clip=clip, seed=SEED.value)
        sound = replace(given, seconds=len(script.label) / FPS)  # as it was given; the script's is for the model
    size = SIZE.value or (clip.size if clip is not None else folder.clip_size)
    made = talking.frames(config, speaker, script, size)
    if clip is not None and script.truth is not None and size == clip.size:
        made = talking.beside_truth(made, clip, script.truth)
    count = len(script.label)
    write_video(OUT.value, progress(made, total=count, desc="render"), sound=sound)
    print(f"wrote {OUT.value}: {count} frames, {count / FPS:.2f} s")


def _stream() -> None:
    raw = OUT.value == stdin.STDIN
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
    tape = Tape()
    frames = streaming.listen(stream, live_sound(AUDIO.value), tape, say)
    if not raw:
        write_video(OUT.value, frames, sound=tape)
        print(f"wrote {OUT.value}")
        return
    for frame in frames:
        sys.stdout.buffer.write(frame.tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    cli.run(main)
