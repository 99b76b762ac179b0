"""The order of it: prepare, personalise, train, render; each only as far as it has not been done."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jax_talker.app import compositing, learning, navigating, showing, talking
from jax_talker.app.head_trainer import DRAWING
from jax_talker.app.in_one_go import person_folder
from jax_talker.app.in_one_go.display import Display, QuietLog, Watch
from jax_talker.app.in_one_go.times import Part, Times, in_words
from jax_talker.app.in_one_go.verdict import hopeless, verdict
from jax_talker.app.publishing import ON, Provenance, publish
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.scripting import Opened
from jax_talker.data.clip.clip import FPS, open_clip
from jax_talker.data.clip.findings import Finding, Severity
from jax_talker.data.preparation.options import Options
from jax_talker.data.preparation.preparation import check_clip, prepare_clip
from jax_talker.data.read.audio import num_video_frames, speech_of
from jax_talker.data.read.footage import VideoFootage
from jax_talker.data.read.sound import open_sound
from jax_talker.errors import UserError

PREPARING = ("finding the face", "refining poses", "learning colours", "cutting it out")
LEARNING = ("invert", DRAWING, "tune", "hear", "navigate")
SPEAKING = "render"
LEARNT_FROM = 32  # pictures of "learning colours" and more


@dataclass(frozen=True)
class Wish:
    """What somebody asked for."""

    video: Path
    speech: Path
    out: Path
    camera: str
    keep: str | None  # the run's folder; None: one in ``place``
    start: float  # s of the video
    duration: float | None
    seed: int  # of the blinks
    anyway: bool = False  # train on a video that the doctor gives up
    background: str | None = None  # compositing.composer; None: white
    paste_back: bool = False  # the head back in the video, under its own cameras
    provenance: Provenance = ON
    place: Path = person_folder.PLACE  # of people who get a folder of their own


def make(
    wish: Wish,
    config: Any,
    options: Callable[[], Options],
    tell: Callable[[str], None],
    times: Times,
    watch: Watch | None = None,
) -> RunFolder:
    """Make the video ``wish.out``; returns the folder of the person, with whom the next sentence is quick.

    ``options`` says how to prepare, and is asked only when that is still to be done; ``config`` is one of
    configs/talk.py; ``watch`` is told how far it is, beside the bar on the terminal. UserError for what cannot be made,
    before any long work.
    """
    camera = "clip" if wish.paste_back else wish.camera
    if camera != "clip":
        talking.camera_path(camera, 1)  # a word that is no camera is refused now
    if wish.background is not None:
        compositing.composer(wish.background, config.prepare.size)
    sound = open_sound(wish.speech)
    words = speech_of(sound)
    asked = {"config": config.to_dict(), "start": wish.start, "duration": wish.duration}
    key = person_folder.key_of(wish.video, asked)
    folder = RunFolder(person_folder.folder_for(wish.video, key, wish.keep, wish.place))
    clip = folder.root / "clip"
    filmed, learnt = (clip / "clip.json").is_file(), navigating.trained(config, folder)
    footage = None if filmed or learnt else VideoFootage(wish.video, wish.start, wish.duration)
    chosen = None if footage is None else replace(options(), size=config.prepare.size)
    display = Display(_parts(config, folder, footage, learnt, num_video_frames(len(words))), times, watch)
    tell(_announcement(display, folder, learnt))
    if not learnt and config.loss.lpips_weights is None and config.loss.lpips is None:
        tell("without LPIPS's weights heads are softer than they could be; where to get them: docs/talk.md")
    with folder.alone():
        person_folder.claim(folder.root, key, asked)
        config.data.clip = str(clip)
        with display, QuietLog(folder.root, display) as log:
            if not learnt:
                found = _prepare(clip, footage, chosen, display)
                for line in verdict(found, clip / "report.html"):
                    tell(line)
                if hopeless(found) and not wish.anyway:
                    raise UserError(f"{wish.video}: see above; film it anew, or pass --anyway to go on with it")
                learning.learn(config, folder, log, learning.checked(config), resume=True)
            speaker = navigating.open_speaker(config, folder)
            seen = speaker.with_corrected_cameras(folder.find_clip()) if camera == "clip" else None
            script = talking.script_for(words, camera, held=speaker.usual, clip=seen, seed=wish.seed)
            count = len(script.label)
            given = replace(sound, seconds=count / FPS)  # as it was given
            opened = Opened(config, folder, speaker, seen, script, given, config.prepare.size)
            frames = showing.frames(opened, wish.background, str(wish.video) if wish.paste_back else None)
            shown = display.things(frames, SPEAKING, count, 0)
            publish(wish.out, shown, sound=given, folder=folder, provenance=wish.provenance)
    tell(f"wrote {wish.out}: {count} frames, {count / FPS:.2f} s")
    return folder


def _prepare(
    clip: Path, footage: VideoFootage | None, options: Options | None, display: Display
) -> tuple[Finding, ...]:
    """The clip folder, and what is to be said about it."""
    if footage is None or options is None:
        return check_clip(clip)
    notes = [Finding("source", Severity.NOTE, footage.start, footage.end, note) for note in footage.info.notes]
    return prepare_clip(footage, clip, options, findings=notes, bars=display.things).findings


def _parts(config: Any, folder: RunFolder, footage: VideoFootage | None, learnt: bool, spoken: int) -> list[Part]:
    """All that is left to do."""
    size, parts = config.prepare.size, []
    if footage is not None:
        parts += [Part(name, footage.expected_frames or LEARNT_FROM, size) for name in PREPARING]
    if not learnt:
        p, t = config.personalize, config.train
        stages = {"invert": p.invert_steps, "tune": p.tune_steps, "hear": t.hear_steps, "navigate": t.steps}
        left = {name: int(steps) - folder.steps_done(name) for name, steps in stages.items()}
        filmed = open_clip(folder.root / "clip").frames if footage is None else footage.expected_frames or LEARNT_FROM
        left[DRAWING] = 0 if p.tune_rate else min(filmed, t.batch * left["tune"])
        how = Path(config.prior.path).name, config.loss.lpips_weights is not None
        parts += [Part(name, left[name], size, *how) for name in LEARNING]
    return [*parts, Part(SPEAKING, spoken, size)]


def _announcement(display: Display, folder: RunFolder, learnt: bool) -> str:
    whole = in_words(display.expected)
    if learnt:
        return f"{folder.root} knows this person; the video takes about {whole}"
    shares = {
        "preparing": display.expected_of(PREPARING),
        "learning": display.expected_of(LEARNING),
        "speaking": display.expected_of([SPEAKING]),
    }
    told = ", ".join(f"{in_words(seconds)} {name}" for name, seconds in shares.items() if seconds)
    sure = "as it took here before" if display.measured_here else "a guess, for this machine has not done it yet"
    return f"about {whole} in all ({told}; {sure}); the person is kept in {folder.root}"
