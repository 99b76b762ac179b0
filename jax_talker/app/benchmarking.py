"""The benchmark: heads of synthetic people whose every side is known, method by method (docs/benchmark.md).

Of each person there are three clips: ``train`` (the front camera alone), ``test`` (what they said next, from all
cameras) and ``other`` (words in another voice, from the front). A method's head is trained on the first and scored on
the others; what is done is found again by its table.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.app import builders, learning, navigating, personalizing, run_inputs, talking
from jax_talker.app.judging import angles, ceilings, protocols, tables, yardstick_rows
from jax_talker.app.judging.head import Camera, Head
from jax_talker.app.judging.judge import Bar
from jax_talker.app.judging.pictures import Pictures
from jax_talker.app.judging.provenance import provenance
from jax_talker.app.judging.score import Result, Score
from jax_talker.app.judging.videos import TRUTH
from jax_talker.app.judging.weights import Weights
from jax_talker.app.leakage import leakage
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.speaking import Speaker
from jax_talker.data.clip.clip import Clip
from jax_talker.training.log import Log

PICTURES = ("psnr", "ssim", "lpips_alex")
OTHER, LEAKED = "another voice", "leakage"
LEAKS = {
    "lips_in_upper_percent": "lips in the upper face",
    "expression_in_lower_percent": "expression in the lower face",
}
FRONT = "front, 0°"  # as angles.in_order calls it
MAIN = (FRONT, protocols.MEAN_VIEW, OTHER, LEAKED)  # columns of the table for people


@dataclass(frozen=True)
class Person:
    """Who is learnt, and where it is kept."""

    name: str
    train: Clip
    test: Clip
    other: Clip


@dataclass(frozen=True)
class Judges:
    """What the scores are made with."""

    weights: Weights
    landmark_model: Path | None
    ceiling: int  # Head.ceiling
    bar: Bar


def trained(config: Any, root: Path) -> Speaker:
    """The head of a run folder: opened where it was finished, else trained from nothing."""
    folder = RunFolder(root)
    if (folder.checkpoints(navigating.STAGE) / str(config.train.steps)).is_dir():
        return navigating.open_speaker(config, folder)
    shutil.rmtree(root, ignore_errors=True)  # minutes' work, begun by an earlier call that was stopped
    inputs = [*learning.checked(config), run_inputs.prior_input(config.prior.path)]
    stages = [*personalizing.STAGES, *navigating.STAGES]
    with folder.alone(), folder.begun(config.to_dict(), inputs, stages, resume=False), Log(folder.root) as log:
        begun = personalizing.personalize(config, folder, log, resume=False)
        return navigating.train(config, folder, log, resume=False, begun=begun)


def bounded(config: Any, speaker: Speaker, person: Person, judges: Judges) -> tables.Table:
    """Rows of a person that no method changes: the truth, its encoder, and what was filmed in training. Any method's
    ``config`` and ``speaker`` do."""
    shots, bar = _shots("", config, speaker, person, judges), judges.bar

    def filmed(head: Head, cameras: Mapping[str, Camera]) -> dict[str, tuple[Pictures, Clip]]:
        return {name: (head.filmed(name, camera.truth), camera.truth) for name, camera in cameras.items()}

    def truth(head: Head, cameras: Mapping[str, Camera], names: Sequence[str]) -> tables.Row:
        seen = filmed(head, cameras)
        return tables.Row(TRUTH, {n: head.judged(p, p, names, bar, camera=c) for n, (p, c) in seen.items()})

    def encoded(head: Head, cameras: Mapping[str, Camera], names: Sequence[str]) -> tables.Row:
        return ceilings.encoded_row(head, filmed(head, cameras), names, bar)

    def mean(head: Head, cameras: Mapping[str, Camera], names: Sequence[str]) -> tables.Row:
        trained = {name: person.train for name in cameras if name in (FRONT, OTHER)}  # by the front camera alone
        return yardstick_rows.mean_row(head, cameras, trained, names, bar)

    def nearest(head: Head, cameras: Mapping[str, Camera], names: Sequence[str]) -> tables.Row:
        return yardstick_rows.nearest_row(head, cameras, names, bar)

    rows = [shots.row(made) for made in (truth, encoded, mean, nearest)]
    return tables.Table(f"{person.name}: bounds", rows, provenance(None, "benchmark"))


def scored(method: str, config: Any, speaker: Speaker, person: Person, judges: Judges) -> tables.Table:
    """Rows of the head's ceiling where it is asked for, of its still anchor, and of the head."""
    shots, bar = _shots(method, config, speaker, person, judges), judges.bar
    test, other = shots.test, shots.other
    front = lambda head: {FRONT: shots.cameras[FRONT]}  # noqa: E731
    rows = ceilings.driven_rows([test], front, PICTURES, bar)
    rows.append(shots.row(lambda head, cameras, names: yardstick_rows.anchor_row(head, cameras, names, bar)))
    found = protocols.seen_from(test, {name: camera.truth for name, camera in shots.cameras.items()}, PICTURES, bar)
    own = test.shown("front", talking.script_of_clip(test.clip, test.test, "clip"))
    found[FRONT] += test.judged(own, test.filmed("front", person.test), ("jaw",), bar)
    script = talking.script_of_clip(other.clip, other.test, "clip")
    shown = other.shown(OTHER, script)
    found[OTHER] = other.judged(shown, other.filmed(OTHER, person.other), (*PICTURES, "jaw"), bar, camera=person.other)
    found[LEAKED] = _leaked(config, speaker, person.train)
    rows.append(tables.Row(method, found))
    return tables.Table(f"{person.name}: {method}", rows, provenance({method: config.to_dict()}, "benchmark"))


