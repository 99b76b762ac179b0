"""How well a run's head hears: speech it never heard, other voices, bad recordings, and what is no speech.

    python -m benchmarks hearing --run runs/demo
    python -m benchmarks hearing --run runs/demo --audio german.wav --audio french.wav
    python -m benchmarks hearing --run runs/demo --retrain "" --retrain "model.attention=1 train.sound.room=0"

The jaw is read off the lip coefficients by a linear map, fitted on the training frames to the jaw that made the clip
(made-up people), or to how far the lips are apart in its landmarks. ``correlation`` is with the true jaw where it is
known, else with what the speech alone led to; ``error`` the root mean square of the difference from the same, as a
share of its deviation (a mouth that is ajar all the time may correlate well); ``movement`` the deviation of the jaw, as
a share of the same (of given speech: of the clip's own); ``jitter`` the second difference in time, as a share of the
truth's; ``open`` how far the mouth is open (95th percentile), 0 in resting frames and 1 for speech; ``loudness`` the
jaw's correlation with the sound's level (dB, 80 ms, what is 40 dB below the loudest counting as silence).

``… as a stream`` finds level and background while it listens, and is measured beside what the whole sound led to.
``a pause …`` is the inner 2 s of 3 s without speech in the middle of it, with a noise under all. With ``--retrain`` the
encoders are learnt anew from the personalised head, as the regression on seen motion does it, with what the
configuration has there changed. No picture is drawn.
"""

import argparse
import functools
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks import harness, sounds
from configs import quickstart
from jax_talker import priors
from jax_talker.app import builders, navigating
from jax_talker.app.person import load_person
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.speaking import Speaker
from jax_talker.app.talking import spoken
from jax_talker.audio.choice import choose
from jax_talker.audio.extractor import Extractor
from jax_talker.audio.hearing import HearingStream, hear
from jax_talker.audio.level import Level
from jax_talker.audio.streaming import MOST_LOOKAHEAD
from jax_talker.audio.windows import frame_windows
from jax_talker.data.batches.dataset import ClipFrames
from jax_talker.data.batches.motion_features import resting_frames
from jax_talker.data.check.doctor.signals import mouth_and_jaw
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE, Clip
from jax_talker.data.read.audio import num_video_frames, speech_of
from jax_talker.data.read.sound import open_sound
from jax_talker.data.track.landmarks import scheme_of
from jax_talker.errors import UserError
from jax_talker.people.expression import speaking, voice_of, within
from jax_talker.people.filming import units_of
from jax_talker.procedural import speech
from jax_talker.procedural.filming import make_scene
from jax_talker.training.head_step import make_hearing_step
from jax_talker.training.shares import batch_of
from jax_talker.training.state import cosine, create, direction

SECONDS = 12.0  # of speech that is made up
STRANGERS = (speech.Voice(95.0, 0.9), speech.Voice(215.0, 1.12), speech.Voice(160.0, 1.0))
COLUMNS = ("correlation", "error", "movement", "jitter", "open", "loudness")
PAUSE, EDGE = 3.0, 0.5  # s without speech; at its ends frames hear the speech beside it


@dataclass(frozen=True)
class Said:
    """A sound and, where it is known, the jaw [T] that made it."""

    sound: np.ndarray
    jaw: np.ndarray | None = None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks hearing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="a run folder of python -m jax_talker.train")
    parser.add_argument("--clip", help="where the run's clip is, when it is not found by itself")
    parser.add_argument(
        "--audio", type=Path, action="append", help="speech to hear; default: made up where the clip's speaker is"
    )
    parser.add_argument(
        "--retrain", action="append", help="changes of the configuration, as model.attention=1; once each"
    )
    parser.add_argument("--json", type=Path, help="write results here")
    args = parser.parse_args(argv)
    results: list[dict[str, Any]] = []
    try:
        with tempfile.TemporaryDirectory() as keep:  # features of sounds that several retrained heads hear
            for change in args.retrain or [None]:
                results.append(_measured(args, change, Path(keep)))
                if args.json:
                    _write(args.json, results)
    except UserError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


def _write(path: Path, results: list[dict[str, Any]]) -> None:
    where = {
        "device": harness.device(),
        "threads": len(os.sched_getaffinity(0)),
        "versions": harness.versions(("jax",)),
    }
    path.write_text(json.dumps({**where, "results": results}, indent=1) + "\n", encoding="utf-8")


