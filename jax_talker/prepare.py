"""Turn a person's video into a clip folder: 25 fps heads on white, cameras, masks, landmarks, blinks, sound.

    python -m jax_talker.prepare --video clip.mp4 --out data/may --landmark-model face_landmarker.task

One actor of MEAD, all recordings of some cameras as one clip:

    python -m jax_talker.prepare --mead MEAD --identity M003 --views front,left_30,right_30 --out data/m003 \\
        --landmark-model face_landmarker.task

A procedural person, filmed by as many true side cameras as wanted:

    python -m jax_talker.prepare --procedural seed=3,seconds=20 --camera yaw=-30 --camera yaw=20,pitch=10 --out data/p3

A synthetic person with a human face, from the pack of head shapes and skins:

    python -m jax_talker.prepare --people seed=33,seconds=20 --pack heads --camera yaw=-30 --out data/p33

What is good and bad about a clip (also said at the end of the above):

    python -m jax_talker.prepare --check data/may

Interrupted, the same command goes on where it was.
"""

import functools
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from absl import flags
from tqdm import tqdm

from jax_talker import cli
from jax_talker.data.clip.clip import FPS, Clip
from jax_talker.data.clip.clip_writer import check_output
from jax_talker.data.clip.findings import Finding, Severity
from jax_talker.data.cut.cutting import Parser
from jax_talker.data.preparation.options import Options
from jax_talker.data.preparation.preparation import Prepared, check_clip, prepare_clip
from jax_talker.data.read import model_files
from jax_talker.data.read.footage import VideoFootage
from jax_talker.data.read.mead import open_mead
from jax_talker.errors import UserError
from jax_talker.people import filming as people_filming
from jax_talker.people.pack import Pack
from jax_talker.procedural import filming
from jax_talker.procedural.sheet import film_clip

DEFAULT = Options()

flags.DEFINE_string("video", None, "the person's video: any rate, size and format, with sound")
OUT = flags.DEFINE_string("out", None, "clip folder to write, for example data/may")
flags.DEFINE_string("check", None, "clip folder to examine: is every part whole, and what is wrong with the clip")
LANDMARKS = flags.DEFINE_string(
    "landmarks",
    DEFAULT.landmarks,
    "auto, face-alignment, mediapipe, or an .npz file of landmarks (docs/prepare.md); for MEAD a folder of VIEW.npz",
)
LANDMARK_MODEL = flags.DEFINE_string(
    "landmark_model", None, "MediaPipe's face_landmarker.task, or the folder of face-alignment's weights"
)
FETCH = flags.DEFINE_bool("fetch", False, "Fetch face_landmarker.task from Google where it is missing.")
SIZE = flags.DEFINE_integer("size", DEFAULT.size, "width and height of the frames, pixels")
START = flags.DEFINE_float("start", 0.0, "where the clip begins, seconds")
DURATION = flags.DEFINE_float("duration", None, "how long it is at most, seconds (default: to the end)")
FOCAL = flags.DEFINE_float("focal", DEFAULT.focal, "focal length of the cameras over the image size; less shows more")
SMOOTH = flags.DEFINE_float(
    "smooth", DEFAULT.smooth, "width of the temporal filter on crop and pose, frames; 0 for none"
)
POSE = flags.DEFINE_string("pose", DEFAULT.pose, "landmarks: fit head poses to them; matrix: take MediaPipe's own")
REFINE = flags.DEFINE_bool(
    "refine", DEFAULT.refine, "refine head poses on pixels (one camera, landmarks with depth, --pose=landmarks)"
)
MATTE = flags.DEFINE_string("matte", DEFAULT.matte, "auto, none, or a folder of alpha pictures or a video of them")
MATTE_MODEL = flags.DEFINE_string(
    "matte_model", None, "one of MediaPipe's selfie segmenters (.tflite), by which --matte=auto finds the head"
)
PARSING = flags.DEFINE_string(
    "parsing", None, "face parser for pixel-wise masks: what python -m converters bisenet wrote"
)
BLINK = flags.DEFINE_string("blink", None, "OpenFace CSV whose AU45_r is the blink (default: eyelid landmarks)")
SOUND = flags.DEFINE_string("sound", None, "file with the video's sound, when the video has none")
WORKERS = flags.DEFINE_integer("workers", DEFAULT.workers, "threads (default: one for each core, at most 8)")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace an existing clip folder")
MEAD = flags.DEFINE_string("mead", None, "folder of the MEAD dataset, instead of a video")
IDENTITY = flags.DEFINE_string("identity", None, "MEAD: which actor, for example M003")
VIEWS = flags.DEFINE_list("views", ["front"], "MEAD: cameras, the front first")
EMOTIONS = flags.DEFINE_list("emotions", [], "MEAD: only these (default: all)")
LEVELS = flags.DEFINE_list("levels", [], "MEAD: only these levels of emotion, 1 to 3 (default: all)")
LEAVE_OUT = flags.DEFINE_list("leave_out", [], "MEAD: recordings not to use, for example angry/level_1/001")
flags.DEFINE_string("procedural", None, "film a procedural person instead: seed=3,seconds=20")
flags.DEFINE_string(
    "people",
    None,
    "film a synthetic person with a human face instead: seed=33,seconds=20,turn=1 (how far the head turns; 1: up to "
    "some 16 degrees to a side); needs --pack",
)
PACK = flags.DEFINE_string("pack", None, "folder of the pack of human heads that --people are made from")
CAMERA = flags.DEFINE_multi_string("camera", [], "a further camera for such a person: yaw=30,pitch=10 (repeat)")


