"""Turn a person's video into a clip folder: 25 fps heads on white, cameras, masks, landmarks, blinks, sound.

    python -m jax_talker.prepare --video clip.mp4 --out data/may --landmark-model face_landmarker.task

Or film a procedural person, with as many true side cameras as wanted:

    python -m jax_talker.prepare --procedural seed=3,seconds=20 --views yaw=-30 --views yaw=20,pitch=10 --out data/p3
"""

import logging

from absl import flags

from jax_talker import cli
from jax_talker.data.preparation import Options, prepare_clip
from jax_talker.data.procedural import filming
from jax_talker.data.procedural.sheet import film_clip
from jax_talker.errors import UserError

DEFAULT = Options()

VIDEO = flags.DEFINE_string("video", None, "the person's video: any rate, size and format, with sound")
OUT = flags.DEFINE_string("out", None, "clip folder to write, for example data/may")
LANDMARKS = flags.DEFINE_string(
    "landmarks", DEFAULT.landmarks, "mediapipe, or an .npz file of landmarks (docs/prepare.md)"
)
LANDMARK_MODEL = flags.DEFINE_string("landmark_model", None, "path of MediaPipe's face_landmarker.task")
SIZE = flags.DEFINE_integer("size", DEFAULT.size, "width and height of the frames, pixels")
START = flags.DEFINE_float("start", DEFAULT.start, "where the clip begins, seconds")
DURATION = flags.DEFINE_float("duration", None, "how long it is, seconds (default: to the end)")
FOCAL = flags.DEFINE_float("focal", DEFAULT.focal, "focal length of the cameras over the image size; less shows more")
SMOOTH = flags.DEFINE_float(
    "smooth", DEFAULT.smooth, "width of the temporal filter on crop and pose, frames; 0 for none"
)
MATTE = flags.DEFINE_string("matte", DEFAULT.matte, "auto, none, or a folder of alpha pictures or a video of them")
BLINK = flags.DEFINE_string("blink", None, "OpenFace CSV whose AU45_r is the blink (default: eyelid landmarks)")
SOUND = flags.DEFINE_string("sound", None, "file with the video's sound, when the video has none")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace an existing clip folder")
PROCEDURAL = flags.DEFINE_string("procedural", None, "film a procedural person instead: seed=3,seconds=20")
VIEWS = flags.DEFINE_multi_string("views", [], "a further camera for a procedural person: yaw=30,pitch=10 (repeat)")


def main() -> None:
    out, video, procedural = OUT.value, VIDEO.value, PROCEDURAL.value
    if out and procedural and not video:
        film(procedural, out)
    elif out and video and not procedural:
        prepare(video, out)
    else:
        raise UserError("give --video or --procedural, and a clip folder with --out (see --help)")


def prepare(video: str, out: str) -> None:
    """The program for a person's video."""
    if VIEWS.value:
        raise UserError("--views: only a procedural person has further cameras; a video has the one that filmed it")
    options = Options(
        landmarks=LANDMARKS.value,
        landmark_model=LANDMARK_MODEL.value,
        size=SIZE.value,
        start=START.value,
        duration=DURATION.value,
        focal=FOCAL.value,
        smooth=SMOOTH.value,
        matte=MATTE.value,
        blink=BLINK.value,
        sound=SOUND.value,
        overwrite=OVERWRITE.value,
    )
    done = prepare_clip(video, out, options)
    for warning in done.warnings:
        logging.warning("warning: %s", warning)
    print(f"{done.root}: {done.summary}")
    print(f"look at {done.root / 'contact_sheet.png'}")


def film(procedural: str, out: str) -> None:
    """The program for a procedural person."""
    wanted = filming.parse_numbers(procedural, seed=0.0, seconds=20.0)
    views = {text: filming.parse_numbers(text, yaw=0.0, pitch=0.0) for text in VIEWS.value}
    scene = filming.make_scene(int(wanted["seed"]), wanted["seconds"])
    clip = film_clip(
        out,
        scene,
        size=SIZE.value,
        source={"procedural": wanted},
        views={name: (angles["yaw"], angles["pitch"]) for name, angles in views.items()},
        overwrite=OVERWRITE.value,
    )
    print(f"{clip.root}: {clip.frames} frames at {clip.size}², {1 + len(views)} cameras")
    print(f"look at {clip.root / 'contact_sheet.png'}")


if __name__ == "__main__":
    cli.run(main)
