"""The launcher that needs nothing: trials one after another in this process, drawn at random."""

from collections.abc import Callable

from jax_talker.app.sweeping.space import Space, settings
from jax_talker.app.sweeping.trial import TRIES, Died, Plan, Trial, read_record
from jax_talker.errors import UserError


def launch(plan: Plan, space: Space, *, count: int, seed: int, tell: Callable[[str], None]) -> None:
    """Run all trials that are not finished. One that fails is told and does not end the sweep."""
    every = list(settings(space, count, seed))
    for number, values in enumerate(every):
        trial = Trial(plan, f"{number:04d}", values)
        known = read_record(trial.folder)
        if known is not None and known["values"] != trial.values:
            raise UserError(f"{trial.folder}: holds a trial of another space or seed; choose another --out")
        if known is None or known["status"] != "finished":
            tell(f"trial {number + 1} of {len(every)}: {trial.values}")
            _run(trial, tell)


def _run(trial: Trial, tell: Callable[[str], None]) -> None:
    for attempt in range(1, TRIES + 1):
        reports = trial.reports()
        try:
            last: dict[str, float] = {}
            for report in reports:
                last = report
            tell(f"  {trial.name}: " + ", ".join(f"{name} {value:.4g}" for name, value in last.items()))
            return
        except UserError as error:
            tell(f"  {trial.name}: failed: {error}")
            return
        except Died as error:
            tell(f"  {trial.name}: {error}" + ("; it goes on from what it saved" if attempt < TRIES else ""))
        finally:
            reports.close()