# What each flag goes with; given with another source it would be ignored, so that is an error.
FILMED = ("--video", "--mead")
GOES_WITH = {
    **dict.fromkeys(("start", "sound"), ("--video",)),
    **dict.fromkeys(("identity", "views", "emotions", "levels", "leave_out"), ("--mead",)),
    "camera": ("--procedural", "--people"),
    "pack": ("--people",),
    **dict.fromkeys(("duration", "landmarks", "landmark_model", "fetch", "focal", "smooth", "pose", "refine"), FILMED),
    **dict.fromkeys(("matte", "matte_model", "parsing", "blink", "workers"), FILMED),
    **dict.fromkeys(("size", "overwrite"), (*FILMED, "--procedural", "--people")),
}


def main() -> None:
    sources = {"--video": video, "--mead": mead, "--procedural": film, "--people": film_people, "--check": check}
    chosen = [name for name in sources if flags.FLAGS[name[2:]].value]
    if len(chosen) != 1 or (OUT.value is None) != (chosen == ["--check"]):
        raise UserError(
            f"give one of {', '.join(sources)}, and (but for --check) a clip folder with --out (see --help)"
        )
    for name, wanted in GOES_WITH.items():
        if flags.FLAGS[name].present and chosen[0] not in wanted:
            raise UserError(f"--{name} goes with {' or '.join(wanted)}, not with {chosen[0]} (see --help)")
    try:
        sources[chosen[0]](flags.FLAGS[chosen[0][2:]].value, OUT.value or "")
    except KeyboardInterrupt:
        if chosen[0] in FILMED:
            print("\nthe same command goes on where this one was", file=sys.stderr)
        raise


def video(path: str, out: str) -> None:
    """The program for a person's video."""
    sound = Path(SOUND.value) if SOUND.value else None
    footage = VideoFootage(Path(path), START.value, DURATION.value, sound)
    notes = [Finding("source", Severity.NOTE, footage.start, footage.end, note) for note in footage.info.notes]
    say(prepare_clip(footage, out, options(), parser=parser(), findings=notes))


def mead(root: str, out: str) -> None:
    """The program for one actor of MEAD."""
    if not IDENTITY.value:
        raise UserError("--mead needs an actor: --identity M003")
    try:
        levels = [int(level) for level in LEVELS.value]
    except ValueError:
        raise UserError(f"--levels={','.join(LEVELS.value)}: levels are numbers, for example --levels 1,3") from None
    session = open_mead(
        root,
        IDENTITY.value,
        views=VIEWS.value,
        emotions=EMOTIONS.value or None,
        levels=levels or None,
        most_seconds=DURATION.value,
        leave_out=LEAVE_OUT.value,
    )
    print(session.summary())
    say(prepare_clip(session.footage, out, options(), parser=parser(), findings=session.findings))