def _measured(args: argparse.Namespace, change: str | None, keep: Path) -> dict[str, Any]:
    folder = RunFolder(args.run)
    config: Any = ConfigDict(folder.config(quickstart.get_config().to_dict()))
    clip = folder.find_clip(args.clip)
    config.data.clip = str(clip.root)
    config.data.features_weights = folder.find_features(None)
    for one in (change or "").split():
        name, _, value = one.partition("=")
        _set(config, name, value)
    speaker = navigating.open_speaker(config, folder) if change is None else _retrained(config, folder, clip)
    frames = builders.clip_frames(config, clip, clip, speaker.reach, speaker.motion)
    extractor = _extractor(config.data.features, config.data.features_weights)

    def windows(sound: np.ndarray) -> np.ndarray:
        return hear(extractor, builders.level(config), sound, num_video_frames(len(sound)), keep=keep)

    def live(sound: np.ndarray) -> np.ndarray:
        return _streamed(extractor, builders.level(config), sound)

    streams = live if extractor.lookahead <= MOST_LOOKAHEAD else None
    rows = _rows(config, speaker, frames, _base(args, clip), windows, streams)
    title = "as it was trained" if change is None else f"retrained {change or 'as configured'}"
    print(f"{title}\n{'':54}" + "".join(f"{column:>13}" for column in COLUMNS))
    for name, row in rows.items():
        print(f"{name:54}" + "".join(f"{'' if row[c] is None else format(row[c], '.3f'):>13}" for c in COLUMNS))
    print(flush=True)
    return {"of": title, "rows": rows}


def _set(config: Any, name: str, value: str) -> None:
    """A number, or text where the configuration has text or nothing."""
    *parts, last = name.split(".")
    try:
        for part in parts:
            config = config[part]
        kind = type(config[last])
        config[last] = value if kind in (str, type(None)) else kind(float(value))
    except (KeyError, ValueError, TypeError):
        raise UserError(f"--retrain: the configuration has no {name} that could be {value!r}") from None


def _retrained(config: Any, folder: RunFolder, clip: Clip) -> Speaker:
    """The personalised head with encoders learnt from seen motion alone."""
    prior, variables = priors.load(folder.personal, compute=config.prior.compute)
    person = load_person(folder.personal)
    head = builders.talking_head(config, prior, len(person.layout.parent), person.gain)
    frames = builders.clip_frames(config, clip, clip, head.talker.reach, person.motion)
    train = builders.clip_split(config, clip).train
    some = frames.heard_only(train[:2])
    given = (some.audio, some.blink, some.expression, some.lips)
    fresh: Any = jax.jit(head.talker.init)(jax.random.key(config.seed), person.params["anchor"], *given)["params"]
    known = person.params["talker"]["navigator"]
    kept = {name: known[name] for name in ("raw_expression", "raw_lips", "seen_expression", "seen_lips")}
    optimiser, steps = direction(), config.train.hear_steps
    step = jax.jit(make_hearing_step(head, optimiser, builders.sound_variation(config)))
    state = create({**fresh, "navigator": {**fresh["navigator"], **kept}}, optimiser, config.seed)
    for number in range(steps):
        chosen = np.random.default_rng((config.seed, number)).choice(train, size=config.train.hear_batch)
        rate = np.float32(config.train.hear_rate * cosine(number, steps))
        state, _ = step(state, batch_of(frames.heard_only(chosen), rate))
    return Speaker(head, person.fixed(prior, variables), {**person.params, "talker": state.params}, person.motion)


def _base(args: argparse.Namespace, clip: Clip) -> dict[str, Said]:
    """Speech that is not the clip's: given, or in the clip's own made-up voice and in those of strangers."""
    if args.audio:
        return {path.stem: Said(speech_of(open_sound(path))) for path in args.audio}
    own, jaw = _made_up(clip)
    return {
        "own voice": _babble(own, jaw, 1),
        **{f"stranger at {v.pitch:.0f} Hz": _babble(v, jaw, 2 + n) for n, v in enumerate(STRANGERS)},
    }


def _made_up(clip: Clip) -> tuple[speech.Voice, Callable[[speech.Speech, int], np.ndarray]]:
    """The voice of a clip's made-up speaker, and how far their jaw opens [T] for some speech."""
    procedural, person = clip.source.get("procedural"), clip.source.get("people")
    if isinstance(procedural, dict):
        voice = make_scene(int(procedural["seed"]), 1.0).voice
        return voice, lambda talk, frames: talk.mouth_at(np.arange(frames) / FPS)[:, 0]
    if isinstance(person, dict):
        names = units_of(clip)
        jaw = names.index("jawOpen")
        return voice_of(int(person["seed"])), lambda talk, frames: within(names, speaking(names, talk, frames))[:, jaw]
    raise UserError("--audio is needed: this clip's speaker is not made up, so nothing new can be said for them")


def _babble(voice: speech.Voice, jaw: Callable[[speech.Speech, int], np.ndarray], seed: int) -> Said:
    talk = speech.speak(SECONDS, np.random.default_rng([99, seed]), voice)
    return Said(talk.sound, jaw(talk, num_video_frames(len(talk.sound))))


