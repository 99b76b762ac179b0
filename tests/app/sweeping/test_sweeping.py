"""Sweeps without their trainings: what is tried, who is gone on with, who is given up, and what the report says."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from configs import quickstart
from jax_talker.app.sweeping import results, running, with_ray
from jax_talker.app.sweeping.space import read_space, settings, space_of
from jax_talker.app.sweeping.trial import STARTER, Died, Plan, Trial, as_flag, read_record, steps_of
from jax_talker.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
FAKE = (sys.executable, str(Path(__file__).with_name("fake_program.py")))


def plan_in(root, *flags):
    return Plan(root, flags, {"navigate": 20}, ROOT, FAKE)


def sweep(root, told, *flags, launcher="local", count=2, resume=False, early=True):
    said = []
    running.run(
        plan_in(root, *flags), space_of(told, "space"), launcher=launcher, count=count, seed=0, metric="psnr",
        early=early, resources=with_ray.Resources(1, 0), resume=resume, tell=said.append,
    )  # fmt: skip
    return json.loads((root / "results.json").read_text())["trials"], said


class TestSpace:
    def test_draws_keep_to_their_bounds_and_repeat(self):
        told = {
            "a": {"uniform": (-1.0, 2.0)},
            "b": {"log_uniform": (1e-4, 1e-1)},
            "c": {"integer": (1, 3)},
            "d": {"choice": ("x", "y")},
            "e": {"each": ("p", "q")},
        }
        space = space_of(told, "here")
        found = list(settings(space, 200, 0))
        assert found == list(settings(space, 200, 0))
        assert found[: 2 * 50] == list(settings(space, 50, 0)), "a longer sweep begins as the shorter one"
        assert found != list(settings(space, 200, 1))
        assert len(found) == 400
        for one, other in zip(found[::2], found[1::2], strict=True):  # the same setting for each of them
            assert (one.pop("e"), other.pop("e")) == ("p", "q")
            assert one == other
        a, b, c, d = (np.array([values[name] for values in found]) for name in "abcd")
        assert (a.min() >= -1) & (a.max() <= 2)
        assert (b.min() >= 1e-4) & (b.max() <= 1e-1)
        assert np.mean(b < 10**-2.5) == pytest.approx(0.5, abs=0.1), "as many below the geometric mean as above"
        assert set(c) == {1, 2, 3}
        assert set(d) == {"x", "y"}

    @pytest.mark.parametrize(
        ("axis", "message"),
        [
            (3, "3 is no axis"),
            ({"gauss": (0, 1)}, "no kind 'gauss'"),
            ({"uniform": (1, 0)}, "not two bounds"),
            ({"log_uniform": (0.0, 1.0)}, "lower bound above 0"),
            ({"integer": (0.5, 3)}, "not whole numbers"),
            ({"choice": ()}, "has no values"),
        ],
    )
    def test_nonsense_is_one_line(self, axis, message):
        with pytest.raises(UserError, match=f"space: train.rate: .*{message}"):
            space_of({"train.rate": axis}, "space")

    @pytest.mark.parametrize("name", ["procedural", "mead"])
    def test_those_that_come_along_fit_the_configuration(self, name):
        running.check(quickstart.get_config(), read_space(ROOT / f"configs/sweeps/{name}.py"))

    @pytest.mark.parametrize(("name", "value"), [("train.ratio", 1.0), ("train.steps", "many")])
    def test_what_does_not_fit_is_refused_before_any_work(self, name, value):
        with pytest.raises(UserError, match="does not fit the configuration"):
            running.check(quickstart.get_config(), space_of({name: {"choice": (value,)}}, "space"))

    def test_every_value_that_is_written_down_is_looked_at(self):
        many = tuple(range(1, 40))
        with pytest.raises(UserError, match="does not fit the configuration"):
            running.check(quickstart.get_config(), space_of({"train.steps": {"choice": (*many, "many")}}, "space"))

    def test_a_file_that_is_none(self, tmp_path):
        (tmp_path / "a.py").write_text("x = 1")
        with pytest.raises(UserError, match="must define get_space"):
            read_space(tmp_path / "a.py")
        with pytest.raises(UserError, match="no such file"):
            read_space(tmp_path / "b.py")

    def test_values_on_a_command_line(self):
        assert [as_flag(x) for x in ((4, 5), 0.1, "a b", 3)] == ["(4, 5)", "0.1", "a b", "3"]
        assert steps_of(quickstart.get_config().to_dict()) == {
            "invert": 150,
            "tune": 800,
            "hear": 600,
            "navigate": 1000,
        }


class TestTrial:
    def test_its_reports_and_its_record(self, tmp_path):
        trial = Trial(plan_in(tmp_path), "one", {"quality": 21.5, "slow": 0.1})
        found = list(trial.reports())
        assert found[-1] == {"progress": 100.0, "psnr": 21.5, "psnr_lower": 21.5}
        assert [report["seen"] for report in found[:-1]] == [21.5] * (len(found) - 1)
        assert all(0 < report["progress"] <= 99 for report in found[:-1])
        record = read_record(trial.folder)
        assert record["status"] == "finished"
        assert record["values"] == {"quality": 21.5, "slow": 0.1}
        assert "ssim" not in record, "what could not be measured is not there"
        assert list(Trial(plan_in(tmp_path), "one", {}).reports()) == found[-1:], "what is finished is not done twice"
        assert (trial.folder / "train.log").read_text().count("begins at") == 1

    def test_killed_it_goes_on_from_what_it_saved(self, tmp_path):
        trial = Trial(plan_in(tmp_path), "one", {"dies": 1})
        with pytest.raises(Died, match="train was killed by SIGKILL"):
            list(trial.reports())
        assert read_record(trial.folder)["status"] == "failed"
        list(Trial(plan_in(tmp_path), "one", {"dies": 1}).reports())
        assert read_record(trial.folder)["status"] == "finished"
        log = (trial.folder / "train.log").read_text()
        assert "begins at step 0" in log
        assert "begins at step 10" in log

    def test_asked_to_end_by_somebody_else_it_is_not_finished(self, tmp_path):
        """It saves and ends well; a half-trained head must not be scored as a whole one."""
        trial = Trial(plan_in(tmp_path), "one", {"slow": 0.3})
        reports = trial.reports()
        next(reports)
        trial._process.terminate()
        with pytest.raises(Died, match=r"asked to end after \d+ of 20 steps"):
            list(reports)
        assert read_record(trial.folder)["status"] == "failed"
        assert not (trial.folder / "evaluate.log").exists()
        list(Trial(plan_in(tmp_path), "one", {}).reports())
        assert read_record(trial.folder)["status"] == "finished"

    def test_ended_from_outside_it_saves_first(self, tmp_path):
        trial = Trial(plan_in(tmp_path), "one", {"slow": 0.3})
        reports = trial.reports()
        next(reports)
        reports.close()
        assert "stopped at" in (trial.folder / "train.log").read_text()
        assert read_record(trial.folder)["status"] == "interrupted"


class TestOneByOne:
    def test_a_sweep_and_its_report(self, tmp_path):
        told = {"quality": {"uniform": (10.0, 30.0)}, "dies": {"choice": (1,)}}
        trials, said = sweep(tmp_path / "s", told, count=3)
        assert [trial["status"] for trial in trials] == ["finished"] * 3
        scores = [trial["psnr"] for trial in trials]
        assert scores == sorted(scores, reverse=True)
        assert sum("goes on from what it saved" in line for line in said) == 3
        with (tmp_path / "s" / "results.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [float(row["psnr"]) for row in rows] == scores
        report = (tmp_path / "s" / "report.md").read_text()
        assert report.index(trials[0]["name"]) < report.index(trials[2]["name"])
        picture = cv2.imread(str(tmp_path / "s" / "parallel.png"))
        assert np.ptp(picture, -1).max() > 50, "lines have colours"

    def test_values_that_are_tuples_come_back_as_such(self, tmp_path):
        told = {"hidden": {"each": ((64,), [128, 128])}, "quality": {"uniform": (10.0, 30.0)}}
        trials, _ = sweep(tmp_path / "s", told, count=1)
        assert [trial["status"] for trial in trials] == ["finished"] * 2
        again, said = sweep(tmp_path / "s", told, count=1, resume=True)
        assert again == trials
        assert not said, "nothing was left to do"

    def test_one_that_is_refused_does_not_end_it(self, tmp_path):
        trials, _ = sweep(tmp_path / "s", {"quality": {"each": (5.0, 6.0)}}, "--config.refuses=1", count=1)
        assert [trial["status"] for trial in trials] == ["failed"] * 2
        assert "no such clip" in (tmp_path / "s" / "report.md").read_text()

    def test_people_are_an_axis_and_settings_have_means_over_them(self, tmp_path):
        told = {"slow": {"uniform": (0.0, 0.01)}, "quality": {"each": (10.0, 20.0)}}
        trials, _ = sweep(tmp_path / "s", told)
        assert len(trials) == 4
        means = (tmp_path / "s" / "report.md").read_text().partition("## Means over quality")[2]
        assert means.count("| 2 of 2 | 15.00 | 10.00 | 20.00 |") == 2

    def test_interrupted_it_goes_on_and_does_nothing_twice(self, tmp_path, monkeypatch):
        """By a Ctrl-C while it waits for the second trial, where it is nearly always."""
        told = {"quality": {"uniform": (10.0, 30.0)}}
        root = tmp_path / "s"
        log = root / "trials" / "0001" / "train.log"

        def interrupted(seconds):
            time.sleep(seconds)
            if log.is_file() and "begins at" in log.read_text():
                raise KeyboardInterrupt

        with monkeypatch.context() as changed:
            changed.setattr(
                "jax_talker.app.sweeping.trial.time", SimpleNamespace(sleep=interrupted, monotonic=time.monotonic)
            )
            with pytest.raises(KeyboardInterrupt):
                sweep(root, told, "--config.slow=0.1")
        first, second = (read_record(root / "trials" / name) for name in ("0000", "0001"))
        assert (first["status"], second["status"]) == ("finished", "interrupted")
        assert "1 interrupted" in (root / "report.md").read_text()
        with pytest.raises(UserError, match="holds a sweep; pass --resume"):
            sweep(root, told, "--config.slow=0.1")
        with pytest.raises(UserError, match=r"is another sweep:\n  trials: 2 → 3"):
            sweep(root, told, "--config.slow=0.1", count=3, resume=True)
        trials, _ = sweep(root, told, "--config.slow=0.1", resume=True)
        assert [trial["status"] for trial in trials] == ["finished"] * 2
        assert (root / "trials" / "0000" / "train.log").read_text().count("begins at") == 1
        assert (root / "trials" / "0001" / "train.log").read_text().count("begins at") == 2

    def test_a_folder_of_something_else_is_left_alone(self, tmp_path):
        (tmp_path / "mine").touch()
        with pytest.raises(UserError, match="is no sweep"):
            sweep(tmp_path, {"quality": {"uniform": (1.0, 2.0)}})


def test_a_picture_of_trials_without_scores(tmp_path):
    """Also where each axis has one value."""
    space = space_of({"a": {"choice": ("x",)}, "b": {"uniform": (0.0, 1.0)}}, "space")
    files = results.write(tmp_path, space, "psnr", "t")
    assert all(path.is_file() for path in files)


def test_the_program_wants_to_know_what_is_tried(tmp_path):
    command = [sys.executable, "-m", "jax_talker.sweep", "--config", "configs/quickstart.py", "--out", tmp_path / "s"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    assert "error: say what is to be tried: --space FILE, or --clips A,B,C, or both" in done.stderr
    assert not (tmp_path / "s").exists()


def test_ray_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'jax-talker\[sweep\]'.*--launcher local"):
        sweep(tmp_path / "s", {"quality": {"uniform": (1.0, 2.0)}}, launcher="ray")


ON_RAY = """
import json, sys
from pathlib import Path
from app.sweeping.test_sweeping import sweep
root, told, flags, how = json.loads(sys.argv[1])
print("SAID " + json.dumps(sweep(Path(root), told, *flags, launcher="ray", **{"early": False, **how})[1]))
"""


def begun_on_ray(root, told, *flags, **how):
    """In a process of its own: what pytest puts around output cannot be sent to Ray's workers."""
    pytest.importorskip("ray")
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", ON_RAY, json.dumps([str(root), told, flags, how])]
    return subprocess.Popen(command, env=os.environ | path, stdout=subprocess.PIPE, text=True)


