"""A head's motion as an .npz file: coefficients, and how the head is held. To be looked at, changed, shown again."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from jax_talker.app.person import FILE as PERSON
from jax_talker.app.run_folder import RunFolder
from jax_talker.data.clip.clip import FPS
from jax_talker.errors import UserError
from jax_talker.models.navigator import Coefficients

ARRAYS = ("expression", "lips", "held")


@dataclass(frozen=True)
class Motion:
    """T frames of 25 fps."""

    coefficients: Coefficients  # [T, k_e], [T, k_l]
    held: Float32[np.ndarray, "T 25"]


def save_motion(path: Path, motion: Motion, folder: RunFolder) -> None:
    """Write expression [T, k_e], lips [T, k_l], held [T, 25], fps, and whose head they move."""
    arrays = {name: np.asarray(getattr(motion.coefficients, name), np.float32) for name in ("expression", "lips")}
    with path.open("wb") as file:  # numpy would add a suffix to a path's name
        arrays |= {"held": np.asarray(motion.held, np.float32), "fps": np.array(FPS), "head": np.array(_head(folder))}
        np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]  # numpy's stub takes names for flags


def load_motion(path: str | Path, folder: RunFolder, expressions: int, lips: int) -> Motion:
    """Read what ``save_motion`` wrote; ``expressions`` and ``lips`` are the head's numbers of coefficients.

    UserError for another head's, whose directions mean something else, and for what is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name], np.float32) for name in ARRAYS}
            head = str(stored["head"]) if "head" in stored.files else ""
    except FileNotFoundError:
        raise UserError(f"{path}: no such file of coefficients") from None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise UserError(f"{path}: not a file of coefficients ({error}); render --coefficients-out writes one") from None
    count = len(arrays["held"])
    wanted = {"expression": (count, expressions), "lips": (count, lips), "held": (count, 25)}
    for name, shape in wanted.items():
        if arrays[name].shape != shape or not count:
            raise UserError(f"{path}: {name} is {arrays[name].shape}, this head's would be {shape}")
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"{path}: {name} holds numbers that are not finite")
    if head and head != _head(folder):
        raise UserError(f"{path}: was written by another head, whose coefficients mean something else")
    return Motion(Coefficients(jnp.asarray(arrays["expression"]), jnp.asarray(arrays["lips"])), arrays["held"])


def _head(folder: RunFolder) -> str:
    return hashlib.sha256((folder.personal / PERSON).read_bytes()).hexdigest()