@dataclass(frozen=True)
class _Shots:
    """A head before both clips that it is held against."""

    test: Head
    other: Head
    cameras: Mapping[str, Camera]  # of ``test``, by their angle
    voice: Mapping[str, Camera]  # of ``other``

    def row(self, made: Callable[[Head, Mapping[str, Camera], Sequence[str]], tables.Row]) -> tables.Row:
        """Pictures from all cameras, and the jaw in front and in another voice's words."""
        row = made(self.test, self.cameras, PICTURES)
        found = protocols.with_mean({name: [*results] for name, results in row.results.items()})
        found[FRONT] += made(self.test, {FRONT: self.cameras[FRONT]}, ("jaw",)).results[FRONT]
        found[OTHER] = [*made(self.other, self.voice, (*PICTURES, "jaw")).results[OTHER]]
        return tables.Row(row.name, found)


def _shots(method: str, config: Any, speaker: Speaker, person: Person, judges: Judges) -> _Shots:
    def head_of(clip: Clip) -> Head:
        corrected = speaker.with_corrected_cameras(clip)
        place = method, config, speaker, corrected, judges.weights, judges.landmark_model
        learnt = speaker.with_corrected_cameras(person.train)
        return Head(*place, tested=np.arange(clip.frames), learnt=learnt, ceiling=judges.ceiling)

    test, other = head_of(person.test), head_of(person.other)
    cameras = angles.in_order({"front": person.test, **{n: person.test.view(n) for n in person.test.view_names}})
    voice = protocols.looked_from(other, {OTHER: person.other})
    return _Shots(test, other, protocols.looked_from(test, cameras), voice)


def _leaked(config: Any, speaker: Speaker, clip: Clip) -> list[Result]:
    """leakage.leakage of 32 training frames; one joint set has no two parts to keep apart."""
    if not config.model.expressions:
        return []
    own = speaker.with_corrected_cameras(clip)
    frames = builders.clip_frames(config, own, clip, speaker.reach, speaker.motion)
    spoken = talking.spoken(config, speaker, frames.windows, clip.arrays["blink"], clip.boundaries)
    some = np.linspace(0, clip.frames - 1, 32).astype(int)
    found = leakage(speaker, frames, some, spoken)
    return [Score(name, title, found[name], "%", "lower", digits=0) for name, title in LEAKS.items()]


def together(found: Sequence[tables.Table], methods: Sequence[str]) -> tables.Table:
    """Means over people, row by row; notes tell what each person alone says of a method against the first one."""
    named: dict[str, dict[str, tables.Row]] = {}  # row by person; what no method changes may stand in several tables
    for table in found:
        for row in table.rows:
            named.setdefault(row.name, {}).setdefault(table.title.partition(": ")[0], row)
    ranked = sorted(named, key=lambda name: methods.index(name) if name in methods else -1)
    people = dict.fromkeys(table.title.partition(": ")[0] for table in found)
    rows = [tables.Row(name, _mean(named[name].values(), len(people))) for name in ranked]
    title = f"synthetic people of the seeds {', '.join(people)}"
    configs = {table.title: (table.provenance.get("config") or {}) for table in found}
    notes = _people(found, methods)
    return tables.Table(title, rows, provenance(configs, "benchmark"), notes)


def shortened(table: tables.Table) -> tables.Table:
    """The columns for people; the others are in the long table."""
    rows = [tables.Row(row.name, {g: r for g, r in row.results.items() if g in MAIN}) for row in table.rows]
    return replace(table, rows=rows)


def _mean(rows: Iterable[tables.Row], people: int) -> dict[str, list[Result]]:
    known: dict[str, dict[str, list[Result]]] = {}
    for row in rows:
        for group, results in row.results.items():
            for result in results:
                known.setdefault(group, {}).setdefault(result.name, []).append(result)
    return {group: [_mean_of(results, people) for results in by_name.values()] for group, by_name in known.items()}


def _mean_of(results: list[Result], people: int) -> Result:
    """The mean over those of so many people of whom there is a number."""
    scores = [result for result in results if isinstance(result, Score)]
    if not scores:
        return results[0]
    values = np.array([score.value for score in scores])
    known = values[~np.isnan(values)]
    value = float(known.mean()) if known.size else np.nan
    note = "" if len(known) == people else f"of {len(known)} of {people} people"
    return replace(scores[0], value=value, per_frame=None, note=note)


def _people(found: Sequence[tables.Table], methods: Sequence[str]) -> list[str]:
    """One line for each method but the first and each telling column: its differences to the first, by person."""
    value: dict[tuple[str, str, str, str], Score] = {}
    for table in found:
        person = table.title.partition(": ")[0]
        for row in table.rows:
            for group in (FRONT, protocols.MEAN_VIEW, OTHER):
                told = [r for r in row.results.get(group, ()) if isinstance(r, Score)]
                value |= {(row.name, person, group, r.name): r for r in told}
    first, *others = methods
    lines = []
    for method in others:
        for group in (FRONT, protocols.MEAN_VIEW, OTHER):
            for name in ("psnr", "psnr_lower", "lpips_alex", "jaw_correlation"):
                mine = {p: score for (m, p, g, n), score in value.items() if (m, g, n) == (method, group, name)}
                pairs = [(s, value.get((first, p, group, name))) for p, s in mine.items()]
                differences = [f"{s.value - o.value:+.{s.digits}f}" for s, o in pairs if o is not None]
                if differences:
                    title = next(iter(mine.values())).title
                    lines.append(f"{group}, {title}: {method} − {first}, by person: {', '.join(differences)}")
    return lines
