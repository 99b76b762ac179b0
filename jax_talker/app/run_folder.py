"""A run's folder: the configuration, the personalised prior with its anchor, checkpoints, records.

config.json          the resolved configuration
run.json             what the run is made of: clip, prior and audio features by their hashes (run_inputs.Input.record)
capacity.json        room that the rasteriser was found to need, where a guess was too little, and in which step
personal/            the person's generator (a prior folder) and person.safetensors (app/person.py)
checkpoints/<stage>  Orbax checkpoints of each stage
log/, scalars.jsonl  TensorBoard events; the same scalars as text
skipped.jsonl        frames of steps that were not applied
wandb.json, wandb/   which run of Weights & Biases gets the records, and what it keeps here
profile/<stage>      where the time went, of train --profile
.lock                held by the process that works here
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jax_talker.app import config_changes
from jax_talker.app.person import FILE as PERSON
from jax_talker.app.run_inputs import Input, check_level, find_clip, find_features, with_level
from jax_talker.data.clip.clip import Clip
from jax_talker.errors import UserError
from jax_talker.training import processes
from jax_talker.training.log import SCALARS, SKIPPED
from jax_talker.training.weights_and_biases import RUN as WANDB

CONFIG, RECORD, CAPACITY, LOCK = "config.json", "run.json", "capacity.json", ".lock"
FORMAT = 1  # of run.json
KINDS = ("clip", "prior", "features")  # of what a run is made of


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run and what is read from and written to them."""

    root: Path

    @property
    def personal(self) -> Path:
        return self.root / "personal"

    @property
    def personalised(self) -> bool:
        """Whether personalisation has been finished here."""
        return (self.personal / "config.json").is_file() and (self.personal / PERSON).is_file()

    def checkpoints(self, stage: str) -> Path:
        return self.root / "checkpoints" / stage

    def steps_done(self, stage: str) -> int:
        """Steps of a stage after which it would be gone on with."""
        return max((step for name, step in self._saved() if name == stage), default=0)

    def config(self, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The configuration the run was made with; ``defaults`` fill in what earlier versions did not know, but for
        the level at which a head hears (run_inputs.with_level), which today's default must not change."""
        path = self.root / CONFIG
        if not path.is_file():
            raise UserError(f"{self.root}: not a run folder (no config.json); make one with python -m jax_talker.train")
        stored = _read(path)
        if "task" not in stored:
            raise UserError(f"{path}: not a run's configuration; choose the folder of a run")
        return _filled(with_level(stored), defaults or {})

    def made_of(self, kind: str) -> dict[str, Any] | None:
        """What is known about the run's "clip", "prior" or "features" (Input.record); None in an earlier version's."""
        path = self.root / RECORD
        if not path.is_file():
            return None
        stored = _read(path)
        if stored.get("format") != FORMAT:
            raise UserError(
                f"{path}: run format {stored.get('format')!r}, this version reads {FORMAT}; train in another --workdir"
            )
        return stored.get(kind)

    @property
    def clip_size(self) -> int:
        """Width and height of the clip's pictures; 0 in runs of earlier versions, which did not keep it."""
        return (self.made_of("clip") or {}).get("size", 0)

    def find_clip(self, given: str | None = None) -> Clip:
        """The clip that the run was trained on (run_inputs.find_clip); ``given`` is the flag --clip."""
        return find_clip(self.root, self.made_of("clip"), _typed(self.config(), "clip"), given)

    def find_features(self, given: str | None = None) -> str | None:
        """The weights of the extractor that the run was trained with (run_inputs.find_features), None where it has
        none; ``given`` is the flag --features-weights."""
        data = self.config().get("data", {})
        name, configured = data.get("features", "logmel"), data.get("features_weights")
        return find_features(self.root, self.made_of("features"), name, configured, given)

    def check_writable(self) -> None:
        """UserError, before any work, where nothing can be written into the folder."""
        try:
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise UserError(f"{self.root}: cannot write there ({error.strerror})") from None

    @contextlib.contextmanager
    def alone(self, *, new: bool = False) -> Iterator[None]:
        """Be the only process that works in this folder, which is made if need be; a second one gets a UserError.

        ``new`` refuses a folder in which there is something already.
        """
        if not processes.writes():  # the process that does is alone for all
            yield
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / LOCK, timeout=0)
            lock.acquire()
        except Timeout:
            raise UserError(f"{self.root}: another process is working in this run; wait for it, or stop it") from None
        except (OSError, NotImplementedError) as error:  # the latter where a file system has no locks
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{self.root}: cannot write there ({reason})") from None
        with lock:
            if new and any(path.name != LOCK for path in self.root.iterdir()):
                raise UserError(f"{self.root}: exists already; remove it or pass another --workdir")
            yield

    @contextlib.contextmanager
    def begun(
        self,
        config: Mapping[str, Any],
        inputs: Sequence[Input],
        stages: Sequence[str],
        *,
        resume: bool,
        behind: Sequence[str] = (),
        allow_changes: bool = False,
    ) -> Iterator[list[str]]:
        """Run ``stages`` in the folder (``alone``); yields warnings for the person.

        Begun anew (not ``resume``), a folder with any stage's checkpoints is refused, but for those of the finished
        stages ``behind`` from whose outcome, personal/, ``stages`` go on. What is gone on with must have been made of
        the same inputs, and resumed with the same configuration unless changes are allowed (config_changes); warnings
        say where it differs. An error before the first new checkpoint leaves a run that was gone on with as it was.
        """
        config = with_level(config)
        going_on = self._check_stages(stages, behind, resume)
        if not going_on:
            self._forget_records()
            self._write(config, inputs, {})
            yield []
            return
        warnings = self._check_inputs(config, inputs)
        changed = config_changes.between(self.config(), config)
        if resume and not allow_changes:
            config_changes.check(self.root, changed)
        warnings += [f"resuming with another {change}" for change in changed]
        files = (self.root / CONFIG, self.root / RECORD)
        before = [path.read_bytes() if path.is_file() else None for path in files]
        state = self._saved(), self.personalised
        self._write(config, inputs, {kind: self.made_of(kind) for kind in KINDS})
        try:
            yield warnings
        except BaseException:
            if processes.writes() and (self._saved(), self.personalised) == state:
                for path, content in zip(files, before, strict=True):
                    path.unlink() if content is None else _replace(path, content)
            raise

    def _check_stages(self, stages: Sequence[str], behind: Sequence[str], resume: bool) -> bool:
        """Whether there is something here to go on with; UserError where ``stages`` must not begin."""
        present = sorted({stage for stage, _ in self._saved()})
        if foreign := [stage for stage in present if stage not in (*stages, *behind)]:
            raise UserError(
                f"{self.root}: holds checkpoints of {' and '.join(foreign)}, which would not fit what "
                f"{' and '.join(stages)} makes; pass another --workdir"
            )
        again = [stage for stage in present if stage in stages]
        if not resume and again:
            raise UserError(
                f"{self.root}: {' and '.join(again)} has been run here; pass --resume to go on, or another --workdir"
            )
        if not resume and self.personalised and not behind:
            raise UserError(f"{self.root}: has been personalised already; pass another --workdir")
        if not (self.root / CONFIG).is_file():
            if present:
                raise UserError(
                    f"{self.root}: has checkpoints but no {CONFIG} that says of what; pass another --workdir"
                )
            return False
        self.config()  # some other program's config.json is not overwritten
        return bool(present) or self.personalised

    def _check_inputs(self, config: Mapping[str, Any], inputs: Sequence[Input]) -> list[str]:
        """UserError where the run was made of something else than ``inputs``."""
        stored = self.config()
        warnings = []
        check_level(self.root, stored, config)
        for given in inputs:
            known = self.made_of(given.kind)
            if known is None:  # an earlier version's: by the path, which is all that it kept
                was = _typed(stored, given.kind)
                if was != _typed(config, given.kind):
                    raise _other(self.root, given, f"{was} (an earlier version kept no hash of it)")
                warnings.append(f"an earlier version kept no hash of the {given.kind}; {given.path} is taken for it")
            elif known["sha256"] != given.sha256:
                raise _other(self.root, given, f"{known['path']} (SHA-256 {known['sha256'][:12]}…)")
        return warnings

    def _saved(self) -> set[tuple[str, int]]:
        """Stage and step of every whole checkpoint."""
        found = (self.root / "checkpoints").glob("*/*")
        return {(path.parent.name, int(path.name)) for path in found if path.name.isdigit()}

    def _forget_records(self) -> None:
        """Records of a run that left no checkpoint do not mix with those of the next one."""
        if processes.writes() and (self.root / CONFIG).is_file():
            for name in (SCALARS, SKIPPED, CAPACITY, WANDB):
                (self.root / name).unlink(missing_ok=True)
            for name in ("log", "profile"):
                shutil.rmtree(self.root / name, ignore_errors=True)

    def _write(self, config: Mapping[str, Any], inputs: Sequence[Input], known: Mapping[str, Any]) -> None:
        record = {given.kind: given.record(self.root) for given in inputs}
        _store(self.root / RECORD, {"format": FORMAT, **dict.fromkeys(KINDS), **known, **record})
        _store(self.root / CONFIG, config)

    def capacity(self, at: tuple[str, int] | None = None) -> int | None:
        """(tile, Gaussian) pairs of an image that the rasteriser had to make room for; None: its guess was enough.

        ``at`` (stage, step): as it was known there, without what was noticed in later steps of that stage.
        """
        known = [room for stage, step, room in self._grown() if at is None or stage != at[0] or step <= at[1]]
        return max(known, default=None)

    def save_capacity(self, capacity: int | None, stage: str = "", step: int = 0) -> None:
        """Remember how much room was needed from ``step`` on, if it is more than was known there. Later steps of that
        stage, from which an interrupted run did not go on, are forgotten."""
        with processes.writer_first("capacity"):
            known = self._grown()
            kept = [one for one in known if one[0] != stage or one[1] <= step]
            most = max((room for _, _, room in kept), default=0)
            if (capacity or 0) > most:
                kept, most = [*kept, (stage, step, capacity or 0)], capacity or 0
            if kept != known:
                _store(self.root / CAPACITY, {"capacity": most, "grown": kept})

    def _grown(self) -> list[tuple[str, int, int]]:
        """(stage, step, room) each time that more was needed; earlier versions kept the last one alone."""
        path = self.root / CAPACITY
        stored = _read(path) if path.is_file() else {"grown": []}
        return [tuple(known) for known in stored.get("grown", [("", 0, stored.get("capacity", 0))])]


def _typed(config: Mapping[str, Any], kind: str) -> str | None:
    data = config.get("data", {})
    if kind == "features":
        return data.get("features_weights") or data.get("features", "logmel")
    return data.get("clip") if kind == "clip" else config.get("prior", {}).get("path")


def _other(root: Path, given: Input, was: str) -> UserError:
    return UserError(
        f"{root}: was made with the {given.kind} {was}, not with {given.path} (SHA-256 {given.sha256[:12]}…), which is "
        f"another or has changed since; give the one it was made with, or another --workdir"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error})") from None
    if not isinstance(stored, dict):
        raise UserError(f"{path}: damaged (not a JSON object)")
    return stored


def _store(path: Path, content: Mapping[str, Any]) -> None:
    """By the process that writes."""
    if processes.writes():
        _replace(path, (json.dumps(content, indent=1) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all, also when the disk is full or the process is killed."""
    beside = path.with_name(f".{path.name}.partial")
    beside.write_bytes(content)
    os.replace(beside, path)


def _filled(stored: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    out = {**defaults, **stored}
    for name, default in defaults.items():
        if isinstance(default, Mapping) and isinstance(out[name], Mapping):
            out[name] = _filled(out[name], default)
    return out
