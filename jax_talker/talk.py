"""Talk: a video of a person and a sentence in, a video of that person's head saying the sentence out.

python -m jax_talker.talk video.mp4 speech.wav --out talking.mp4
python -m jax_talker.talk video.mp4 another.wav --out another.mp4 --camera spiral    # seconds: the person is known

Prepares the video, says what is good and bad about it, learns the person, and renders; how long all of it takes is said
first. Interrupted, the same command goes on where it was. The person is kept in ./runs, or where --keep says.
Only make heads of people who agreed to it.
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from configs import talk
from jax_talker import cli
from jax_talker.app.compositing import TRANSPARENT
from jax_talker.app.in_one_go.making import Wish, make
from jax_talker.app.in_one_go.models import preparing, with_lpips
from jax_talker.app.in_one_go.times import Times
from jax_talker.app.publishing import asked_for
from jax_talker.data.preparation.options import Options
from jax_talker.data.read import model_files, stdin
from jax_talker.data.read.video import check_video_path
from jax_talker.errors import UserError
from jax_talker.training.stopping import Stopped, listening

VIDEO = flags.DEFINE_string("video", None, "The person's video: any rate, size and format, with sound.")
SPEECH = flags.DEFINE_string("speech", None, "What the head says: any file with sound; --speech=- is standard input.")
OUT = flags.DEFINE_string("out", "talking.mp4", "The video to write.")
QUALITY = flags.DEFINE_enum("quality", "quick", talk.QUALITIES, "128² in minutes, 256², or 512² in hours on a CPU.")
CONFIG = config_flags.DEFINE_config_dict("config", talk.get_config(), "--config.x.y=z changes a field.")
CAMERA = flags.DEFINE_string("camera", "front", "front, spiral, clip, a .json file, or angles: yaw=30,pitch=20.")
BACKGROUND = flags.DEFINE_string("background", None, "A colour, a picture's file, or transparent (.webm, .mov).")
PASTE_BACK = flags.DEFINE_bool("paste_back", False, "Put the head back into the video, where it was filmed.")
KEEP = flags.DEFINE_string("keep", None, "Where the person is kept (default: a folder in ./runs).")
START = flags.DEFINE_float("start", 0.0, "Where in the video to begin, seconds.")
DURATION = flags.DEFINE_float("duration", None, "How much of the video to learn from at most, seconds.")
LANDMARKS = flags.DEFINE_string("landmarks", "auto", "auto, face-alignment, mediapipe, or an .npz file of landmarks.")
LANDMARK_MODEL = flags.DEFINE_string("landmark_model", None, "MediaPipe's face_landmarker.task, where it is not found.")
MATTE_MODEL = flags.DEFINE_string("matte_model", None, "MediaPipe's selfie segmenter, where it is not found.")
FETCH = flags.DEFINE_bool("fetch", False, "Fetch MediaPipe's models from Google where they are missing.")
ANYWAY = flags.DEFINE_bool("anyway", False, "Train although the doctor says that the video will not do.")
PROVENANCE = flags.DEFINE_enum(
    "provenance", "on", ["on", "off"], "off: no invisible mark and no content credentials; it is written down."
)
CERTIFICATE = flags.DEFINE_list("certificate", None, "chain.pem,key.pem to sign with (default: a self-made one).")
SEED = flags.DEFINE_integer("seed", 0, "Of the blinks.")
GIVEN = ("video", "speech")  # flags that may be given without their names, in this order


def main() -> None:
    if not VIDEO.value or not SPEECH.value:
        raise UserError("give a video and a sound: python -m jax_talker.talk video.mp4 speech.wav --out talking.mp4")
    for given in (SPEECH.value, VIDEO.value):
        check_video_path(OUT.value, given=given, transparent=BACKGROUND.value == TRANSPARENT)
    if PASTE_BACK.value and (BACKGROUND.value or CAMERA.value not in ("front", "clip")):
        raise UserError("--paste-back has its own camera and background: those of the video")
    try:
        with listening(), stdin.as_file(SPEECH.value) as speech:
            wish = Wish(
                video=Path(VIDEO.value),
                speech=speech,
                out=Path(OUT.value),
                camera=CAMERA.value,
                keep=KEEP.value,
                start=START.value,
                duration=DURATION.value,
                seed=SEED.value,
                anyway=ANYWAY.value,
                background=BACKGROUND.value,
                paste_back=PASTE_BACK.value,
                provenance=asked_for(PROVENANCE.value, CERTIFICATE.value),
            )
            make(wish, config(), options, tqdm.write, Times(model_files.own_folder().parent))
    except KeyboardInterrupt:
        print("\nthe same command goes on where this one was", file=sys.stderr)
        raise
    except Stopped as stopped:  # no success: there is no video
        print(f"{stopped}; the same command goes on where this one was", file=sys.stderr)
        sys.exit(128 + stopped.number)


def config() -> Any:
    """That of the quality, with what was changed on the command line."""
    chosen = talk.get_config(QUALITY.value)
    chosen.update_from_flattened_dict(config_flags.get_override_values(flags.FLAGS["config"]))
    return with_lpips(chosen)


def options() -> Options:
    """How to prepare: with the models that are here, or are fetched now."""
    return preparing(LANDMARKS.value, LANDMARK_MODEL.value, MATTE_MODEL.value, fetch=FETCH.value)


if __name__ == "__main__":
    cli.run(main, given=GIVEN)
