"""Detect: was this video made by jax_talker? Reads its content credentials and looks for the invisible mark.

python -m jax_talker.detect talking.mp4

Exit code 0: made by this program. 1: neither was found, which proves nothing (docs/ethics.md). 2: cannot be read.
"""

import sys
from pathlib import Path

from absl import flags

from jax_talker import cli
from jax_talker.app import detecting
from jax_talker.errors import UserError

FILE = flags.DEFINE_string("file", None, "The video.")
EXIT_NOTHING = 1


def main() -> None:
    if not FILE.value:
        raise UserError("give a video: python -m jax_talker.detect talking.mp4")
    found = detecting.look(Path(FILE.value))
    print("\n".join(found.lines()))
    if not found.ours:
        sys.exit(EXIT_NOTHING)


if __name__ == "__main__":
    cli.run(main, given=["file"])
