"""A run's records in Weights & Biases as well, and its only importer (extra ``wandb``)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.errors import UserError


class Mirror:
    """A run of the project ``project``, called after the run's folder. WANDB_MODE=offline keeps it on this machine."""

    def __init__(self, project: str, workdir: Path):
        try:
            import wandb  # seconds, and only for those who ask for it
        except ImportError:
            raise UserError(
                "config.log.wandb: Weights & Biases is not installed; pip install 'jax-talker[wandb]', or unset it"
            ) from None
        self._wandb = wandb
        try:
            self._run = wandb.init(project=project, name=workdir.name, dir=str(workdir), resume="allow")
        except wandb.Error as error:
            raise UserError(f"config.log.wandb: {error}; WANDB_MODE=offline keeps it on this machine") from None
        self._stages: set[str] = set()

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, over the stage's own steps."""
        self._log(stage, step, dict(values))

    def image(self, stage: str, step: int, name: str, pixels: np.ndarray) -> None:
        """A picture [H, W, 3] of bytes."""
        self._log(stage, step, {name: self._wandb.Image(pixels)})

    def close(self) -> None:
        self._run.finish()

    def _log(self, stage: str, step: int, values: dict[str, Any]) -> None:
        if stage not in self._stages:
            self._stages.add(stage)
            self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self._run.log({f"{stage}/{name}": value for name, value in (values | {"step": step}).items()})
