"""A head that is ready to be looked at."""

from dataclasses import dataclass
from typing import Any

from jax_talker.app.viewing.drawing import Drawer
from jax_talker.app.viewing.performing import Performance
from jax_talker.app.viewing.puppet import Puppet
from jax_talker.data.clip.clip import Clip


@dataclass(frozen=True)
class Shown:
    """What is shown of a run, and of the clip that it was learnt from."""

    name: str
    config: Any
    drawer: Drawer
    puppet: Puppet
    clip: Clip | None
    own: Performance | None  # the clip's sound, or its beginning, where the clip is there
