"""A sweep from its definition to its report: begun, or gone on with where it was."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jax_talker.app.sweeping import one_by_one, results, with_ray
from jax_talker.app.sweeping.space import LISTED, Space, settings
from jax_talker.app.sweeping.trial import Plan
from jax_talker.errors import UserError

DEFINITION, LOCK = "sweep.json", ".lock"
LAUNCHERS = ("ray", "local")


def check(config: Any, space: Space) -> None:
    """UserError where the configuration has no such field, or not of that type."""
    if config.task != "talker":
        raise UserError(f"config.task: {config.task!r}; sweeps train talking heads (task talker)")
    drawn = next(settings(space, 1, 0))
    listed = [(name, value) for name, axis in space.items() if axis.kind in LISTED for value in axis.given]
    for values in [drawn, *({**drawn, name: value} for name, value in listed)]:
        try:
            config.copy_and_resolve_references().lock().update_from_flattened_dict(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"the space does not fit the configuration: {' '.join(str(error).split())}") from None


def run(
    plan: Plan,
    space: Space,
    *,
    launcher: str,
    count: int,
    seed: int,
    metric: str,
    early: bool,
    resources: with_ray.Resources,
    resume: bool,
    tell: Callable[[str], None],
) -> list[Path]:
    """Run what is still to be done, then write the report; its files. The report is written also when it is stopped."""
    axes = {name: asdict(axis) for name, axis in space.items()}
    told = {"launcher": launcher, "space": axes, "trials": count, "seed": seed, "flags": list(plan.flags)}
    plan.root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(plan.root / LOCK, timeout=0):
            _begin(plan.root, json.loads(json.dumps(told)), resume)
            title = f"Sweep {plan.root.name}"
            try:
                if launcher == "local":
                    one_by_one.launch(plan, space, count=count, seed=seed, tell=tell)
                else:
                    how: dict[str, Any] = {"count": count, "seed": seed, "metric": metric, "early": early}
                    with_ray.launch(plan, space, **how, resources=resources, tell=tell)
            finally:
                written = results.write(plan.root, space, metric, title)
            return written
    except Timeout:
        raise UserError(f"{plan.root}: another process is working in this sweep; wait for it, or stop it") from None


def _begin(root: Path, told: Mapping[str, Any], resume: bool) -> None:
    path = root / DEFINITION
    if not path.is_file():
        if any(child.name != LOCK for child in root.iterdir()):
            raise UserError(f"{root}: exists already and is no sweep; choose another --out")
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return
    if not resume:
        raise UserError(f"{root}: holds a sweep; pass --resume to go on with it, or choose another --out")
    known = json.loads(path.read_text(encoding="utf-8"))
    if differing := [name for name in told if known.get(name) != told[name]]:
        shown = "".join(f"\n  {name}: {known.get(name)} → {told[name]}" for name in differing)
        raise UserError(
            f"{root}: is another sweep:{shown}\ngo on with the command that began it, or choose another --out"
        )
