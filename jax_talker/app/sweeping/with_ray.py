"""The launcher on Ray Tune, and its only importer: trials side by side on a laptop or a cluster."""

import contextlib
import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jax_talker.app.sweeping.space import Axis, Space, each_of
from jax_talker.app.sweeping.trial import STOPPED_EARLY, TRIES, Plan, Trial
from jax_talker.errors import UserError

NAME = "ray"  # of the folder in which Tune keeps the sweep's state
GRACE, HALVED = 25, 2  # percent of training before anything is stopped; of those alive, one in so many goes on
SETTINGS = {  # read by Ray when it is imported or started
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths stay what they are
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # one of them is enough
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the score is known in the end alone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # no GPU asked for is not: no GPU seen
}


@dataclass(frozen=True)
class Resources:
    """What each trial gets. ``address``: of a cluster that runs already; None: this machine alone."""

    cpus: float
    gpus: float
    address: str | None = None


def launch(
    plan: Plan,
    space: Space,
    *,
    count: int,
    seed: int,
    metric: str,
    early: bool,
    resources: Resources,
    tell: Callable[[str], None],
) -> None:
    """Run the sweep, or go on with it. Without ``each`` Optuna looks for high ``metric`` and ASHA (``early``) stops
    what trains worse than others; with it every drawn setting is tried with all values, and nothing is stopped."""
    ray, tune = _imported()
    grid = bool(each_of(space))
    local = {} if resources.address else {"_node_ip_address": "127.0.0.1"}  # nobody else's business
    ray.init(address=resources.address, include_dashboard=False, log_to_driver=False, logging_level="warning", **local)
    try:
        trainable = tune.with_resources(_trainable(tune, plan), {"cpu": resources.cpus, "gpu": resources.gpus})
        path = str(plan.root / NAME)
        if tune.Tuner.can_restore(path):
            tuner = tune.Tuner.restore(path, trainable, resume_errored=True)
        else:
            tuner = tune.Tuner(
                trainable,
                param_space={name: _axis(tune, axis) for name, axis in space.items()},
                tune_config=tune.TuneConfig(
                    num_samples=count,
                    search_alg=_search(tune, grid, metric, seed),
                    scheduler=_scheduler(tune, plan) if early and not grid else None,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name=NAME,
                    storage_path=str(plan.root),
                    failure_config=tune.FailureConfig(max_failures=TRIES - 1),
                    callbacks=[tune.logger.JsonLoggerCallback(), _teller(tune, tell)],
                    verbose=0,
                ),
            )
        with _sigterm_as_ctrl_c():
            tuner.fit()
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Tune ends well when it meets Ctrl-C: trials save first. Ray's own answer to SIGTERM is to be gone."""
    if threading.current_thread() is not threading.main_thread():  # handlers can be set there alone
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _imported() -> tuple[Any, Any]:
    os.environ.update(SETTINGS)
    try:
        import ray
        from ray import tune

        if importlib.util.find_spec("optuna") is None:  # Ray would fail an assertion later
            raise ImportError("No module named 'optuna'")
    except ImportError as error:
        raise UserError(
            f"--launcher ray needs Ray Tune and Optuna ({error}): pip install 'jax-talker[sweep]', or pass "
            "--launcher local, which runs trials one by one"
        ) from None
    return ray, tune


def _axis(tune: Any, axis: Axis) -> Any:
    low, high = axis.given[0], axis.given[-1]
    return {
        "uniform": lambda: tune.uniform(low, high),
        "log_uniform": lambda: tune.loguniform(low, high),
        "integer": lambda: tune.randint(low, high + 1),
        "choice": lambda: tune.choice(list(axis.given)),
        "each": lambda: tune.grid_search(list(axis.given)),
    }[axis.kind]()


def _search(tune: Any, grid: bool, metric: str, seed: int) -> Any:
    if grid:
        return tune.search.BasicVariantGenerator(constant_grid_search=True, random_state=seed)
    from ray.tune.search.optuna import OptunaSearch

    class InTheEnd(OptunaSearch):
        """The score of held-out frames is known in the end alone; of a trial that has none, Optuna learns that."""

        def on_trial_result(self, trial_id: str, result: dict) -> None:
            return

    return InTheEnd(metric=metric, mode="max", seed=seed)


def _scheduler(tune: Any, plan: Plan) -> Any:
    class Halving(tune.schedulers.ASHAScheduler):
        """ASHA that notes whom it stops: to a trial this looks like any other interruption."""

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
            decision = super().on_trial_result(tune_controller, trial, result)
            if decision == self.STOP:
                (plan.root / "trials" / trial.trial_id / STOPPED_EARLY).touch()
            return decision

    return Halving(
        time_attr="progress", metric="seen", mode="max", grace_period=GRACE, max_t=100, reduction_factor=HALVED
    )


def _trainable(tune: Any, plan: Plan) -> type:
    class SweepTrial(tune.Trainable):
        """A trial as Tune sees it. What it has learnt lies in its run folder, so Tune keeps nothing of its own."""

        def setup(self, config: dict[str, Any]) -> None:
            self._trial = Trial(plan, self.trial_id, config)
            self._reports = self._trial.reports()

        def step(self) -> dict[str, Any]:
            try:
                report = next(self._reports)
            except UserError as error:  # trying again would not help
                return {"done": True, "refused": str(error)}
            return {**report, "done": report["progress"] >= 100}

        def cleanup(self) -> None:
            self._reports.close()

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

        def load_checkpoint(self, checkpoint: Any) -> None:
            return None

    return SweepTrial


def _teller(tune: Any, tell: Callable[[str], None]) -> Any:
    class Teller(tune.Callback):
        """A line whenever a trial begins, ends or dies."""

        def on_trial_start(self, iteration: int, trials: list, trial: Any, **_: Any) -> None:
            tell(f"{trial.trial_id} begins or goes on: {trial.config}")

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **_: Any) -> None:
            last = trial.last_result or {}
            shown = {n: last[n] for n in ("progress", "seen", "psnr", "psnr_lower", "refused") if n in last}
            tell(f"{trial.trial_id} ended: {shown}")

        def on_trial_recover(self, iteration: int, trials: list, trial: Any, **_: Any) -> None:
            tell(f"{trial.trial_id} died; it goes on from what it saved")

        def on_trial_error(self, iteration: int, trials: list, trial: Any, **_: Any) -> None:
            tell(f"{trial.trial_id} died {TRIES} times; its folder has the logs")

    return Teller()
