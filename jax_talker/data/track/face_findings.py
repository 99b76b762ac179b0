"""What a person should know about the faces in some footage before training on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from jax_talker.data.clip.findings import Finding, Severity, time_code
from jax_talker.data.track.faces import FaceTrack, overlap, sides_of
from jax_talker.data.track.landmarks import scheme_of

MAX_GAP = 5  # pictures; a longer loss of the face is not guessed
SMALL = 64.0  # px; side of a face whose picture will look blurred
BESIDE = 0.5  # overlap above which two finds are one face
RIVAL = 0.5  # share of the followed face's side from which another one may be taken for it
PAUSE = 1.0  # s; the same thing seen again within this time is one finding
JUMP, ALONE = 0.12, 4.0  # of the face's side, and times its neighbours: how a jump differs from a quick movement
ONE_SHOT = "give a recording of one shot, or choose a part with --start and --duration"


@dataclass(frozen=True)
class Stretch:
    """The pictures [first, last) in which a face was followed, with all faces of the footage."""

    first: int
    last: int
    picks: dict[int, int]  # picture → which of its faces
    boxes: list[Float64[np.ndarray, "_ 4"]]  # of all faces of every picture, px
    usable: list[list[int]]  # which of these are large enough to count
    fps: int
    start: float  # s

    @property
    def seconds(self) -> float:
        return (self.last - self.first) / self.fps

    def time(self, frame: int) -> float:
        """Seconds of the source."""
        return self.start + frame / self.fps

    def runs(self, flags: Bool[np.ndarray, " N"], *, offset: int = 0, pause: float = 0.0) -> list[tuple[int, int]]:
        """[begin, end) of every run of True, runs less than ``pause`` seconds apart joined; picture numbers."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
        runs: list[tuple[int, int]] = []
        for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if runs and begin - runs[-1][1] < pause * self.fps:
                runs[-1] = (runs[-1][0], end)
            else:
                runs.append((begin, end))
        return [(begin + offset, end + offset) for begin, end in runs]

    def finding(self, kind: str, severity: Severity, run: tuple[int, int], message: str, advice: str = "") -> Finding:
        return Finding(kind, severity, self.time(run[0]), self.time(run[1]), message, advice)


def findings_about_footage(stretch: Stretch, cuts: Sequence[int]) -> list[Finding]:
    """Why the stretch is no longer: cuts, losses of the face, other faces in its place."""
    findings = [stretch.finding("cut", Severity.WARNING, (c, c), "a new shot begins", ONE_SHOT) for c in cuts]
    nobody = np.array([not one for one in stretch.usable])
    for run in stretch.runs(nobody):
        if run[1] - run[0] > MAX_GAP:
            message = f"no face for {(run[1] - run[0]) / stretch.fps:.2f} s"
            findings.append(stretch.finding("lost_face", Severity.WARNING, run, message, ONE_SHOT))
    ends = ((stretch.first, range(stretch.first - MAX_GAP - 1, stretch.first)),
            (stretch.last, range(stretch.last, stretch.last + MAX_GAP + 1)))  # fmt: skip
    for edge, around in ends:
        someone = any(0 <= t < len(nobody) and not nobody[t] for t in around)
        if someone and not any(abs(edge - c) <= MAX_GAP for c in cuts):
            message = "another face, or the same one elsewhere in the picture"
            findings.append(stretch.finding("face_change", Severity.WARNING, (edge, edge), message, ONE_SHOT))
    return findings


def findings_about_rest(stretch: Stretch) -> list[Finding]:
    """What was cut away before and after the stretch."""
    findings = []
    kept = f"{time_code(stretch.time(stretch.first))}–{time_code(stretch.time(stretch.last))}"
    for run in ((0, stretch.first), (stretch.last, len(stretch.boxes))):
        if run[0] < run[1]:
            severity = Severity.WARNING if run[1] - run[0] > MAX_GAP else Severity.NOTE
            seconds = (run[1] - run[0]) / stretch.fps
            message = f"{seconds:.2f} s are cut away; {kept} is the longest part with one face and no cut"
            findings.append(stretch.finding("cut_away", severity, run, message))
    return findings


def findings_about_face(
    stretch: Stretch, track: FaceTrack, picture_size: tuple[int, int], boundaries: Sequence[int]
) -> list[Finding]:
    """What is notable within the stretch. ``boundaries`` count from its first picture."""
    findings: list[Finding] = []
    boxes = np.concatenate([track.points.min(1), track.points.max(1)], 1)
    sides = sides_of(boxes)

    def add(kind: str, severity: Severity, flags: np.ndarray, message: str, advice: str, pause: float = PAUSE) -> None:
        for run in stretch.runs(flags, offset=stretch.first, pause=pause):
            inside = slice(run[0] - stretch.first, run[1] - stretch.first)
            text = message.format(frames=int(flags[inside].sum()), side=float(np.median(sides[inside])))
            findings.append(stretch.finding(kind, severity, run, text, advice))

    add("face_gap", Severity.NOTE, np.equal(track.detected, 0),
        "the face was not found in {frames} frames; they are interpolated", "", pause=0)  # fmt: skip
    rivals, others = _others(stretch, boxes, sides)
    add("two_faces", Severity.WARNING, rivals, "a second face, nearly as large or larger",
        "see in the contact sheet that the right face was followed, or crop the video")  # fmt: skip
    add("two_faces", Severity.NOTE, others & ~rivals, "a second, smaller face", "it is only a matter of background")
    add("tiny_face", Severity.WARNING, sides < SMALL, "the face is only {side:.0f} px large",
        "its picture will be blurred; film closer, or take the video in a higher resolution")  # fmt: skip
    outside = np.any((boxes < 0) | (boxes > np.array(picture_size * 2)), axis=1)
    add("at_border", Severity.WARNING, outside, "the face reaches beyond the picture's border",
        "what was not filmed is guessed; choose a part in which the head is whole")  # fmt: skip
    add("jump", Severity.WARNING, _jumps(track, sides, boundaries), "the face jumps from one picture to the next",
        "a cut within the same scene, or another face: choose a part without it", pause=0)  # fmt: skip
    return findings


def _others(stretch: Stretch, boxes: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In which pictures there are other faces: large ones, any."""
    rivals, others = np.zeros(len(boxes), bool), np.zeros(len(boxes), bool)
    for t in range(stretch.first, stretch.last):
        own, i = boxes[t - stretch.first], t - stretch.first
        there = [stretch.boxes[t][k] for k in stretch.usable[t] if k != stretch.picks.get(t)]
        beside = [sides_of(box[None])[0] for box in there if overlap(own, box) < BESIDE]
        others[i], rivals[i] = bool(beside), any(side > RIVAL * sides[i] for side in beside)
    return rivals, others


def _jumps(track: FaceTrack, sides: np.ndarray, boundaries: Sequence[int]) -> np.ndarray:
    """Pictures before which all rigid landmarks move at once, far more than in the pictures around."""
    frames = len(sides)
    jumps = np.zeros(frames, bool)
    rigid = track.points[:, list(scheme_of(track.points.shape[1]).rigid)]
    moved = np.sqrt((np.diff(rigid, axis=0) ** 2).sum(-1).mean(-1)) / sides[1:]  # [T − 1]
    joined = [j - 1 for j in boundaries if 0 < j < frames]
    moved[joined] = 0
    for t in np.flatnonzero(moved > JUMP):
        around = np.concatenate([moved[max(0, t - 2) : t], moved[t + 1 : t + 3]])
        jumps[t + 1] = len(around) > 0 and moved[t] > ALONE * around.max()
    return jumps
