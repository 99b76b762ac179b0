"""Whatever is wrong with what ``prepare`` is given: one clear line of its own, exit code 2, and nothing left behind."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from jax_talker import cli
from jax_talker.data.preparation.options import Options
from jax_talker.data.preparation.preparation import prepare_clip
from jax_talker.data.read.footage import VideoFootage
from jax_talker.data.read.video import write_video

SIZE, FRAMES = (160, 128), 40


@dataclass
class World:
    """What every bad thing is made from: a folder, a good video of 1.6 s, its landmarks, and the drawn head itself."""

    folder: Path
    video: Path
    landmarks: Path
    head: object
    beeps: Callable[..., np.ndarray]

    def wall(self, seed: int, frames: int = FRAMES) -> list[np.ndarray]:
        """A shot of noise-free colour patches, different for every seed."""
        patches = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
        return [np.kron(patches, np.ones((32, 32, 1), np.uint8))] * frames

    def film(self, name: str, frames: list[np.ndarray], sound: float | None = 1.6, **kwargs) -> Path:
        sound = None if sound is None else self.beeps(sound, [0.1])
        return write_video(self.folder / name, frames, sound=sound, **kwargs)

    def points(self, name: str, points: np.ndarray) -> str:
        np.savez(self.folder / name, landmarks=points)
        return str(self.folder / name)

    def changed(self, name: str, change: Callable[[bytes], bytes]) -> Path:
        path = self.folder / name
        path.write_bytes(change(self.video.read_bytes()))
        return path

    def seen(self) -> np.ndarray:
        """Landmarks [40, 68, 2] of the good video."""
        return self.head.landmarks.copy()


@dataclass
class Case:
    """One bad input: how it is made, and what the message must say. ``says`` is matched as plain text."""

    make: Callable[[World], dict]
    says: tuple[str, ...]
    names: str | None = None  # the file that the message must begin with
    out: str = "new/clip"  # where the clip would go
    left: tuple[str, ...] = field(default=())  # what was there before and must still be


def only_sound(world: World) -> Path:
    path = world.folder / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        sound = world.beeps(1, [0.5])
        for first in range(0, len(sound), 1024):
            block = av.AudioFrame.from_ndarray(sound[None, first : first + 1024], "fltp", "mono")
            block.sample_rate, block.pts = 16_000, first
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    return path


def noisy(world: World, name: str) -> Path:
    """Four seconds that do not compress, so that damage hits pictures."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    return world.film(name, [np.roll(noise, 3 * k, 1) for k in range(100)], sound=4.0)


