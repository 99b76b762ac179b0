"""Sweep: train with many configurations or for many people, unattended, and get one report (docs/sweeps.md).

python -m jax_talker.sweep --config configs/mead.py --space configs/sweeps/mead.py --out runs/sweep
python -m jax_talker.sweep --config configs/hdtf.py --clips data/may,data/obama,data/june --out runs/people

On Ray Tune (extra ``sweep``): Optuna searches, ASHA stops early what trains worse than others, trials run side by side
where there is room. --launcher local runs them one by one without Ray. Stopped or killed, the same command with
--resume goes on, each trial from its last checkpoint.
"""

import os
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from jax_talker import cli
from jax_talker.app.sweeping import running, trial
from jax_talker.app.sweeping.results import REPORT
from jax_talker.app.sweeping.space import read_space, space_of
from jax_talker.app.sweeping.with_ray import Resources
from jax_talker.errors import UserError
from jax_talker.training.stopping import may_be_stopped

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/; --config.x.y=z changes a field.")
SPACE = flags.DEFINE_string("space", None, "A file of configs/sweeps/: what is tried.")
CLIPS = flags.DEFINE_list("clips", None, "Clip folders: every setting is tried for each of these people.")
OUT = flags.DEFINE_string("out", None, "The sweep's folder: its trials and its report.", required=True)
TRIALS = flags.DEFINE_integer("trials", None, "Settings to try (default: 8, or 1 without --space).", lower_bound=1)
LAUNCHER = flags.DEFINE_enum("launcher", "ray", running.LAUNCHERS, "ray, or local: one by one, without Ray.")
METRIC = flags.DEFINE_enum(
    "metric", "psnr", list(trial.SCORES), "What the best setting is best at, on held-out frames."
)
EARLY = flags.DEFINE_bool("early_stopping", True, "Ray: stop what trains worse than others (never between people).")
SEED = flags.DEFINE_integer("seed", 0, "Of what is tried.")
RESUME = flags.DEFINE_bool("resume", False, "Go on with the sweep in --out.")
CPUS = flags.DEFINE_float("cpus_per_trial", None, "Ray: cores of a trial (default: all, or 1 beside a GPU).")
GPUS = flags.DEFINE_float("gpus_per_trial", 0, "Ray: GPUs of a trial; several make a device group.", lower_bound=0)
ADDRESS = flags.DEFINE_string("ray_address", None, "Ray: a cluster that runs already, or auto (default: this machine).")


def main() -> None:
    config = CONFIG.value
    if config is None:
        raise UserError("--config is missing; for example --config configs/quickstart.py")
    if SPACE.value is None and not CLIPS.value:
        raise UserError("say what is to be tried: --space FILE, or --clips A,B,C, or both")
    space = read_space(SPACE.value) if SPACE.value else {}
    if CLIPS.value:
        space |= space_of({"data.clip": {"each": CLIPS.value}}, "--clips")
    running.check(config, space)
    changed = config_flags.get_override_values(flags.FLAGS["config"])
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    plan = trial.Plan(
        Path(OUT.value).absolute(),
        ("--config", file, *(f"--config.{name}={trial.as_flag(value)}" for name, value in changed.items())),
        trial.steps_of(config.to_dict()),
    )
    cpus = CPUS.value or (1.0 if GPUS.value else float(os.cpu_count() or 1))
    with may_be_stopped("the same command with --resume goes on"):
        written = running.run(
            plan,
            space,
            launcher=LAUNCHER.value,
            count=TRIALS.value or (8 if SPACE.value else 1),
            seed=SEED.value,
            metric=METRIC.value,
            early=EARLY.value,
            resources=Resources(cpus, GPUS.value, ADDRESS.value),
            resume=RESUME.value,
            tell=print,
        )
        print("\n" + (plan.root / REPORT).read_text(encoding="utf-8"))
        for path in written:
            print(path)


if __name__ == "__main__":
    cli.run(main)
