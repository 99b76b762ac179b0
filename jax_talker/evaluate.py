"""Evaluate: scores on the held-out tail, from the clip's own camera and from its true further cameras.

python -m jax_talker.evaluate --run runs/may
"""

from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from configs import quickstart
from jax_talker import cli
from jax_talker.app import evaluating, navigating
from jax_talker.app.run_folder import RunFolder

RUN = flags.DEFINE_string("run", None, "A run folder of python -m jax_talker.train.", required=True)
CLIP = flags.DEFINE_string("clip", None, "Where the run's clip is, when it is not found by itself.")
WEIGHTS = flags.DEFINE_string(
    "features_weights",
    None,
    "Where the weights of the run's audio features are, when not found by themselves.",
)


def main() -> None:
    folder = RunFolder(Path(RUN.value))
    config = ConfigDict(folder.config(quickstart.get_config().to_dict()))
    config.data.features_weights = folder.find_features(WEIGHTS.value)
    clip = folder.find_clip(CLIP.value)
    folder.check_writable()
    scores = evaluating.evaluate(config, navigating.open_speaker(config, folder), clip)
    evaluating.write_metrics(folder.root / "metrics.json", scores)
    evaluating.draw_curves(folder.root, folder.root / "curves.png")
    print(evaluating.table(scores))
    print(f"wrote {folder.root / 'metrics.json'} and curves.png")


if __name__ == "__main__":
    cli.run(main)
