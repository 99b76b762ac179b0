"""From a clip to a head that speaks: both halves of training in one run folder, gone on with where they were."""

from collections.abc import Sequence
from typing import Any

from jax_talker.app import builders, navigating, personalizing, run_inputs
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.run_inputs import Input
from jax_talker.app.speaking import Speaker
from jax_talker.training.devices import describe
from jax_talker.training.log import Log


def checked(config: Any) -> list[Input]:
    """What a head is learnt from, its prior aside; UserError, before a folder is made, for what cannot be used."""
    clip = builders.clip(config)
    run_inputs.check_trainable(config.train.batch, clip, builders.clip_split(config, clip))
    builders.head_devices(config)
    features = run_inputs.features_input(config.data.features, config.data.features_weights)
    return [run_inputs.clip_input(clip), features]


def learn(
    config: Any, folder: RunFolder, log: Log, inputs: Sequence[Input], *, resume: bool, allow_changes: bool = False
) -> Speaker:
    """Personalise, if that has not been done in ``folder`` (which is ours ``alone``), and train the talker."""
    personalised = folder.personalised
    if not personalised:  # afterwards the prior itself is needed no more
        inputs = [*inputs, run_inputs.prior_input(config.prior.path)]
    behind, ahead = (personalizing.STAGES, []) if personalised else ([], personalizing.STAGES)
    stages = [*ahead, *navigating.STAGES]
    how: dict[str, Any] = {"resume": resume, "allow_changes": allow_changes, "behind": behind}
    with folder.begun(config.to_dict(), inputs, stages, **how) as warnings:
        for line in [*warnings, f"computing on {describe(builders.head_devices(config))}"]:
            log.say(line)
        begun = None if personalised else personalizing.personalize(config, folder, log, resume=resume)
        return navigating.train(config, folder, log, resume=resume, begun=begun)
