"""Personalise: find a person in a prior's latent space and tune the generator to them.

python -m jax_talker.personalize --config configs/quickstart.py --config.data.clip=data/may --workdir runs/may
"""

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from jax_talker import cli
from jax_talker.app import builders, learning, personalizing, run_inputs
from jax_talker.app.run_folder import RunFolder
from jax_talker.errors import UserError
from jax_talker.training.devices import describe
from jax_talker.training.log import Log
from jax_talker.training.stopping import may_be_stopped

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/; --config.x.y=z changes a field.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder.", required=True)
RESUME = flags.DEFINE_bool("resume", False, "Go on where an interrupted run in --workdir stopped.")
ALLOW_CHANGES = flags.DEFINE_bool(
    "allow_changes", False, "Resume with another configuration than the run was made with."
)


def main() -> None:
    config = CONFIG.value
    if config is None:
        raise UserError("--config is missing; for example --config configs/quickstart.py")
    folder = RunFolder(Path(WORKDIR.value))
    inputs = [*learning.checked(config), run_inputs.prior_input(config.prior.path)]
    how: dict[str, Any] = {"resume": RESUME.value, "allow_changes": ALLOW_CHANGES.value}
    with (
        may_be_stopped("the same command with --resume goes on"),
        folder.alone(),
        Log(folder.root, wandb=config.log.get("wandb")) as log,
        folder.begun(config.to_dict(), inputs, personalizing.STAGES, **how) as warnings,
    ):
        for line in [*warnings, f"computing on {describe(builders.head_devices(config))}"]:
            log.say(line)
        personalizing.personalize(config, folder, log, resume=RESUME.value)
        log.say(f"personalised; next: python -m jax_talker.train with the same --config and --workdir {folder.root}")


if __name__ == "__main__":
    cli.run(main)
