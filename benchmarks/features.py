"""Audio features at full size, on random weights: the real-time factor, and memory that does not grow with the sound.

    python -m benchmarks features --threads 2

Each extractor runs in a process of its own. ``factor`` is the time of an extraction over the length of the sound, with
the first length's compiled by an extraction before it; ``peak_mb`` is the growth of resident memory by it. Whisper is
base, wav2vec2 HuBERT-large and wav2vec2-base, DeepSpeech as published.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from benchmarks import harness
from jax_talker.audio.choice import choose
from jax_talker.networks import deepspeech, wav2vec2, whisper

LARGE = wav2vec2.Wav2Vec2(1024, 24, 4096, 16, large=True, conv_bias=True)
# What takes part → extractor, its file, and the shapes of its weights.
PARTS: dict[str, tuple[str, str, Callable[[], dict[str, tuple[int, ...]]]]] = {
    "logmel": ("logmel", "", dict),
    "whisper-base": ("whisper", whisper.FILE, lambda: whisper.shapes(whisper.WhisperEncoder())),
    "deepspeech": ("deepspeech", deepspeech.FILE, lambda: deepspeech.shapes(deepspeech.Sizes())),
    "deepspeech_live": ("deepspeech_live", deepspeech.FILE, lambda: deepspeech.shapes(deepspeech.Sizes())),
    "wav2vec2-base": ("wav2vec2", wav2vec2.FILE, lambda: wav2vec2.shapes(wav2vec2.Wav2Vec2())),
    "hubert-large": ("wav2vec2", wav2vec2.FILE, lambda: wav2vec2.shapes(LARGE)),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--of", default=",".join(PARTS), help=f"who takes part: {', '.join(PARTS)}")
    parser.add_argument("--seconds", default="60,240", help="lengths of the sound")
    parser.add_argument("--threads", type=int, help="default: as many as the process may use")
    parser.add_argument("--json", type=Path, help="write results here, beside those of other extractors")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # this process measures the one named
    args = parser.parse_args(argv)
    if unknown := set(args.of.split(",")) - set(PARTS):
        print(f"benchmarks: unknown {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if args.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    lengths = [int(n) for n in args.seconds.split(",")]
    if args.alone:
        for row in _measured(args.of, lengths):
            print(json.dumps(row), flush=True)
        return 0
    found: dict[str, list[dict[str, Any]]] = {}
    print(
        f"{'':16}{'seconds':>8}{'factor':>9}{'peak_mb':>9}   {harness.device()}, {len(os.sched_getaffinity(0))} threads"
    )
    for name in args.of.split(","):
        command = [sys.executable, "-m", "benchmarks", "features", "--alone", "--of", name, "--seconds", args.seconds]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"benchmarks: {name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return 2
        found[name] = [json.loads(line) for line in done.stdout.splitlines()]
        for row in found[name]:
            print(f"{name:16}{row['seconds']:8}{row['factor']:9.3f}{row['peak_mb'] or 0:9.0f}", flush=True)
    if args.json:
        before = json.loads(args.json.read_text(encoding="utf-8")) if args.json.exists() else {}
        args.json.write_text(json.dumps(before | found, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {args.json}")
    return 0


def _measured(name: str, lengths: list[int]) -> Iterator[dict[str, Any]]:
    kind, file, shapes = PARTS[name]
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        if file:
            arrays = {path: _random(rng, path, shape) for path, shape in shapes().items()}
            safetensors.numpy.save_file(arrays, Path(folder) / file)
            del arrays
        extractor = choose(kind, folder if file else None)
        sounds = [(0.1 * rng.standard_normal(seconds * 16_000)).astype(np.float32) for seconds in lengths]
        extractor.extract(sounds[0])
        for seconds, sound in zip(lengths, sounds, strict=True):
            before, begun = harness.resident_mb(), time.perf_counter()
            peak = harness.peak_memory(partial(extractor.extract, sound))
            yield {
                "seconds": seconds,
                "factor": (time.perf_counter() - begun) / seconds,
                "peak_mb": None if peak is None else peak - before,
                "device": harness.device(),
                "threads": len(os.sched_getaffinity(0)),
                "load_average": os.getloadavg()[0],
                "versions": harness.versions(("jax", "numpy")),
            }


def _random(rng: np.random.Generator, path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Kernels that keep activations at their size."""
    if path.endswith("scale"):
        return np.ones(shape, np.float32)
    fan_in = max(1, int(np.prod(shape)) // shape[-1]) if len(shape) > 1 else 1
    return (rng.standard_normal(shape, np.float32) / np.float32(fan_in**0.5)) * np.float32(len(shape) > 1)


if __name__ == "__main__":
    sys.exit(main())