def film(wanted_person: str, out: str) -> None:
    """The program for a procedural person."""
    wanted, views = numbers("procedural", wanted_person)
    scene = filming.make_scene(int(wanted["seed"]), wanted["seconds"])
    clip = film_clip(
        out,
        scene,
        size=SIZE.value,
        source={"procedural": wanted},
        views=views,
        overwrite=OVERWRITE.value,
    )
    say_filmed(clip, views)


def film_people(wanted_person: str, out: str) -> None:
    """The program for a synthetic person."""
    wanted, views = numbers("people", wanted_person, turn=1.0)
    if not PACK.value:
        raise UserError("--people needs --pack: the folder of the pack of human heads")
    check_output(out, OVERWRITE.value)
    scene = people_filming.make_scene(Pack(PACK.value), int(wanted["seed"]), wanted["seconds"], turn=wanted["turn"])
    clip = people_filming.film_clip(
        out,
        scene,
        size=SIZE.value,
        source={"people": wanted},
        views=views,
        overwrite=OVERWRITE.value,
        progress=functools.partial(tqdm, desc="film", unit="frame", dynamic_ncols=True),
    )
    say_filmed(clip, views)


def numbers(flag: str, text: str, **more: float) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Seed, seconds and what ``more`` there is to say of a filmed person, and the angles of the further cameras."""
    wanted = filming.parse_numbers(text, seed=0.0, seconds=20.0, **more)
    if wanted["seed"] < 0 or wanted["seconds"] * FPS < 1:
        raise UserError(f"--{flag}={text}: seed must be ≥ 0, seconds at least one frame (1/{FPS})")
    cameras = {name: filming.parse_numbers(name, yaw=0.0, pitch=0.0) for name in CAMERA.value}
    return wanted, {name: (angles["yaw"], angles["pitch"]) for name, angles in cameras.items()}


def say_filmed(clip: Clip, views: Mapping[str, object]) -> None:
    print(f"{clip.root}: {clip.frames} frames at {clip.size}², {1 + len(views)} cameras")
    print(f"look at {clip.root / 'contact_sheet.png'}")


def check(root: str, _: str) -> None:
    """The program that examines a clip folder."""
    tell(check_clip(root))
    print(f"{root}: examined; every part is whole")


def options() -> Options:
    model = LANDMARK_MODEL.value
    if model is None and LANDMARKS.value in ("auto", "mediapipe"):
        model = model_files.wanted(model_files.FACE_LANDMARKER, FETCH.value)
    return Options(
        landmarks=LANDMARKS.value,
        landmark_model=model,
        size=SIZE.value,
        focal=FOCAL.value,
        smooth=SMOOTH.value,
        pose=POSE.value,
        refine=REFINE.value,
        matte=MATTE.value,
        matte_model=MATTE_MODEL.value,
        parsing=PARSING.value,
        blink=BLINK.value,
        overwrite=OVERWRITE.value,
        workers=WORKERS.value,
    )


def parser() -> Parser | None:
    if PARSING.value is None:
        return None
    from jax_talker.networks.bisenet import load_parser  # here, for it takes a second to import

    return load_parser(PARSING.value)


def say(done: Prepared) -> None:
    """What became of it, for the terminal."""
    tell(done.findings)
    print(f"{done.root}: {done.summary}")
    if not done.new:
        print("it was there already, made alike of the same files; nothing was done (--overwrite makes it anew)")
    print(f"look at {done.root / 'contact_sheet.png'} and {done.root / 'report.html'}")


def tell(findings: Iterable[Finding]) -> None:
    for finding in findings:
        print(finding.line())


if __name__ == "__main__":
    cli.run(main)
