"""Makes small copies of MEAD's published layout: real mp4 (30 fps) and m4a files in tars, with the original's traps.

Either with painted pictures that carry (view, recording, frame), quick to make, or with a procedural head filmed by
synchronised cameras, whose true landmarks and labels are known.
"""

import io
import shutil
import tarfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from jax_talker.blinking import blinks
from jax_talker.data.clip.clip import FPS
from jax_talker.data.read.video import write_video
from jax_talker.procedural import filming, motion, speech
from jax_talker.procedural.identity import Motion, random_identity

SOURCE_FPS, SOUND_RATE = 30, 48_000
CAMERAS = {"front": (0, 0), "top": (0, 25), "down": (0, -25), "left_30": (30, 0), "right_30": (-30, 0)}  # yaw, pitch
BITS = {"view": 3, "recording": 4, "frame": 6}


# ---------------------------------------------------------------------------------------------------------------------
# One person's files, unpacked


def write_recording(folder, name, views, sound, *, fps=SOURCE_FPS):
    """``views``: view → pictures; ``sound`` [samples] at 48 kHz or None. ``name`` is <emotion>/level_k/NNN."""
    for view, pictures in views.items():
        write_video(folder / "video" / view / f"{name}.mp4", pictures, fps=fps, crf=12)
    if sound is not None:
        write_m4a(folder / "audio" / f"{name}.m4a", sound)


def write_m4a(path, sound):
    """[samples] in [−1, 1] at 48 kHz as AAC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=SOUND_RATE, layout="mono", bit_rate=96_000)
        for at in range(0, len(sound), 1024):
            block = av.AudioFrame.from_ndarray(sound[None, at : at + 1024].astype(np.float32), "fltp", "mono")
            block.sample_rate, block.pts, block.time_base = SOUND_RATE, at, Fraction(1, SOUND_RATE)
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))


def beep(seconds, at, length=0.02):
    """Silence with a tone of 1 kHz from ``at`` seconds on."""
    time = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    return np.where((time >= at) & (time < at + length), 0.8 * np.sin(2 * np.pi * 1000 * time), 0).astype(np.float32)


def painted(view, recording, frames, size=(104, 24)):
    """Pictures [H, W, 3] that carry three numbers as bright and dark bars."""
    width, height = size
    for frame in range(frames):
        numbers = {"view": view, "recording": recording, "frame": frame}
        bits = [numbers[name] >> b & 1 for name, count in BITS.items() for b in range(count)]
        bars = np.repeat([b * 200 + 28 for b in bits], width // len(bits))
        yield np.broadcast_to(bars[None, :, None], (height, len(bars), 3)).astype(np.uint8).copy()


def read_painted(picture):
    """(view, recording, frame)."""
    bars = picture.shape[1] // sum(BITS.values())
    bits = [int(picture[picture.shape[0] // 2, i * bars + bars // 2, 1] > 128) for i in range(sum(BITS.values()))]
    found, at = [], 0
    for count in BITS.values():
        found.append(sum(bit << b for b, bit in enumerate(bits[at : at + count])))
        at += count
    return tuple(found)


# ---------------------------------------------------------------------------------------------------------------------
# Packaging


def pack_plain(unpacked, target):
    """video.tar and audio.tar, as most identities have them."""
    target.mkdir(parents=True)
    for kind in ("video", "audio"):
        with tarfile.open(target / f"{kind}.tar", "w") as tar:
            tar.add(unpacked / kind, kind)


def pack_split(unpacked, target):
    """video_1.tar and video_2.tar (M042), each with a folder of its own name."""
    target.mkdir(parents=True)
    with tarfile.open(target / "audio.tar", "w") as tar:
        tar.add(unpacked / "audio", "audio")
    files = sorted((unpacked / "video").rglob("*.mp4"))
    for part in (1, 2):
        with tarfile.open(target / f"video_{part}.tar", "w") as tar:
            for path in files[part - 1 :: 2]:
                tar.add(path, f"{part}/{path.relative_to(unpacked / 'video')}")


def pack_nested(unpacked, target, *, in_archive):
    """video/1.tar and video/2.tar (W021): in a folder, or in video.tar once more."""
    pack_split(unpacked, target)
    (target / "video").mkdir()
    for part in (1, 2):
        (target / f"video_{part}.tar").rename(target / "video" / f"{part}.tar")
    if in_archive:
        with tarfile.open(target / "video.tar", "w") as tar:
            tar.add(target / "video", "video")
        shutil.rmtree(target / "video")


def pack_folders(unpacked, target):
    """Already unpacked."""
    shutil.copytree(unpacked, target)


PACKAGING = {
    "tar": pack_plain,
    "split": pack_split,
    "nested": lambda unpacked, target: pack_nested(unpacked, target, in_archive=False),
    "nested twice": lambda unpacked, target: pack_nested(unpacked, target, in_archive=True),
    "folders": pack_folders,
}


def add_member(archive, name, content=b"", *, kind=tarfile.REGTYPE):
    """Append a member of any name."""
    with tarfile.open(archive, "a") as tar:
        member = tarfile.TarInfo(name)
        member.size, member.type = len(content), kind
        tar.addfile(member, io.BytesIO(content))


# ---------------------------------------------------------------------------------------------------------------------
# A filmed person


@dataclass
class Truth:
    """What is known of a filmed person, at the source's 30 fps, by recording (<emotion>/level_k/NNN) and view."""

    labels: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # [n, 25]
    landmarks: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # [n, 68, 2] px of the source

    def joined(self, values, session, view):
        """Values of the session's 25 fps frames: the picture that a player shows at i/25 s."""
        rows = [values[str(r.key)][view][np.arange(r.frames) * SOURCE_FPS // FPS] for r in session.recordings]
        return np.concatenate(rows)


def scene(seed, frames, person, *, turn=1.0):
    """A speaking, turning person at 30 fps."""
    voices, words, lids, brows, turns = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5))
    talk = speech.speak(frames / SOURCE_FPS, words, speech.random_voice(voices))
    mouth = talk.mouth_at(np.arange(frames) / SOURCE_FPS)
    closed, height = blinks(frames, lids), motion.brows(frames, brows)
    motions = [
        Motion(float(j), float(w), float(r), upper_lid=float(c), lower_lid=float(0.5 * c), brow=float(h))
        for (j, w, r), c, h in zip(mouth, closed, height, strict=True)
    ]
    angles = motion.turning(frames, turns, amount=turn)
    return filming.Scene(person, speech.Voice(), talk, motions, angles)


