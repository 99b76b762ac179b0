"""Look at synthetic people.

python -m jax_talker.people --pack HEADS --sheet people.png
"""

from pathlib import Path

import cv2
from absl import flags

from jax_talker import cli
from jax_talker.errors import UserError, check_writable
from jax_talker.people.pack import Pack
from jax_talker.people.sheet import sheet

PACK = flags.DEFINE_string("pack", None, "folder of the pack of human heads (the one with head.npz)")
SHEET = flags.DEFINE_string("sheet", None, "picture to write: 16 people, eyes and mouths, expressions, all around")
SEED = flags.DEFINE_integer("seed", 0, "the first of the people's seeds", lower_bound=0)
SIZE = flags.DEFINE_integer("size", 192, "width and height of each tile, pixels", lower_bound=32)


def main() -> None:
    if not PACK.value or not SHEET.value:
        raise UserError("give the pack with --pack and the picture to write with --sheet (see --help)")
    out = Path(SHEET.value)
    check_writable(out.parent, out)
    picture = sheet(Pack(PACK.value), SEED.value, SIZE.value)
    if not cv2.imwrite(str(out), picture[..., ::-1]):
        raise UserError(f"{out}: cannot write a picture of that name; end it with .png")
    print(f"look at {out}")


if __name__ == "__main__":
    cli.run(main)
