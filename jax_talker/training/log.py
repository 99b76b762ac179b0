"""What a person sees of long work: a bar with time left and losses, TensorBoard scalars and images, a record."""

import functools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import numpy as np
from tqdm import tqdm

from jax_talker.errors import UserError
from jax_talker.training import processes
from jax_talker.training.profiling import Clock, Profile

if TYPE_CHECKING:
    from jax_talker.training.events import Events
    from jax_talker.training.weights_and_biases import Mirror

SCALARS, SKIPPED = "scalars.jsonl", "skipped.jsonl"


@runtime_checkable
class Bar(Protocol):
    """What the loop wants of a progress bar, which is a context manager; tqdm's are such."""

    def set_postfix(self, ordered_dict: Mapping[str, object]) -> None: ...
    def update(self) -> object: ...
    def __enter__(self) -> "Bar": ...
    def __exit__(self, *error: object) -> None: ...


class Log:
    """Scalars and images of one run: TensorBoard events in ``workdir/log`` and one JSON line per record. Of several
    processes that train together one writes and speaks (training.processes).

    ``scalars.jsonl`` holds {"stage", "step", name: value …}; curves are drawn from it, without TensorBoard.
    ``skipped.jsonl`` holds {"stage", "step", "frames"} of the steps that were not applied. ``profile``: where each
    stage's time goes is said and kept in ``workdir/profile`` (training.profiling). ``wandb``: a project of Weights &
    Biases that gets the records as well; what that needs is looked for on entering.
    """

    def __init__(self, workdir: str | Path, *, profile: bool = False, wandb: str | None = None):
        self.workdir, self._profile, self._project = Path(workdir), profile, wandb
        self._mirror: Mirror | None = None

    def __enter__(self) -> "Log":
        if self._project is not None and processes.writes():
            from jax_talker.training.weights_and_biases import Mirror

            self._mirror = Mirror(self._project, self.workdir)
        return self

    def __exit__(self, *_: object) -> None:
        if "_events" in vars(self):
            self._events.close()
        if self._mirror is not None:
            self._mirror.close()

    @functools.cached_property
    def _events(self) -> "Events":
        """Opened with the first record: a run that is refused before leaves no empty files."""
        from jax_talker.training.events import Events  # seconds that programs need not wait for which log nothing

        return Events(self.workdir / "log")

    @functools.cached_property
    def _lines(self) -> Path:
        """The file of lines, rid of a last one that was cut off when a process was killed or a disk was full."""
        path = self.workdir / SCALARS
        self.workdir.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            content = path.read_bytes()
            if not content.endswith(b"\n"):
                path.write_bytes(content[: content.rfind(b"\n") + 1])
        return path

    def say(self, text: str) -> None:
        """One line for the person, without tearing a bar apart."""
        if processes.writes():
            tqdm.write(text)

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Record numbers of a step; what is not finite is null, since JSON knows no NaN."""
        if not processes.writes():
            return
        stored = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with self._lines.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"stage": stage, "step": step, **stored}, allow_nan=False) + "\n")
        for name, value in stored.items():
            if value is not None:
                self._events.scalar(step, f"{stage}/{name}", value)
        if self._mirror is not None:
            self._mirror.scalars(stage, step, {name: value for name, value in stored.items() if value is not None})

    def skipped(self, stage: str, step: int, frames: list[int]) -> None:
        """Record and say the clip's frames of a step that was not applied; without any, batches are no frames."""
        if not frames or not processes.writes():
            return
        self.workdir.mkdir(parents=True, exist_ok=True)
        with (self.workdir / SKIPPED).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"stage": stage, "step": step, "frames": frames}) + "\n")
        self.say(f"{stage}: step {step} was not applied; its frames: {', '.join(map(str, frames))}")

    def image(self, stage: str, step: int, name: str, pixels: np.ndarray) -> None:
        """Record a picture [H, W, 3] in [0, 1]; successive ones [T, H, W, 3] are a video of 25 frames a second."""
        if not processes.writes():
            return
        shown = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
        if shown.ndim == 4:
            self._events.video(step, f"{stage}/{name}", shown)
            return
        self._events.image(step, f"{stage}/{name}", shown)
        if self._mirror is not None:
            self._mirror.image(stage, step, name, shown)

    def clock(self, stage: str) -> Clock:
        """What measures the steps of a stage."""
        return Profile(self.workdir / "profile", stage, self.say) if self._profile and processes.writes() else Clock()

    def bar(self, stage: str, first: int, steps: int, unit: str = "step") -> Bar:
        """A progress bar from step ``first`` to ``steps``."""
        how = {"dynamic_ncols": True, "smoothing": 0.1, "disable": not processes.writes()}
        bar = tqdm(total=steps, initial=first, desc=stage, unit=unit, **how)
        return cast(Bar, bar)


def progress(iterable: Iterable, *, total: int | None, desc: str = "", unit: str = "frame") -> Iterator:
    """A bar around any loop."""
    return iter(tqdm(iterable, total=total, desc=desc, unit=unit, dynamic_ncols=True))


def read_scalars(workdir: str | Path) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """stage → name → (steps, values) of everything that was logged; a resumed run's later record wins.

    Values that were not finite are NaN. A last line that was cut off (a killed process, a full disk) does not count.
    """
    found: dict[str, dict[str, dict[int, float]]] = {}
    path = Path(workdir) / SCALARS
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else [""]
    for line in lines[:-1]:
        try:
            record = json.loads(line)
            stage, step = record.pop("stage"), record.pop("step")
        except (ValueError, AttributeError, KeyError, TypeError):
            raise UserError(f"{path}: damaged ({line[:40]!r} is not a record); delete that line") from None
        for name, value in record.items():
            found.setdefault(stage, {}).setdefault(name, {})[step] = math.nan if value is None else value
    return {
        stage: {n: (np.array(sorted(v)), np.array([v[s] for s in sorted(v)])) for n, v in names.items()}
        for stage, names in found.items()
    }
