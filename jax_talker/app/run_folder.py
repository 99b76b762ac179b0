"""A run's folder: the configuration, the personalised prior with its anchor, checkpoints, records.

config.json          the resolved configuration
personal/            the tuned generator (a prior folder) and anchor.safetensors (latents, correction of the cameras)
checkpoints/<stage>  Orbax checkpoints of each stage
log/, scalars.jsonl  TensorBoard events; the same scalars as text
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jax_talker.data.clip.clip import Clip
from jax_talker.errors import UserError
from jax_talker.training.cameras import move_labels

ANCHOR = "anchor.safetensors"


@dataclass(frozen=True)
class Personal:
    """Where a person is in the latent space."""

    anchor: np.ndarray  # [L, D] w_can
    latents: np.ndarray  # [K, L, D] of the chosen frames
    frames: np.ndarray  # [K] their numbers
    camera: np.ndarray = field(default_factory=lambda: np.zeros(6, np.float32))  # motion of the head in all frames

    def placed(self, clip: Clip) -> Clip:
        """The clip with the cameras under which this person's generator sees it (training.cameras.move_labels)."""
        if not self.camera.any():
            return clip
        label = np.asarray(move_labels(jnp.asarray(clip.arrays["label"]), jnp.asarray(self.camera)))
        return replace(clip, arrays={**clip.arrays, "label": label})


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run and what is read from and written to them."""

    root: Path

    @property
    def personal(self) -> Path:
        return self.root / "personal"

    def checkpoints(self, stage: str) -> Path:
        return self.root / "checkpoints" / stage

    def config(self) -> dict[str, Any]:
        """The configuration the run was made with."""
        path = self.root / "config.json"
        if not path.is_file():
            raise UserError(f"{self.root}: not a run folder (no config.json); make one with python -m jax_talker.train")
        return json.loads(path.read_text())

    def begin(self, config: Mapping[str, Any], stages: list[str], *, resume: bool) -> list[str]:
        """Prepare the folder for the given stages; returns warnings.

        A fresh start refuses a folder where one of the stages has been already; resuming tells where the configuration
        differs from the stored one.
        """
        present = [s for s in stages if self.checkpoints(s).is_dir()]
        if present and not resume:
            raise UserError(
                f"{self.root}: {' and '.join(present)} has been run here; pass --resume to go on, or another --workdir"
            )
        warnings = []
        if resume and (self.root / "config.json").is_file():
            old, new = _flat(self.config()), _flat(config)
            changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            warnings = [f"resuming with another {n}: {old.get(n)!r} then, {new.get(n)!r} now" for n in changed]
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        return warnings

    def save_anchor(self, personal: Personal) -> None:
        """Write the anchor beside the tuned generator."""
        safetensors.numpy.save_file(
            {
                "anchor": personal.anchor,
                "latents": personal.latents,
                "frames": personal.frames.astype(np.int32),
                "camera": personal.camera.astype(np.float32),
            },
            self.personal / ANCHOR,
        )

    def load_anchor(self) -> Personal:
        """The anchor of a personalised run."""
        path = self.personal / ANCHOR
        if not path.is_file():
            raise UserError(f"{self.root}: not personalised yet (no {path}); run python -m jax_talker.personalize")
        stored = safetensors.numpy.load_file(path)
        still = np.zeros(6, np.float32)  # runs from before cameras were refined
        return Personal(stored["anchor"], stored["latents"], stored["frames"], stored.get("camera", still))

    def drop(self, stage: str) -> None:
        """Forget a stage's checkpoints."""
        shutil.rmtree(self.checkpoints(stage), ignore_errors=True)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = list(value) if isinstance(value, tuple) else value
    return out