def on_ray(root, told, *flags, **how):
    process = begun_on_ray(root, told, *flags, **how)
    out, _ = process.communicate(timeout=1200)
    assert process.returncode == 0
    (said,) = [line.removeprefix("SAID ") for line in out.splitlines() if line.startswith("SAID ")]
    return json.loads((root / "results.json").read_text())["trials"], json.loads(said)


@pytest.mark.slow  # Ray takes half a minute to start and end
def test_a_sweep_on_ray_with_trials_that_are_killed(tmp_path):
    root, told = tmp_path / "s", {"quality": {"uniform": (10.0, 30.0)}, "dies": {"choice": (1,)}}
    trials, said = on_ray(root, told, "--config.slow=0.1", count=3)
    assert [trial["status"] for trial in trials] == ["finished"] * 3
    assert sum("goes on from what it saved" in line for line in said) == 3
    for folder in (root / "trials").iterdir():
        assert "begins at step 10" in (folder / "train.log").read_text()
    again, _ = on_ray(root, told, "--config.slow=0.1", count=3, resume=True)
    assert again == trials, "a finished sweep has nothing left to do"


def test_asha_stops_whoever_is_not_of_the_better_half(tmp_path):
    """Ray's own scheduler, told what trials would report; and only of whom it stops is noted that they were."""
    pytest.importorskip("ray")
    _, tune = with_ray._imported()
    plan = plan_in(tmp_path)
    scheduler = with_ray._scheduler(tune, plan)
    trials = {name: SimpleNamespace(trial_id=name, evaluated_params={}) for name in ("good", "better", "bad")}
    for name, trial in trials.items():
        (plan.root / "trials" / name).mkdir(parents=True)
        scheduler.on_trial_add(None, trial)

    def goes_on(name, progress, seen):
        return scheduler.on_trial_result(None, trials[name], {"progress": progress, "seen": seen}) == scheduler.CONTINUE

    assert goes_on("bad", 10.0, 5.0), "before a quarter of the training nobody is judged"
    assert goes_on("good", 25.0, 20.0)
    assert goes_on("better", 30.0, 25.0)
    assert not goes_on("bad", 25.0, 19.0)
    assert goes_on("better", 55.0, 26.0)
    assert not goes_on("good", 55.0, 25.5), "half of the training is compared with half of the training"
    noted = {path.parent.name for path in (plan.root / "trials").glob("*/stopped_early")}
    assert noted == {"bad", "good"}


