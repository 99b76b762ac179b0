"""What a person sees of long work: a bar with time left and losses, TensorBoard scalars and images, a record."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm


class Log:
    """Scalars and images of one run: TensorBoard events in ``workdir/log`` and one JSON line per record.

    ``scalars.jsonl`` holds {"stage", "step", name: value …}; curves are drawn from it, without TensorBoard.
    """

    def __init__(self, workdir: str | Path):
        self.workdir = Path(workdir)
        self.workdir.mkdir(parents=True, exist_ok=True)
        self._writer = SummaryWriter(str(self.workdir / "log"))
        self._lines = (self.workdir / "scalars.jsonl").open("a")

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._lines.close()

    def say(self, text: str) -> None:
        """One line for the person, without tearing a bar apart."""
        tqdm.write(text)

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Record numbers of a step."""
        for name, value in values.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)
        self._lines.write(json.dumps({"stage": stage, "step": step, **values}) + "\n")
        self._lines.flush()

    def image(self, stage: str, step: int, name: str, pixels: np.ndarray) -> None:
        """Record a picture [H, W, 3] in [0, 1]."""
        self._writer.add_image(f"{stage}/{name}", np.clip(pixels, 0, 1), step, dataformats="HWC")

    def bar(self, stage: str, first: int, steps: int) -> tqdm:
        """A progress bar from step ``first`` to ``steps``."""
        return tqdm(total=steps, initial=first, desc=stage, unit="step", dynamic_ncols=True, smoothing=0.1)


def progress(iterable: Iterable, *, total: int, desc: str = "", unit: str = "frame") -> Iterator:
    """A bar around any loop."""
    return iter(tqdm(iterable, total=total, desc=desc, unit=unit, dynamic_ncols=True))


def read_scalars(workdir: str | Path) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """stage → name → (steps, values) of everything that was logged; a resumed run's later record wins."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    path = Path(workdir) / "scalars.jsonl"
    for line in path.read_text().splitlines() if path.is_file() else []:
        record = json.loads(line)
        stage, step = record.pop("stage"), record.pop("step")
        for name, value in record.items():
            found.setdefault(stage, {}).setdefault(name, {})[step] = value
    return {
        stage: {n: (np.array(sorted(v)), np.array([v[s] for s in sorted(v)])) for n, v in names.items()}
        for stage, names in found.items()
    }
