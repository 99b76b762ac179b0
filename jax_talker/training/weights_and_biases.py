"""A run's records in Weights & Biases as well, and its only importer (extra ``wandb``)."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.errors import UserError

RUN = "wandb.json"  # in a run's folder: the project and the id there of the run that gets its records


class Mirror:
    """A run of the project ``project``, called after the run's folder. WANDB_MODE=offline keeps it on this machine.

    Made before any work: UserError where the package is missing or nobody is logged in. The run begins with its first
    record, or goes on, if the folder's records have gone to one of this project before (``RUN``).
    """

    def __init__(self, project: str, workdir: Path):
        try:
            import wandb  # seconds, and only for those who ask for it
        except ImportError:
            raise UserError(
                "config.log.wandb: Weights & Biases is not installed; pip install 'jax-talker[wandb]', or unset it"
            ) from None
        self._wandb, self._project, self._workdir = wandb, project, workdir
        self._stages: set[str] = set()
        if wandb.setup().settings.mode == "online":
            self._must(lambda: wandb.login(verify=True))

    @functools.cached_property
    def _run(self) -> Any:
        path = self._workdir / RUN
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        how = {"project": self._project, "name": self._workdir.name, "dir": str(self._workdir), "resume": "allow"}
        if known.get("project") == self._project:
            how["id"] = known["id"]
        run = self._must(lambda: self._wandb.init(**how))
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"project": self._project, "id": run.id}) + "\n", encoding="utf-8")
        partial.replace(path)
        return run

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, over the stage's own steps."""
        self._log(stage, step, dict(values))

    def image(self, stage: str, step: int, name: str, pixels: np.ndarray) -> None:
        """A picture [H, W, 3] of bytes."""
        self._log(stage, step, {name: self._wandb.Image(pixels)})

    def close(self) -> None:
        if "_run" in vars(self):
            self._run.finish()

    def _must(self, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except self._wandb.Error as error:
            raise UserError(f"config.log.wandb: {error}; WANDB_MODE=offline keeps it on this machine") from None

    def _log(self, stage: str, step: int, values: dict[str, Any]) -> None:
        if stage not in self._stages:
            self._stages.add(stage)
            self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self._run.log({f"{stage}/{name}": value for name, value in (values | {"step": step}).items()})
