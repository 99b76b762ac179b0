"""The main job on the embedded default, in minutes on a CPU: ``make demo``.

The film of a synthetic person comes along, taken by five cameras. A head is personalised and trained on the front one
alone, speaks words it never heard, seen from the front and along a spiral, and is scored on held-out frames from all
five.
"""

import functools
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from jax_talker import cli, people
from jax_talker.app import evaluating, learning, navigating, personalizing, run_inputs, talking
from jax_talker.app.publishing import ON, publish
from jax_talker.app.run_folder import RunFolder
from jax_talker.data.clip.clip import FPS
from jax_talker.data.read.packed_clip import unpack
from jax_talker.people.expression import voice_of
from jax_talker.people.filming import draw_clip_sheet
from jax_talker.procedural import speech
from jax_talker.training.devices import describe
from jax_talker.training.log import Log, progress

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "configs" / "demo.py"
CONFIG = config_flags.DEFINE_config_file("config", str(DEFAULT_CONFIG), "A file of configs/.")
WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "Where everything goes.")
SEED = flags.DEFINE_integer("seed", 11, "Which words the head says that it never heard.")
SECONDS = flags.DEFINE_float(
    "seconds", 22.0, "How much of the film is used; a last eleventh is held out.", lower_bound=2, upper_bound=22
)
SPEECH = flags.DEFINE_float("speech", 6.0, "Length of the speech that the head never heard.", lower_bound=1)
SIZE = flags.DEFINE_integer("size", 256, "Pixels on a side, of 256 that were filmed.", lower_bound=32, upper_bound=256)

FILM = Path(people.__file__).parent / "assets" / "film"


def main() -> None:
    started = time.time()
    config = CONFIG.value
    folder = RunFolder(Path(WORKDIR.value))
    with folder.alone(new=True), Log(folder.root) as log:
        log.say(f"computing on {describe()}")
        log.say(f"a synthetic person, filmed for {SECONDS.value:g} s by 5 cameras, is unpacked")
        bar = functools.partial(tqdm, desc="film", unit="camera", dynamic_ncols=True)
        root, frames = folder.root / "clip", round(SECONDS.value * FPS)
        clip = unpack(FILM, root, frames=frames, size=SIZE.value, progress=lambda cameras, n: bar(cameras, total=n))
        draw_clip_sheet(clip)
        shutil.copy(clip.root / "contact_sheet.png", folder.root)
        config.data.clip = str(clip.root)
        inputs = [*learning.checked(config), run_inputs.prior_input(config.prior.path)]
        with folder.begun(config.to_dict(), inputs, [*personalizing.STAGES, *navigating.STAGES], resume=False):
            begun = personalizing.personalize(config, folder, log, resume=False)
            speaker = navigating.train(config, folder, log, resume=False, begun=begun)

        who: Any = clip.source["people"]
        words = speech.speak(SPEECH.value, np.random.default_rng([SEED.value, 1]), voice_of(int(who["seed"])))
        for camera in ("front", "spiral"):
            script = talking.script_for(words.sound, camera, held=speaker.usual, clip=clip, seed=SEED.value)
            made = talking.frames(config, speaker, script, clip.size)
            shown = progress(made, total=len(script.label), desc=camera)
            out = folder.root / f"{camera}.mp4"
            publish(out, shown, sound=script.sound, folder=folder, provenance=ON)

        scores = evaluating.evaluate(config, speaker, clip)
        evaluating.write_metrics(folder.root / "metrics.json", scores)
        evaluating.draw_curves(folder.root, folder.root / "curves.png")
        log.say("\n" + evaluating.table(scores))
        log.say(f"\ndone in {time.time() - started:.0f} s")
    for name in ("front.mp4", "spiral.mp4", "contact_sheet.png", "curves.png", "metrics.json"):
        print(folder.root / name)


if __name__ == "__main__":
    cli.run(main)