def film_person(unpacked, names, *, seconds=1.0, size=128, margin=16, cameras=None, seed=0):
    """Write filmed recordings (real heads in front of a patterned wall) below ``unpacked``; returns their truth."""
    cameras = cameras or CAMERAS
    person = random_identity(np.random.default_rng(seed))
    truth = Truth()
    for number, name in enumerate(names):
        play = scene(1000 * seed + number, round(seconds * SOURCE_FPS), person)
        films = {view: [] for view in cameras}
        points = {view: [] for view in cameras}
        for shots in filming.film(play, cameras, size):
            for place, (view, (image, masks, landmarks)) in enumerate(shots.items()):
                films[view].append(_before_wall(image, masks[..., 2], margin, place))
                points[view].append(landmarks + np.float32([2 * margin, margin]))
        sound = np.interp(
            np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE,
            np.arange(len(play.speech.sound)) / speech.RATE,
            play.speech.sound,
        )
        write_recording(unpacked, name, films, sound)
        truth.labels[name] = {view: filming.labels(play, *angles) for view, angles in cameras.items()}
        truth.landmarks[name] = {view: np.stack(p) for view, p in points.items()}
    return truth


def _before_wall(image, head, margin, seed):
    """A head [S, S, 3] in a wide picture with a resting, patterned background."""
    size = image.shape[0]
    height, width = size + 2 * margin, size + 4 * margin
    rng = np.random.default_rng(seed)
    wall = cv2.resize(rng.integers(90, 200, (5, 7, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    inside = wall[margin : margin + size, 2 * margin : 2 * margin + size]
    alpha = head[..., None] / 255
    inside[:] = np.round(alpha * image + (1 - alpha) * inside).astype(np.uint8)
    return wall


def write_landmarks(folder, truth, session):
    """<view>.npz for every view: what ``--landmarks FOLDER`` reads; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for view in session.footage:
        np.savez(folder / f"{view}.npz", landmarks=truth.joined(truth.landmarks, session, view))
    return folder


def miniature(root: Path) -> Truth:
    """The whole miniature: M003 filmed by five cameras, three emotions, one recording without sound, one whose views
    differ in length, one cut off; video in two archives. Use ``open_mead(root, "M003", CAMERAS)``."""
    unpacked = root.parent / "unpacked"
    whole = ["angry/level_1/001", "happy/level_2/001", "neutral/level_1/001", "neutral/level_1/002"]
    broken = ["angry/level_1/002", "happy/level_2/002", "happy/level_2/003"]
    truth = film_person(unpacked, whole)
    for name in broken:
        for path in (unpacked / "video").rglob("neutral/level_1/001.mp4"):
            copy = path.parents[2] / f"{name}.mp4"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        sound = unpacked / "audio" / f"{name}.m4a"
        sound.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(unpacked / "audio" / "neutral/level_1/001.m4a", sound)
    (unpacked / "audio" / f"{broken[0]}.m4a").unlink()
    write_video(
        unpacked / "video" / "top" / f"{broken[1]}.mp4", [np.zeros((160, 192, 3), np.uint8)] * 20, fps=SOURCE_FPS
    )
    cut = unpacked / "video" / "front" / f"{broken[2]}.mp4"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    pack_split(unpacked, root / "M003")
    shutil.rmtree(unpacked)
    return truth