def truncated(world: World) -> Path:
    path = noisy(world, "half.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def rotten(world: World) -> Path:
    path = noisy(world, "rotten.mp4")
    data, half = bytearray(path.read_bytes()), path.stat().st_size // 2
    data[half : half + 4000] = np.random.default_rng(1).integers(0, 256, 4000, np.uint8).tobytes()
    path.write_bytes(data)
    return path


def without_index(world: World) -> Path:
    """A recorder that lost power: the index (moov), which it writes last, is missing."""
    path = world.folder / "noindex.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for picture in world.wall(1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().partition(b"moov")[0][:-4])
    return path


def text(world: World, name: str) -> Path:
    (world.folder / name).write_text("this is no video\n" * 50)
    return world.folder / name


def silent_wav(world: World) -> Path:
    soundfile.write(world.folder / "zero.wav", np.zeros(0), 16_000)
    return world.folder / "zero.wav"


def empty(world: World, name: str) -> Path:
    (world.folder / name).touch()
    return world.folder / name


def folder(world: World, name: str) -> Path:
    (world.folder / name).mkdir()
    return world.folder / name


def lost(world: World) -> dict:
    points = world.seen()
    points[[t for t in range(FRAMES) if t % 20 >= 12]] = np.nan
    return dict(landmarks=world.points("lost.npz", points))


def tiny(world: World) -> dict:
    points = world.seen()
    return dict(landmarks=world.points("tiny.npz", 80 + (points - points.mean((0, 1))) / 10))


def two_shots(world: World) -> dict:
    video = world.film("shots.mp4", [*world.wall(1, 20), *world.wall(2, 20)])
    return dict(video=video)


CASES = {
    "missing file": Case(lambda w: dict(video=w.folder / "absent.mp4"), ("no such file",), "absent.mp4"),
    "a folder": Case(
        lambda w: dict(video=folder(w, "dir.mp4")), ("is a folder, not a file",), "dir.mp4", left=("dir.mp4",)
    ),
    "0 bytes": Case(lambda w: dict(video=empty(w, "empty.mp4")), ("empty (0 bytes)", "copy it again"), "empty.mp4"),
    "a text called .mp4": Case(lambda w: dict(video=text(w, "text.mp4")), ("no video or sound",), "text.mp4"),
    "truncated at half": Case(
        lambda w: dict(video=truncated(w), sound=w.video), ("damaged or cut off after", "--duration"), "half.mp4"
    ),
    "truncated index": Case(lambda w: dict(video=without_index(w)), ("cut off before its index",), "noindex.mp4"),
    "bits that rotted": Case(
        lambda w: dict(video=rotten(w), sound=w.video),
        ("damaged or cut off after", "Invalid data", "--duration"),
        "rotten.mp4",
    ),
    "sound only": Case(lambda w: dict(video=only_sound(w)), ("has sound but no picture",), "sound.mp4"),
    "no sound": Case(
        lambda w: dict(video=w.film("mute.mp4", w.wall(1), sound=None)),
        ("has no sound track", "give a file with sound"),
        "mute.mp4",
    ),
    "sound that ends before the clip begins": Case(
        lambda w: dict(
            video=w.film("brief.mp4", w.wall(1), sound=0.4), start=0.8, landmarks=w.points("p.npz", w.seen()[20:])
        ),
        ("its sound ends before 0.8 s",),
        "brief.mp4",
    ),
    "sound of 0 s": Case(lambda w: dict(sound=silent_wav(w)), ("lasts 0.000 s", "one video frame"), "zero.wav"),
    "--sound that is missing": Case(lambda w: dict(sound=w.folder / "no.wav"), ("no such file",), "no.wav"),
    "--sound that is a text": Case(lambda w: dict(sound=text(w, "text.wav")), ("no video or sound",), "text.wav"),
    "no face": Case(
        lambda w: dict(landmarks=w.points("none.npz", np.full((FRAMES, 68, 2), np.nan))),
        ("no face found in 40 frames",),
        "good.mp4",
    ),
    "a tiny face": Case(tiny, ("at most", "px large, at least 20 px are needed"), "good.mp4"),
    "a face that is lost too long everywhere": Case(
        lost, ("the longest part that shows one face", "lasts 0.48 s", "no face for 0.32 s (0:00.48)"), "good.mp4"
    ),
    "shots shorter than a second": Case(
        two_shots, ("lasts 0.80 s, at least 1 s is needed", "a new shot begins (0:00.80)"), "shots.mp4"
    ),
    "start beyond the end": Case(
        lambda w: dict(start=5.0), ("there is nothing from 5 s on", "ends at 1.60 s"), "good.mp4"
    ),
    "negative start": Case(lambda w: dict(start=-1.0), ("start must be ≥ 0",), "good.mp4"),
    "duration of nothing": Case(lambda w: dict(duration=0.0), ("duration at least one frame",), "good.mp4"),
    "encrypted picture": Case(
        lambda w: dict(video=w.changed("locked.mp4", lambda b: b.replace(b"avc1", b"encv")), sound=w.video),
        ("encrypted or in a format that cannot be decoded", "convert it to H.264"),
        "locked.mp4",
    ),
    "unknown codec": Case(
        lambda w: dict(video=w.changed("odd.mp4", lambda b: b.replace(b"avc1", b"zz99")), sound=w.video),
        ("cannot be decoded",),
        "odd.mp4",
    ),
    "clip folder that exists": Case(
        lambda w: (folder(w, "taken"), {})[1], ("exists already", "--overwrite"), "taken", out="taken", left=("taken",)
    ),
    "clip folder that is a file": Case(
        lambda w: (text(w, "file"), dict(overwrite=True))[1],
        ("is not a clip folder",),
        "file",
        out="file",
        left=("file",),
    ),
    "no landmark model": Case(lambda w: dict(landmarks="mediapipe"), ("needs a model", "--landmark-model", "https://")),
    "missing landmark model": Case(
        lambda w: dict(landmarks="mediapipe", landmark_model=w.folder / "no.task"),
        ("no such landmark model",),
        "no.task",
    ),
    "broken landmark model": Case(
        lambda w: dict(landmarks="mediapipe", landmark_model=text(w, "bad.task")),
        ("is not a face landmarker model",),
        "bad.task",
    ),
    "unknown landmarker": Case(lambda w: dict(landmarks="dlib"), ("--landmarks=dlib: unknown", "mediapipe")),
    "landmark file that is too short": Case(
        lambda w: dict(landmarks=w.points("few.npz", w.seen()[:30])),
        ("landmarks of 30 frames", "more at 25 fps"),
        "few.npz",
    ),
    "landmark file that is too long": Case(
        lambda w: dict(landmarks=w.points("many.npz", np.tile(w.seen(), (2, 1, 1)))),
        ("landmarks of 80 frames", "has 40"),
        "many.npz",
    ),
    "landmark file of another scheme": Case(
        lambda w: dict(landmarks=w.points("98.npz", np.zeros((FRAMES, 98, 2)))), ("98 landmarks are not known",)
    ),
    "landmark file that is a text": Case(
        lambda w: dict(landmarks=str(text(w, "text.npz"))), ("not a NumPy file",), "text.npz"
    ),
}


@pytest.fixture(scope="module")
def good(drawn_head, beeps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    head = drawn_head(FRAMES, size=SIZE, side=90.0)
    video = write_video(folder / "good.mp4", head.frames, sound=beeps(FRAMES / 25, [0.8]))
    np.savez(folder / "good.npz", landmarks=head.landmarks)
    return World(folder, video, folder / "good.npz", head, beeps)


def prepare(out: Path, given: dict) -> None:
    """The whole of ``python -m jax_talker.prepare``, but for its process."""
    given = dict(given)
    video, start, duration = given.pop("video"), given.pop("start", 0.0), given.pop("duration", None)
    sound = given.pop("sound", None)

    def program() -> None:
        prepare_clip(VideoFootage(video, start, duration, sound), out, Options(**given), bars=False)

    cli.run(program, ["prepare"])


def ask(good: World, case: Case, folder: Path) -> tuple[dict, Path, list[str]]:
    """What is given, the clip folder to write, and everything that was in ``folder`` before."""
    world = World(folder, good.video, good.landmarks, good.head, good.beeps)
    given = {"video": good.video, "landmarks": str(good.landmarks), "size": 64, "matte": "none", **case.make(world)}
    return given, folder / case.out, files_in(folder)


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize("kind", CASES)
def test_one_line_and_nothing_left(good, tmp_path, capsys, kind):
    case = CASES[kind]
    if "mediapipe" in kind or "broken" in kind:
        pytest.importorskip("mediapipe")
    given, out, before = ask(good, case, tmp_path)
    with pytest.raises(SystemExit) as exit_:
        prepare(out, given)
    printed = capsys.readouterr()
    assert exit_.value.code == cli.EXIT_USER_ERROR
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    for words in case.says:
        assert words in printed.err
    if case.names:
        assert f"{case.names}: " in printed.err
    assert files_in(tmp_path) == before
    assert all((tmp_path / name).exists() for name in case.left)


def test_messages_are_distinct():
    """No two kinds are told apart by their file's name alone, but for the same mistake with another file."""
    said = [case.says for case in CASES.values()]
    same = [("no such file",), ("no video or sound",)]
    assert len(set(said)) == len(said) - len(same)
    assert len(said) - len(same) >= 25


def test_a_folder_that_cannot_be_written(good, tmp_path):
    (tmp_path / "file").write_text("mine")
    given, _, before = ask(good, CASES["clip folder that exists"], tmp_path)
    with pytest.raises(SystemExit) as exit_:
        prepare(tmp_path / "file" / "clip", given)
    assert exit_.value.code == cli.EXIT_USER_ERROR
    assert files_in(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["truncated at half", "shots shorter than a second", "clip folder that exists"])
def test_the_program_says_the_same(good, tmp_path, kind):
    given, out, before = ask(good, CASES[kind], tmp_path)
    flags = [f"--{name}={value}" for name, value in given.items()]
    program = [sys.executable, "-m", "jax_talker.prepare", f"--out={out}", *flags]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == cli.EXIT_USER_ERROR
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert all(words in done.stderr for words in CASES[kind].says)
    assert files_in(tmp_path) == before