def _rows(
    config: Any,
    speaker: Speaker,
    frames: ClipFrames,
    base: dict[str, Said],
    windows: Callable[[np.ndarray], np.ndarray],
    live: Callable[[np.ndarray], np.ndarray] | None,
) -> dict[str, dict[str, float | None]]:
    clip, split = frames.clip, builders.clip_split(config, frames.clip)
    truth = _opening(clip)
    own = _lips(config, speaker, frames.windows, clip)
    read = _linear(own[split.train], truth[split.train])
    closed = float(np.median(truth[resting_frames(clip.arrays, speaker.motion, split.train)]))
    rows: dict[str, dict[str, float | None]] = {}

    def add(
        name: str, jaw: np.ndarray, like: np.ndarray | None, alone: np.ndarray, sound: np.ndarray | None = None
    ) -> None:
        rows[name] = {
            "correlation": None if like is None else float(np.corrcoef(jaw, like)[0, 1]),
            "error": None if like is None else float(np.sqrt(((jaw - like) ** 2).mean()) / like.std()),
            "movement": float(jaw.std() / alone.std()),
            "jitter": None if like is None else float(_jitter(jaw) / _jitter(like)),
            "open": float((np.quantile(jaw, 0.95) - closed) / (np.quantile(alone, 0.95) - closed)),
            "loudness": None if sound is None else float(np.corrcoef(jaw, sounds.loudness(sound, len(jaw)))[0, 1]),
        }

    jaw_of = lambda sound: read(_lips(config, speaker, windows(sound)))  # noqa: E731
    jaws = {name: jaw_of(said.sound) for name, said in base.items()}
    first, said = next(iter(base.items()))
    for name, part in (("training frames", split.train), ("held out", split.test)):
        add(name, read(own[part]), truth[part], truth[part])
    for name, jaw in jaws.items():
        known = base[name].jaw
        add(name, jaw, known, truth[split.train] if known is None else known, base[name].sound)
    if live:
        for name, jaw in jaws.items():
            sound = base[name].sound
            for how, changed in (("", sound), (" 24 dB fainter", sounds.SPEECH["24 dB fainter"](sound))):
                streamed = read(_lips(config, speaker, live(changed)))
                add(f"{name}{how} as a stream", streamed, jaw, jaw)
                if len(jaw) > 2.5 * FPS:
                    late = slice(2 * FPS, None)
                    add(f"{name}{how} as a stream after 2 s", streamed[late], jaw[late], jaw[late])
    want = said.jaw if said.jaw is not None else jaws[first]
    for name, worse in sounds.SPEECH.items():
        add(name, jaw_of(worse(said.sound)), want, jaws[first])
    for name, make in sounds.NO_SPEECH.items():
        add(name, jaw_of(make(len(said.sound))), None, jaws[first])
    paused, inside = _paused(said.sound)
    for name, beside in sounds.BESIDE.items():
        add(f"a pause {name}", jaw_of(beside(paused))[inside], None, jaws[first])
    return rows


def _streamed(extractor: Extractor, level: Level, sound: np.ndarray) -> np.ndarray:
    """The windows of a sound whose level and background are found while it is heard."""
    stream = HearingStream(extractor, level)
    features = np.concatenate([stream.feed(sound), stream.finish()])
    return frame_windows(features, num_video_frames(len(sound)), rate=extractor.rate)


def _paused(sound: np.ndarray) -> tuple[np.ndarray, slice]:
    """Speech with a pause in its middle, and the frames that hear nothing but the pause."""
    frame = SAMPLE_RATE // FPS
    middle = len(sound) // 2 // frame
    first, last = (round(time * FPS) + middle for time in (EDGE, PAUSE - EDGE))
    pause = np.zeros(round(PAUSE * SAMPLE_RATE), np.float32)
    return np.concatenate([sound[: middle * frame], pause, sound[middle * frame :]]), slice(first, last)


def _opening(clip: Clip) -> np.ndarray:
    """[T] the jaw that made the clip, or how far lips are apart in its landmarks."""
    if "procedural" in clip.source and "motion" in clip.arrays:
        return np.asarray(clip.arrays["motion"][:, 0], np.float64)
    if "people" in clip.source:
        return np.asarray(clip.arrays["motion"][:, units_of(clip).index("jawOpen")], np.float64)
    points = np.asarray(clip.arrays["landmarks"], np.float64)
    return mouth_and_jaw(points, scheme_of(points.shape[1]))[0]


@functools.cache
def _extractor(name: str, weights: str | None) -> Extractor:
    return choose(name, weights)


def _lips(config: Any, speaker: Speaker, windows: np.ndarray, clip: Clip | None = None) -> np.ndarray:
    """Lip coefficients [T, P] of frames that hear ``windows``, in typical walks."""
    boundaries = tuple(clip.boundaries) if clip else ()
    found = spoken(config, speaker, windows, np.zeros(len(windows), np.float32), boundaries)
    return np.asarray(found.lips, np.float64) / speaker.head.talker.gain


def _linear(given: np.ndarray, wanted: np.ndarray):
    """The map [T, P] → [T] of ridge regression."""
    middle, mean = given.mean(0), wanted.mean()
    around = given - middle
    ridge = 1e-3 * np.trace(around.T @ around) / around.shape[1] * np.eye(around.shape[1])
    weights = np.linalg.solve(around.T @ around + ridge, around.T @ (wanted - mean))
    return lambda x: (x - middle) @ weights + mean


def _jitter(curve: np.ndarray) -> float:
    return float(np.abs(np.diff(curve, 2)).mean())
