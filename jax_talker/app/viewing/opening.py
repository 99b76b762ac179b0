"""From a run's folder to a head that can be looked at."""

from pathlib import Path
from typing import Any

from jax_talker.app import navigating
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.viewing import performing
from jax_talker.app.viewing.drawing import Drawer
from jax_talker.app.viewing.puppet import make_puppet
from jax_talker.app.viewing.shown import Shown
from jax_talker.data.clip.clip import Clip
from jax_talker.errors import UserError


def open_head(config: Any, folder: RunFolder, *, clip: str | None, size: int = 0) -> tuple[Shown, str | None]:
    """A trained head, and why its clip is not beside it (None: it is).

    ``clip`` says where the clip is, if it is not found by itself: then UserError where it is not there either.
    """
    speaker = navigating.open_speaker(config, folder)
    try:
        found, missing = speaker.with_corrected_cameras(folder.find_clip(clip)), None
    except UserError as error:
        if clip is not None:
            raise
        found, missing = None, str(error)
    pixels = size or (found.size if found is not None else folder.clip_size)
    name = Path(folder.root).resolve().name
    return show(name, config, Drawer(speaker, pixels), found), missing


def show(name: str, config: Any, drawer: Drawer, clip: Clip | None) -> Shown:
    """A head with what its sliders mean and what its clip says."""
    if clip is None:
        return Shown(name, config, drawer, make_puppet(config, drawer.speaker, None, None), None, None)
    own = performing.perform_clip(config, drawer.speaker, clip)
    puppet = make_puppet(config, drawer.speaker, own.coefficients, clip)
    return Shown(name, config, drawer, puppet, clip, own.cut(performing.LONGEST))