@pytest.mark.slow
def test_a_sweep_on_ray_stops_early_what_trains_worse(tmp_path):
    """Optuna's first four draws of this seed: 20, 30, 30, 20."""
    root, told = tmp_path / "s", {"quality": {"choice": (10.0, 20.0, 30.0)}}
    trials, _ = on_ray(root, told, "--config.slow=0.1", count=4, early=True)
    stopped = [trial for trial in trials if trial["status"] == "stopped early"]
    assert stopped, trials
    for trial in stopped:
        assert trial["values"]["quality"] == 20.0
        assert 25 <= trial["progress"] < 100
        assert "psnr" not in trial, "what is stopped is not scored"
        log = (root / "trials" / trial["name"] / "train.log").read_text()
        assert "stopped at" in log, "it was asked to end, and saved"
    finished = [trial["psnr"] for trial in trials if trial["status"] == "finished"]
    assert len(finished) + len(stopped) == 4
    assert finished[:2] == [30.0, 30.0], "nobody as good as the best"


@pytest.mark.slow
def test_a_sweep_on_ray_that_is_asked_to_end_lets_its_trials_save_and_goes_on(tmp_path):
    """Ray answers SIGTERM by being gone; it must be as with Ctrl-C."""
    root, told = tmp_path / "s", {"quality": {"uniform": (10.0, 30.0)}}
    process = begun_on_ray(root, told, "--config.slow=0.5")
    deadline = time.monotonic() + 240
    while not any("progress" in path.read_text() for path in root.glob("trials/*/trial.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    stopped = [read_record(folder) for folder in (root / "trials").iterdir()]
    assert all(record["status"] == "interrupted" for record in stopped)
    assert "interrupted" in (root / "report.md").read_text()
    trials, _ = on_ray(root, told, "--config.slow=0.5", resume=True)
    assert [trial["status"] for trial in trials] == ["finished"] * 2
    logs = [(folder / "train.log").read_text() for folder in (root / "trials").iterdir()]
    assert any("stopped at" in log for log in logs)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_a_launcher_that_is_killed_leaves_nobody_behind(tmp_path):
    (tmp_path / "sleeper.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    launcher = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
    command = [sys.executable, "-c", launcher, sys.executable, "-c", STARTER, "sleeper"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    begun = time.monotonic()
    process.kill()
    process.wait()
    process.stdout.read()  # the pipe is closed when the last one is gone
    assert time.monotonic() - begun < 30
