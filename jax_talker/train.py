"""Train: a talking head from a clip (personalising first if that is missing), or a prior.

python -m jax_talker.train --config configs/quickstart.py --config.data.clip=data/may --workdir runs/may
python -m jax_talker.train --config configs/prior.py --workdir runs/prior
python -m jax_talker.train --config configs/prior_people.py --config.corpus.pack=HEADS --workdir runs/people

On several machines start the same command on each, --workdir on a disk that they share, with --cluster (Slurm, TPU
pods …) or with --coordinator=FIRST_HOST:PORT --processes=N --process=K (docs/scaling.md).
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from jax_talker import cli
from jax_talker.app import encoder_training, learning, people_training, prior_training, run_inputs
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.viewing.beside import viewed
from jax_talker.errors import UserError
from jax_talker.training import processes
from jax_talker.training.log import Log
from jax_talker.training.stopping import may_be_stopped

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/; --config.x.y=z changes a field.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder.", required=True)
RESUME = flags.DEFINE_bool("resume", False, "Go on where an interrupted run in --workdir stopped.")
PROFILE = flags.DEFINE_bool(
    "profile", False, "Say where the time of each stage's steps goes; keep it in the run's profile/."
)
VIEW = flags.DEFINE_bool(
    "view", False, "Show the head in a browser as it is learnt (view --follow, beside the training)."
)
ALLOW_CHANGES = flags.DEFINE_bool(
    "allow_changes", False, "Resume with another configuration than the run was made with."
)
CLUSTER = flags.DEFINE_bool("cluster", False, "Train together with the cluster's other processes, as JAX finds them.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT at which the first of several processes listens.")
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes train together.", lower_bound=1)
PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, counted from 0.", lower_bound=0)
# What trains a generator, or its encoder, by config.task.
PRIORS = {"prior": prior_training, "people_prior": people_training, "encoder": encoder_training}


def main() -> None:
    config = CONFIG.value
    if config is None:
        raise UserError("--config is missing; for example --config configs/quickstart.py")
    if config.task != "talker" and config.task not in PRIORS:
        raise UserError(f"config.task: {config.task!r} is neither 'talker' nor one of {sorted(PRIORS)}")
    together = (COORDINATOR.value, PROCESSES.value, PROCESS.value)
    if CLUSTER.value or any(x is not None for x in together):
        processes.join(*together)
    with may_be_stopped("the same command with --resume goes on"):
        train(config, RunFolder(Path(WORKDIR.value)))


def train(config: Any, folder: RunFolder) -> None:
    """What ``config.task`` names."""
    how: dict[str, Any] = {"resume": RESUME.value, "allow_changes": ALLOW_CHANGES.value}
    shown: dict[str, Any] = {"profile": PROFILE.value, "wandb": config.log.get("wandb")}
    if config.task in PRIORS:
        if VIEW.value:
            raise UserError(f"--view shows a talking head, and config.task is {config.task!r}")
        training = PRIORS[config.task]
        path = config.get("prior", {}).get("path")  # of those that begin with a prior
        made_of = [run_inputs.prior_input(path, beside=False)] if path else []
        with (
            folder.alone(),
            Log(folder.root, **shown) as log,
            folder.begun(config.to_dict(), made_of, [training.STAGE], **how) as warnings,
        ):
            for line in warnings:
                log.say(line)
            training.train(config, folder, log, resume=RESUME.value)
        return
    inputs = learning.checked(config)
    beside = viewed(folder) if VIEW.value else nullcontext()
    with folder.alone(), Log(folder.root, **shown) as log, beside:
        learning.learn(config, folder, log, inputs, **how)
        log.say(f"trained; next: python -m jax_talker.render --run {folder.root} --audio speech.wav --out out.mp4")


if __name__ == "__main__":
    cli.run(main)
