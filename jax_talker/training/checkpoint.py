"""Saving and resuming. The only importer of Orbax, whose API is moving; everything else sees these few calls."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jax_talker.errors import UserError
from jax_talker.training.state import TrainState

_OS_ERROR = re.compile(r"os_error_code='(\d+)'")


class Checkpoints:
    """One stage's checkpoints in a folder. Use as a context manager: saving is asynchronous, leaving waits for it."""

    def __init__(self, folder: str | Path, *, keep: int = 2):
        self.folder = Path(folder).resolve()
        options = ocp.CheckpointManagerOptions(preservation_policy=ocp.checkpoint_managers.LatestN(keep))
        handlers = {"state": ocp.StandardCheckpointHandler(), "config": ocp.JsonCheckpointHandler()}
        try:
            self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)
        except OSError as error:  # a folder that is not there yet, where nothing can be written
            raise UserError(f"{self.folder}: cannot write there ({error.strerror})") from None
        self._kept: int | None = None  # step of the state that was saved or restored last

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        with self._saving():
            self._manager.close()

    def latest(self) -> int | None:
        """Step of the newest checkpoint, None when there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, config: dict[str, Any]) -> None:
        """Save the state and, beside it, the configuration it belongs to (JSON).

        ValueError where a later state, or another one of this step, lies here already: Orbax would drop this one.
        """
        step = int(state.step)
        if step == self._kept:
            return
        latest = self.latest()
        if latest is not None and step <= latest:
            raise ValueError(f"{self.folder}: step {step} is not saved beside step {latest} of another beginning")
        stored = _as_dict(state)
        args = ocp.args.Composite(state=ocp.args.StandardSave(stored), config=ocp.args.JsonSave(config))
        with self._saving():
            # Forced, for the loop decides when: else Orbax asks JAX's preemption service as well (stopping.asked).
            self._manager.save(step, args=args, force=True)
        self._kept = step

    def restore(self, like: TrainState, step: int | None = None) -> tuple[TrainState, dict[str, Any]]:
        """The newest state (or that of ``step``) and its configuration.

        ``like`` gives structure, shapes, dtypes and devices; a difference is a UserError naming the leaves, damage one
        naming the folder.
        """
        step = self.latest() if step is None else step
        if step is None:
            raise UserError(f"{self.folder}: no checkpoint to resume from")
        target = _as_dict(like)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), target)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(shapes), config=ocp.args.JsonRestore())
        try:
            self._check(target, step)
            restored = self._manager.restore(step, args=args)
        except UserError:
            raise
        except Exception as error:  # Orbax passes on whatever it met, from JSONDecodeError to a plain Exception
            older = [s for s in self._manager.all_steps() if s < step]
            remedy = f"delete it to go on from step {max(older)}" if older else "no older one is here; start anew"
            raise UserError(f"{self.folder}/{step}: damaged ({str(error).splitlines()[0]:.80}); {remedy}") from error
        state = restored["state"]
        self._kept = step
        return TrainState(**state | {"key": jax.random.wrap_key_data(state["key"])}), restored["config"]

    def stored(self, step: int | None = None) -> dict[str, Any]:
        """What the newest checkpoint (or that of ``step``) holds, as it lies there: nested dicts of NumPy arrays."""
        found = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore()))["state"]
        return jax.tree.map(np.asarray, found)

    def resumed(self, state: TrainState, wanted: bool) -> TrainState:
        """The newest saved state if one is ``wanted`` and there, else ``state`` as it is.

        Where it is not wanted, a stage begins anew, and what an earlier beginning has left is deleted.
        """
        if wanted and self.latest() is not None:
            return self.restore(state)[0]
        for step in self._manager.all_steps():
            self._manager.delete(step)
        return state

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """What a disk refuses, now or while the state before was written, is one line; older checkpoints stay whole."""
        try:
            yield
        except (OSError, ValueError) as error:  # TensorStore's are ValueErrors that hold the number in their text
            told = _OS_ERROR.search(str(error))
            number = error.errno if isinstance(error, OSError) else told and int(told[1])
            if not number:
                raise
            whole = f"the last whole one is of step {self.latest()}" if self.latest() else "there is none before"
            raise UserError(
                f"{self.folder}: cannot save a checkpoint ({os.strerror(number)}); {whole}; put that right and go on "
                "with --resume"
            ) from None

    def _check(self, target: dict[str, Any], step: int) -> None:
        """Orbax casts dtypes in silence and its messages on shapes are long, so compare here first."""
        stored = self._manager.item_metadata(step)["state"].tree
        have = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(_plain(stored))}
        want = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(_plain(target))}
        problems = [f"{name} is missing" for name in want.keys() - have.keys()]
        problems += [f"{name} is not wanted" for name in have.keys() - want.keys()]
        problems += [
            f"{name} is {have[name].dtype}{list(have[name].shape)}, wanted {leaf.dtype}{list(leaf.shape)}"
            for name, leaf in want.items()
            if name in have and (tuple(have[name].shape), have[name].dtype) != (tuple(leaf.shape), leaf.dtype)
        ]
        if problems:
            listed = "; ".join(sorted(problems)[:4])
            raise UserError(
                f"{self.folder}/{step}: the checkpoint does not fit this configuration ({len(problems)} leaves: "
                f"{listed}); resume with the configuration it was made with, or start in another folder"
            )


def _as_dict(state: TrainState) -> dict[str, Any]:
    """What is stored: the state's fields, its key as plain numbers."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return fields | {"key": jax.random.key_data(state.key)}


def _plain(tree: Any) -> Any:
    """Nested dicts, lists and leaves only, so that the saved tree and the wanted one have the same paths."""
    if hasattr(tree, "_asdict"):
        tree = tree._asdict()
    if isinstance(tree, Mapping):
        return {str(name): _plain(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return {str(index): _plain(value) for index, value in enumerate(tree)}
    return tree
