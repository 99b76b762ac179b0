"""What the invisible mark withstands, and whether it is found where it is not: docs/ethics.md's table.

    python -m benchmarks.marks --marked talking.mp4,clip.mp4 --plain clip.mp4,other.mp4

Videos of ``--marked`` are marked, attacked, and read; of ``--plain``, parts of 5 s are read as they are. CPU only.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from jax_talker.data.read.video import read_frames, write_video
from jax_talker.provenance import watermark

BITS = 0xB2C5
PART = 125  # frames
ATTACKS = {  # CRF, scale, share that is cut off
    "H.264, CRF 18": (18, 1.0, 0.0),
    "H.264, CRF 28": (28, 1.0, 0.0),
    "rescaled to 75 %, CRF 18": (18, 0.75, 0.0),
    "cropped by 10 %, CRF 18": (18, 1.0, 0.1),
    "rescaled to 75 %, CRF 28": (28, 0.75, 0.0),
    "cropped by 10 %, CRF 28": (28, 1.0, 0.1),
    "cropped, rescaled and CRF 28": (28, 0.75, 0.1),
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.marks", description=__doc__)
    parser.add_argument("--marked", default="", help="videos to be marked and attacked, with commas between")
    parser.add_argument("--plain", default="", help="videos without a mark")
    parser.add_argument("--frames", type=int, default=PART, help="of each marked video")
    given = parser.parse_args(argv)
    for path in filter(None, given.marked.split(",")):
        survey(Path(path), given.frames)
    scores = [score for path in filter(None, given.plain.split(",")) for score in plain_scores(Path(path))]
    if scores:
        print(f"without a mark: {len(scores)} parts, highest score {max(scores):.2f}, mean {np.mean(scores):.2f}")
    return 0


def survey(path: Path, frames: int) -> None:
    """Print what is read after each attack."""
    plain = list(itertools.islice(read_frames(path), frames))
    tile = watermark.pattern(BITS)
    marked = [watermark.marked(picture, tile, index) for index, picture in enumerate(plain)]
    error = np.mean((np.stack(marked).astype(np.float64) - np.stack(plain)) ** 2)
    size = "×".join(map(str, plain[0].shape[1::-1]))
    print(f"{path.name}: {len(plain)} frames of {size}, PSNR {10 * np.log10(255**2 / error):.1f} dB")
    for name, attack in ATTACKS.items():
        found = watermark.detect(attacked(marked, *attack))
        wrong = bin(found.bits ^ BITS).count("1")
        print(f"| {name} | {found.score:.1f}, {wrong} |" + ("" if found.found else " not found"))


def attacked(pictures: list[np.ndarray], crf: int, scale: float, crop: float) -> list[np.ndarray]:
    """The frames of a video that was cut, rescaled and encoded again."""
    height, width = pictures[0].shape[:2]
    top, left = round(height * crop / 2), round(width * crop / 2)
    cut = [picture[top : height - top, left : width - left] for picture in pictures]
    sized = [cv2.resize(p, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for p in cut]
    with tempfile.TemporaryDirectory() as folder:
        return list(read_frames(write_video(Path(folder) / "attacked.mp4", sized, crf=crf)))


def plain_scores(path: Path) -> Iterator[float]:
    """Scores of a video's parts."""
    pictures = read_frames(path)
    while len(part := list(itertools.islice(pictures, PART))) > PART // 2:
        yield watermark.detect(part).score


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
