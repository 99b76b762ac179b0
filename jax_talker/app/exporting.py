"""Heads of a script as files for other tools."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jax_talker import geometry
from jax_talker.app import talking
from jax_talker.app.scripting import Opened
from jax_talker.errors import UserError, check_writable
from jax_talker.rendering import save_splats, with_pixel
from jax_talker.types import Gaussians

SUFFIX = ".ply"


def check_splat_path(path: str) -> Path:
    """UserError, before any work, where no such file can be written."""
    found = Path(path)
    if found.suffix.lower() != SUFFIX or found.is_dir():
        raise UserError(f"{path}: name a file that ends in {SUFFIX}")
    check_writable(found.resolve().parent, path)
    return found


def heads(opened: Opened, wanted: np.ndarray, *, pixel: bool) -> Iterator[Gaussians]:
    """The Gaussians [N, ·] of the frames ``wanted`` of the script, with the pixel that they were learnt with, if that
    is wanted, as it is seen from the front."""
    script, speaker = opened.script, opened.speaker
    if pixel and not speaker.learnt:
        raise UserError(f"{opened.folder.root}: an earlier version's, which kept no size of pictures; pass --nopixel")
    coefficients = talking.moving(opened.config, speaker, script)
    front = jnp.tile(jnp.asarray(geometry.make_label(geometry.orbit(0, 0))), (speaker.batch, 1))
    for indices, own in talking.batches_of(wanted, speaker.batch):
        part = jax.tree.map(lambda x, i=indices: jnp.asarray(x[i]), coefficients)
        formed = speaker.gaussians(part, jnp.asarray(script.held[indices]))
        if pixel:
            formed = with_pixel(formed, speaker.head.prior.camera(front, speaker.learnt))
        for number in range(own):
            yield jax.tree.map(lambda x, n=number: np.asarray(x[n]), formed)


def write(out: Path, made: Iterable[Gaussians], wanted: np.ndarray, *, numbered: bool, y_down: bool) -> list[Path]:
    """Write each as ``out``, or as ``out`` with its frame's number; returns the files."""
    out.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for number, head in zip(wanted.tolist(), made, strict=True):
        path = out.with_name(f"{out.stem}_{number:04d}{out.suffix}") if numbered else out
        save_splats(path, head, y_down=y_down)
        written.append(path)
    return written
