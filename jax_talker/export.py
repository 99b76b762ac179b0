"""Export: a speaking head, frame by frame, as .ply files of 3D Gaussian Splatting.

python -m jax_talker.export --run runs/may --audio speech.wav --frame 40 --out head.ply
python -m jax_talker.export --run runs/may --audio speech.wav --sequence --out frames/head.ply    # head_0000.ply …

SuperSplat and every viewer of 3DGS's .ply files open them; docs/render.md says how to make them small.
"""

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from configs import quickstart
from jax_talker import cli
from jax_talker.app import exporting, scripting
from jax_talker.app.run_folder import RunFolder
from jax_talker.data.read import stdin
from jax_talker.errors import UserError
from jax_talker.training.log import progress

RUN = flags.DEFINE_string("run", None, "A run folder of python -m jax_talker.train.", required=True)
AUDIO = flags.DEFINE_string(
    "audio",
    None,
    "Any file with sound, or 'test' / 'all': the clip's own; unset: 'all', where no coefficients are given.",
)
COEFFICIENTS = flags.DEFINE_string("coefficients", None, "A motion that render --coefficients-out wrote (.npz).")
FRAME = flags.DEFINE_integer("frame", 0, "Which frame; 25 are a second.", lower_bound=0)
SEQUENCE = flags.DEFINE_bool("sequence", False, "All frames, numbered, from --frame on.")
OUT = flags.DEFINE_string("out", None, "The .ply to write; of a sequence the name before its number.", required=True)
CLIP = flags.DEFINE_string("clip", None, "Where the run's clip is, when it is needed and not found by itself.")
WEIGHTS = flags.DEFINE_string("features_weights", None, "Where the run's audio features' weights are.")
Y_DOWN = flags.DEFINE_bool(
    "y_down", True, "The way up that viewers of 3DGS expect; --noy-down: the head's own world, y up."
)
PIXEL = flags.DEFINE_bool(
    "pixel", True, "With the pixel that each Gaussian is wider by when it is learnt; without, gaps are seen close up."
)
SEED = flags.DEFINE_integer("seed", 0, "Of the blinks that new speech gets.")


def main() -> None:
    out = exporting.check_splat_path(OUT.value)
    folder = RunFolder(Path(RUN.value))
    config: Any = ConfigDict(folder.config(quickstart.get_config().to_dict()))
    config.data.features_weights = folder.find_features(WEIGHTS.value)
    audio = AUDIO.value or (None if COEFFICIENTS.value else "all")
    with stdin.as_file(audio or "") as path:
        asked = scripting.Asked(
            audio=path if audio else None,
            camera="front",
            size=1,  # nothing is rendered
            clip=CLIP.value,
            coefficients=COEFFICIENTS.value,
            seed=SEED.value,
        )
        opened = scripting.open_run(config, folder, asked)
    count = len(opened.script.label)
    if FRAME.value >= count:
        raise UserError(f"--frame {FRAME.value}: there are {count} frames, 0 to {count - 1}")
    wanted = np.arange(FRAME.value, count if SEQUENCE.value else FRAME.value + 1)
    heads = exporting.heads(opened, wanted, pixel=PIXEL.value)
    if SEQUENCE.value:
        heads = progress(heads, total=len(wanted), desc="export")
    written = exporting.write(out, heads, wanted, numbered=SEQUENCE.value, y_down=Y_DOWN.value)
    print(f"wrote {written[0]}" + (f" … {written[-1].name}" if len(written) > 1 else ""))


if __name__ == "__main__":
    cli.run(main)
