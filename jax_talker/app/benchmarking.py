"""The benchmark: heads of synthetic people whose every side is known, method by method (docs/benchmark.md).

Of each person there are three clips: ``train`` (the front camera alone), ``test`` (what they said next, from all
cameras) and ``other`` (words in another voice, from the front). A method's head is trained on the first and scored on
the others; what is done is found again by its table.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.app import builders, learning, navigating, personalizing, run_inputs, talking
from jax_talker.app.judging import angles, ceilings, protocols, tables
from jax_talker.app.judging.head import Head
from jax_talker.app.judging.judge import Bar
from jax_talker.app.judging.provenance import provenance
from jax_talker.app.judging.score import Missing, Result, Score
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


def scored(method: str, config: Any, speaker: Speaker, person: Person, judges: Judges) -> tables.Table:
    """Rows of the truth's encoder, of the head's ceiling where it is asked for, and of the head."""

    def head_of(clip: Clip) -> Head:
        corrected = speaker.with_corrected_cameras(clip)
        place = method, config, speaker, corrected, judges.weights, judges.landmark_model
        return Head(*place, tested=np.arange(clip.frames), ceiling=judges.ceiling)

    test, other, bar = head_of(person.test), head_of(person.other), judges.bar
    cameras = angles.in_order({"front": person.test, **{n: person.test.view(n) for n in person.test.view_names}})
    truth = test.filmed("front", person.test)
    encoded = ceilings.encoded_row(test, {FRONT: (truth, person.test)}, (*PICTURES, "jaw"), bar)
    fit = lambda head: {FRONT: ceilings.Camera(head.clip.arrays["label"], person.test)}  # noqa: E731
    rows = [encoded, *ceilings.driven_rows([test], fit, PICTURES, bar)]
    found = protocols.seen_from(test, cameras, PICTURES, bar)
    own = test.shown("front", talking.script_of_clip(test.clip, test.test, "clip"))
    found[FRONT] += test.judged(own, truth, ("jaw",), bar)
    script = talking.script_of_clip(other.clip, other.test, "clip")
    shown = other.shown(OTHER, script)
    found[OTHER] = other.judged(shown, other.filmed(OTHER, person.other), (*PICTURES, "jaw"), bar, camera=person.other)
    found[LEAKED] = _leaked(config, speaker, person.train)
    rows.append(tables.Row(method, found))
    return tables.Table(f"{person.name}: {method}", rows, provenance({method: config.to_dict()}, "benchmark"))


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
    names = dict.fromkeys(row.name for table in found for row in table.rows)
    ranked = sorted(names, key=lambda name: methods.index(name) if name in methods else -1)
    rows = [
        tables.Row(name, _mean([row for table in found for row in table.rows if row.name == name])) for name in ranked
    ]
    people = dict.fromkeys(table.title.partition(": ")[0] for table in found)
    title = f"synthetic people of the seeds {', '.join(people)}"
    configs = {table.title: (table.provenance.get("config") or {}) for table in found}
    notes = _people(found, methods)
    return tables.Table(title, rows, provenance(configs, "benchmark"), notes)


def shortened(table: tables.Table) -> tables.Table:
    """The columns for people; the others are in the long table."""
    rows = [tables.Row(row.name, {g: r for g, r in row.results.items() if g in MAIN}) for row in table.rows]
    return replace(table, rows=rows)


def _mean(rows: Iterable[tables.Row]) -> dict[str, list[Result]]:
    known: dict[str, dict[str, list[Result]]] = {}
    for row in rows:
        for group, results in row.results.items():
            for result in results:
                known.setdefault(group, {}).setdefault(result.name, []).append(result)
    return {group: [_mean_of(results) for results in by_name.values()] for group, by_name in known.items()}


def _mean_of(results: list[Result]) -> Result:
    scores = [result for result in results if isinstance(result, Score)]
    if not scores:
        return results[0]
    missing = [result for result in results if isinstance(result, Missing)]
    values = np.array([score.value for score in scores])
    known = values[~np.isnan(values)]
    value = float(known.mean()) if known.size else np.nan
    note = "" if len(known) == len(results) else f"of {len(known)} of {len(scores) + len(missing)} people"
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
