"""A head that is being trained, as it is learnt: from each checkpoint to the next."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from jax_talker.app import navigating
from jax_talker.app.run_folder import CONFIG, RunFolder
from jax_talker.app.viewing import opening
from jax_talker.app.viewing.drawing import Drawer
from jax_talker.app.viewing.page import Page
from jax_talker.app.viewing.shown import Shown
from jax_talker.training.log import read_scalars

WAIT = 2.0  # s between two looks for a run, and for its first checkpoint
SAID = ("loss", "psnr", "psnr_lower")  # of what training measures


def wait_for_a_head(folder: RunFolder, tell: Callable[[str], None]) -> None:
    """Return as soon as there is a checkpoint of a head that speaks. UserError where there is no such folder, or what
    lies there is no run's."""
    if folder.root.is_dir() and not (folder.root / CONFIG).is_file():
        tell(f"waiting for a training to begin in {folder.root}")
        while not (folder.root / CONFIG).is_file():
            time.sleep(WAIT)
    folder.config()
    if not folder.steps_done(navigating.STAGE):
        tell(f"waiting for the first checkpoint of {navigating.STAGE!r} in {folder.root}")
    while not folder.steps_done(navigating.STAGE):
        time.sleep(WAIT)


@dataclass
class Follower:
    """Renews a page's head when there is a newer one."""

    page: Page
    shown: Shown
    folder: RunFolder
    step: int = field(init=False)

    def __post_init__(self) -> None:
        self.step = self.folder.steps_done(navigating.STAGE)

    def look(self) -> None:
        """Show the newest checkpoint, if it is another one. UserError where it cannot be read."""
        step = self.folder.steps_done(navigating.STAGE)
        if step == self.step:
            return
        shown = self.shown
        speaker = navigating.open_speaker(shown.config, self.folder)
        renewed = opening.show(shown.name, shown.config, Drawer(speaker, shown.drawer.size), shown.clip)
        self.page.renew(renewed, f"step {step}: {measured(self.folder, step)}")
        self.step = step


def measured(folder: RunFolder, step: int) -> str:
    """What training last measured up to a step, in words."""
    told = []
    for name, (steps, values) in read_scalars(folder.root).get(navigating.STAGE, {}).items():
        if name in SAID and (known := steps <= step).any():
            told.append(f"{name} {values[known][-1]:.4g}")
    return ", ".join(told) or "nothing measured yet"
