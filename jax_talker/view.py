"""View: a trained head in a browser; turn it, pull its face by sliders, and hear it say any sound.

python -m jax_talker.view --run runs/may
python -m jax_talker.view --run runs/may --audio speech.wav --show pictures
python -m jax_talker.view --run runs/may --follow      # while train is at work on it

Needs the extra: pip install 'jax-talker[view]'. Open to this machine alone, unless --host says otherwise.
"""

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from configs import quickstart
from jax_talker import cli
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.viewing import following, opening, performing
from jax_talker.app.viewing.drawing import WAYS
from jax_talker.app.viewing.page import Page

RUN = flags.DEFINE_string("run", None, "A run folder of python -m jax_talker.train.", required=True)
AUDIO = flags.DEFINE_string("audio", None, "A file with sound to begin with; others can be chosen on the page.")
SHOW: Any = flags.DEFINE_enum(
    "show", "auto", ["auto", *WAYS], "splats: drawn by the browser; pictures: rendered here; auto: by their number."
)
SIZE = flags.DEFINE_integer("size", 0, "Pixels on a side of pictures; 0: those of the training clip.", lower_bound=0)
HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 lets everybody in your network look.")
PORT = flags.DEFINE_integer("port", 8080, "Port to listen at; the next free one if it is taken.")
CLIP = flags.DEFINE_string("clip", None, "Where the run's clip is, when it is not found by itself.")
WEIGHTS = flags.DEFINE_string("features_weights", None, "Where the run's audio features' weights are.")
FOLLOW = flags.DEFINE_bool("follow", False, "Show a head that train is at work on, as it is learnt.")
SEED = flags.DEFINE_integer("seed", 0, "Of the blinks that --audio gets.")


def main() -> None:
    folder = RunFolder(Path(RUN.value))
    if FOLLOW.value:
        following.wait_for_a_head(folder, lambda line: print(line, flush=True))
    config: Any = ConfigDict(folder.config(quickstart.get_config().to_dict()))
    config.data.features_weights = folder.find_features(WEIGHTS.value)
    shown, missing = opening.open_head(config, folder, clip=CLIP.value, size=SIZE.value)
    given = None
    if AUDIO.value:
        given = performing.perform(config, shown.drawer.speaker, Path(AUDIO.value), seed=SEED.value)
    page = Page(shown, host=HOST.value, port=PORT.value, way=None if SHOW.value == "auto" else SHOW.value, given=given)
    if missing:
        print(f"without the truth beside it, and with guessed sliders: {missing}")
    print(f"open {page.address} in a browser; Ctrl-C ends it", flush=True)
    try:
        page.run(following.Follower(page, shown, folder).look) if FOLLOW.value else page.run()
    finally:
        page.close()


if __name__ == "__main__":
    cli.run(main)
