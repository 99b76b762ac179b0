"""A run's folder: one process at a time, the same clip and prior, nothing stale, nothing changed by what is refused."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from motions import no_motion

from jax_talker.app import run_inputs
from jax_talker.app.person import Person
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.run_inputs import Input
from jax_talker.audio import level
from jax_talker.data.batches.dataset import split
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.clip.clip_writer import ClipWriter
from jax_talker.errors import UserError
from jax_talker.models.deformation import Poses
from jax_talker.models.detail import as_they_are, nothing
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.state import adam, create

CONFIG = {"task": "talker", "seed": 1, "data": {"clip": "a"}, "prior": {"path": "small"}}
CLIP, PRIOR = Input("clip", "a", "a" * 64, 32), Input("prior", "small", "b" * 64)
FIRST = ["invert", "tune"]
ALL = [*FIRST, "navigate"]


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def begin(folder, stages=ALL, *, config=CONFIG, inputs=(CLIP, PRIOR), saves=(), then=None, resume=False, **how):
    """Begin, leave a checkpoint of the stages ``saves``, and end, with an error ``then``. Returns the warnings."""
    with folder.alone(), folder.begun(config, inputs, stages, resume=resume, **how) as warnings:
        for stage in saves:
            save(folder, stage)
        if then is not None:
            raise then
    return warnings


def save(folder, stage, step=2):
    optimiser = adam(1e-3, 4)
    state = replace(create({"x": jnp.zeros(1)}, optimiser, 0), step=jnp.asarray(step))
    with Checkpoints(folder.checkpoints(stage)) as checkpoints:
        checkpoints.save(state, {})


def personalise(folder):
    folder.personal.mkdir()
    (folder.personal / "config.json").write_text("{}")
    params = {"anchor": jnp.zeros((1, 2)), "camera": jnp.zeros(6), "detail": nothing(3)}
    Person(params, as_they_are(3), Poses(jnp.zeros(25), jnp.ones(3)), no_motion(), 0.5).save(folder.personal)


def everything(folder):
    """Content of all files but the lock."""
    return {p.relative_to(folder.root): p.read_bytes() for p in folder.root.rglob("*") if p.is_file() and p.suffix}


def make_clip(root, frames=4, shade=100, masked=(0, 1, 2)):
    """A clip folder of flat pictures whose masks are drawn in the given channels."""
    masks = np.zeros((16, 16, 3), np.uint8)
    masks[4:12, 4:12, list(masked)] = 255
    arrays = {"label": np.zeros((frames, 25)), "blink": np.zeros(frames), "landmarks": np.zeros((frames, 5, 2))}
    with ClipWriter(root, size=16, source={}) as writer:
        for _ in range(frames):
            writer.add(np.full((16, 16, 3), shade, np.uint8), masks)
        writer.finish(arrays, np.zeros(frames * 640))
    return open_clip(root)


class TestOneProcess:
    def test_a_second_one_is_refused_and_a_later_one_is_not(self, folder):
        other = f"from jax_talker.app.run_folder import RunFolder as R; from pathlib import Path\nwith R(Path({str(folder.root)!r})).alone(): print('in')"  # noqa: E501
        command = [sys.executable, "-c", other]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        with folder.alone():
            with pytest.raises(UserError, match=r"run: another process is working in this run"), folder.alone():
                pass
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert "another process is working" in done.stderr
            assert "in" not in done.stdout.split()
        with folder.alone():
            pass

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a place where nobody may write")
    def test_where_nothing_can_be_written_is_said_at_once(self):
        with pytest.raises(UserError, match="cannot write there"), RunFolder(Path("/proc/self/run")).alone():
            pass
        with pytest.raises(UserError, match="cannot write there"):
            RunFolder(Path("/proc/self")).check_writable()

    def test_new_means_that_nothing_is_there(self, folder):
        folder.root.mkdir()
        with folder.alone(new=True):  # an empty folder is as good as none
            (folder.root / "clip").mkdir()
        with pytest.raises(UserError, match="exists already"), folder.alone(new=True):
            pass


class TestStages:
    def test_begun_anew_on_any_stages_checkpoints_is_refused(self, folder):
        """An interrupted inversion must not wait for a later --resume of another run."""
        begin(folder, saves=["invert"])
        before = everything(folder)
        for stages in (ALL, ["invert", "tune"]):
            with pytest.raises(UserError, match="invert has been run here; pass --resume"):
                begin(folder, stages)
        assert everything(folder) == before
        assert begin(folder, resume=True) == []

    def test_training_goes_on_from_a_finished_personalisation_only(self, folder):
        begin(folder, ["invert", "tune"], saves=["invert", "tune"])
        with pytest.raises(UserError, match="invert and tune has been run here"):
            begin(folder)
        personalise(folder)
        assert begin(folder, ["navigate"], behind=FIRST, saves=["navigate"]) == []
        with pytest.raises(UserError, match="navigate has been run here"):
            begin(folder, ["navigate"], behind=FIRST)

    def test_a_trained_run_is_not_personalised_further(self, folder):
        """The directions were learnt in another generator then."""
        begin(folder, saves=ALL)
        personalise(folder)
        for resume in (False, True):
            with pytest.raises(UserError, match="holds checkpoints of navigate"):
                begin(folder, ["invert", "tune"], resume=resume)
        with pytest.raises(UserError, match="holds checkpoints of invert and navigate and tune"):
            begin(folder, ["prior"], resume=True)

    def test_a_finished_personalisation_is_not_overwritten(self, folder):
        begin(folder)
        personalise(folder)
        with pytest.raises(UserError, match="has been personalised already"):
            begin(folder, ["invert", "tune"])

    def test_a_run_that_left_no_checkpoint_leaves_no_records_either(self, folder):
        begin(folder)
        folder.save_capacity(64)
        (folder.root / "profile").mkdir()
        for name in ("scalars.jsonl", "skipped.jsonl"):
            (folder.root / name).write_text('{"stage": "invert", "step": 1}\n')
        begin(folder, config={**CONFIG, "seed": 2})
        assert not [n for n in ("scalars.jsonl", "skipped.jsonl", "profile") if (folder.root / n).exists()]
        assert folder.capacity() is None
        assert folder.config()["seed"] == 2

    def test_another_programs_folder_is_not_written_into(self, folder):
        folder.root.mkdir()
        (folder.root / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(UserError, match="not a run's configuration"):
            begin(folder)
        assert (folder.root / "config.json").read_text() == '{"model_type": "bert"}'

    @pytest.mark.parametrize("content", ["", "{", "[1]", "\xff"])
    def test_a_damaged_configuration_is_one_line(self, folder, content):
        folder.root.mkdir()
        (folder.root / "config.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(UserError, match=r"config\.json: damaged"):
            folder.config()


class TestInputs:
    @pytest.mark.parametrize("resume", [False, True])
    def test_another_clip_or_prior_is_refused_with_both_names(self, folder, resume):
        begin(folder, ["invert", "tune"], saves=["invert"])
        if not resume:
            personalise(folder)
        stages, behind = (ALL, []) if resume else (["navigate"], FIRST)
        before = everything(folder)
        other = replace(CLIP, path="may", sha256="c" * 64)
        with pytest.raises(UserError, match=r"made with the clip a \(SHA-256 aaaaaaaaaaaa…\), not with may"):
            begin(folder, stages, inputs=(other, PRIOR), config={**CONFIG, "seed": 2}, resume=resume, behind=behind)
        other = replace(PRIOR, sha256="c" * 64)  # the same name, trained anew
        with pytest.raises(UserError, match=r"made with the prior small \(SHA-256 bbbbbbbbbbbb…\), not with small"):
            begin(folder, stages, inputs=(CLIP, other), config={**CONFIG, "seed": 2}, resume=resume, behind=behind)
        assert everything(folder) == before, "what is refused changes nothing"

    def test_the_same_clip_elsewhere_is_the_same(self, folder):
        begin(folder, saves=["invert"])
        moved = {**CONFIG, "data": {"clip": "b"}}
        warnings = begin(folder, inputs=(replace(CLIP, path="b"), PRIOR), config=moved, resume=True)
        assert warnings == ["resuming with another data.clip: 'a' → 'b'"]

    def test_another_configuration_is_shown_and_refused_unless_allowed(self, folder):
        old = {**CONFIG, "train": {"rate": 1e-3, "steps": 10, "hidden": (64,)}, "log": {"scalars": 20}}
        begin(folder, config=old, saves=["invert"])
        before = everything(folder)
        new = {**CONFIG, "seed": 2, "train": {"rate": 2e-3, "steps": 20, "hidden": [64]}, "log": {"scalars": 5}}
        with pytest.raises(
            UserError,
            match=r"(?s)another configuration:\n  seed: 1 → 2\n  train.rate: 0.001 → 0.002\n.*--allow-changes",
        ) as refused:
            begin(folder, config=new, resume=True)
        assert "steps" not in str(refused.value), "what is harmless is not held against it"
        assert everything(folder) == before
        warnings = begin(folder, config=new, resume=True, allow_changes=True, saves=["tune"])
        assert [line.removeprefix("resuming with another ") for line in warnings] == [
            "log.scalars: 20 → 5", "seed: 1 → 2", "train.rate: 0.001 → 0.002", "train.steps: 10 → 20",
        ]  # fmt: skip
        assert folder.config()["seed"] == 2

    def test_a_field_that_another_version_did_not_know_was_nobodys_choice(self, folder):
        begin(folder, saves=["invert"])
        config = {**CONFIG, "devices": {"mode": "jit"}, "model": {"new": 3}}
        assert begin(folder, config=config, resume=True)[-1] == "resuming with another model.new: nothing → 3"

    def test_what_fails_later_changes_nothing_until_it_has_saved(self, folder):
        """A checkpoint that does not fit is found after the folder was prepared; the old configuration stays."""
        begin(folder, saves=["invert"])
        before = everything(folder)
        changed = {**CONFIG, "seed": 2}
        with pytest.raises(UserError, match="does not fit"):
            begin(folder, config=changed, resume=True, allow_changes=True, then=UserError("does not fit"))
        assert everything(folder) == before
        with pytest.raises(UserError, match="disk"):
            begin(folder, config=changed, resume=True, allow_changes=True, saves=["tune"], then=UserError("disk"))
        assert folder.config()["seed"] == 2

    def test_runs_of_earlier_versions_go_on_with_what_they_named(self, folder):
        begin(folder, saves=["invert"])
        (folder.root / "run.json").unlink()
        other = {**CONFIG, "data": {"clip": "b"}}
        with pytest.raises(
            UserError, match=r"made with the clip a \(an earlier version kept no hash of it\), not with b"
        ):
            begin(folder, inputs=(replace(CLIP, path="b"), PRIOR), config=other, resume=True)
        assert len(begin(folder, resume=True)) == 2
        with pytest.raises(UserError, match="made with the clip"):  # from here on the hash is known
            begin(folder, inputs=(replace(CLIP, sha256="d" * 64), PRIOR), resume=True)

    def test_configurations_of_earlier_versions_get_what_they_lack(self, folder):
        begin(folder)
        defaults = {"seed": 7, "data": {"clip": None, "features": "logmel"}, "log": {"keep": 2}}
        assert folder.config(defaults) == {
            **CONFIG,
            "data": {"clip": "a", "features": "logmel", "level": asdict(level.FIRST)},
            "log": {"keep": 2},
        }

    def test_a_run_of_a_later_version_is_refused(self, folder):
        begin(folder, saves=["invert"])
        (folder.root / "run.json").write_text(json.dumps({"format": 99}))
        with pytest.raises(UserError, match="run format 99, this version reads 1"):
            begin(folder, resume=True)

    def test_priors_are_told_apart_by_what_they_hold(self, tmp_path):
        for name, weights in (("one", b"1"), ("two", b"2"), ("copy", b"1")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "config.json").write_text("{}")
            (tmp_path / name / "params.safetensors").write_bytes(weights)
        one, two, copy = (run_inputs.prior_input(str(tmp_path / n)).sha256 for n in ("one", "two", "copy"))
        assert one == copy != two
        with pytest.raises(UserError, match="no prior there"):
            run_inputs.prior_input(str(tmp_path / "none"))

    def test_what_cannot_be_trained_is_said_before_the_work(self, tmp_path):
        good = make_clip(tmp_path / "good")
        run_inputs.check_trainable(2, good, split(good.frames))
        for batch in (3, 1, 0):
            with pytest.raises(UserError, match=f"train.batch: {batch}, but successive frames come in couples"):
                run_inputs.check_trainable(batch, good, split(good.frames))
        bad = make_clip(tmp_path / "bad", masked=(0, 2))
        with pytest.raises(UserError, match="the lower mask is empty in all of 3 frames"):
            run_inputs.check_trainable(2, bad, split(bad.frames))


class TestClipFoundAgain:
    @pytest.fixture
    def project(self, tmp_path, monkeypatch):
        """A project folder that is the current one, with a clip and a run that was made there by relative paths."""
        (tmp_path / "project").mkdir()
        monkeypatch.chdir(tmp_path / "project")
        clip = make_clip(Path("data/may"))
        folder = RunFolder(Path("runs/may"))
        begin(folder, inputs=(run_inputs.clip_input(clip), PRIOR), config={**CONFIG, "data": {"clip": "data/may"}})
        return tmp_path / "project"

    @pytest.mark.parametrize("earlier", [False, True], ids=["now", "earlier version"])
    def test_from_another_folder_and_after_a_move(self, project, tmp_path, monkeypatch, earlier):
        if earlier:
            (project / "runs/may/run.json").unlink()
        assert RunFolder(Path("runs/may")).find_clip().frames == 4
        monkeypatch.chdir(tmp_path)
        assert RunFolder(Path("project/runs/may")).find_clip().frames == 4
        project.rename(tmp_path / "moved")
        assert RunFolder(tmp_path / "moved/runs/may").find_clip().root == tmp_path / "moved/data/may"

    def test_where_it_was_when_only_the_run_moved(self, project, tmp_path):
        (project / "runs/may").rename(tmp_path / "may")
        (tmp_path / "project").joinpath("elsewhere").mkdir()
        os.chdir(tmp_path / "project" / "elsewhere")
        assert RunFolder(tmp_path / "may").find_clip().root == project / "data/may"

    def test_inside_the_run(self, project, tmp_path):
        (project / "data/may").rename(project / "runs/may/may")
        (project / "runs/may").rename(tmp_path / "may")
        assert RunFolder(tmp_path / "may").find_clip().root == tmp_path / "may/may"

    def test_another_clip_in_its_place_is_not_taken(self, project):
        (project / "data/may").rename(project / "data/april")
        folder = RunFolder(project / "runs/may")
        with pytest.raises(UserError, match=r"data/may\) is not there any more; say with --clip where it is"):
            folder.find_clip()
        assert folder.find_clip("data/april").frames == 4
        make_clip(project / "data/may", shade=50)
        with pytest.raises(UserError, match=r"data/may is another clip than the one it was trained on"):
            folder.find_clip()
        with pytest.raises(UserError, match=r"--clip data/may: is another clip"):
            folder.find_clip("data/may")
        assert folder.clip_size == 16


def test_capacity_is_remembered_and_only_grows(folder):
    folder.root.mkdir()
    assert folder.capacity() is None
    folder.save_capacity(None)
    assert folder.capacity() is None
    folder.save_capacity(4096)
    folder.save_capacity(1024)
    assert folder.capacity() == 4096


def test_a_step_is_gone_on_from_with_the_room_that_it_had(folder):
    folder.root.mkdir()
    folder.save_capacity(64)
    folder.save_capacity(256, "invert", 40)
    folder.save_capacity(1024, "tune", 20)
    known = {at: folder.capacity(at) for at in (("invert", 39), ("invert", 40), ("tune", 0), ("tune", 20), ("hear", 0))}
    assert list(known.values()) == [1024, 1024, 256, 1024, 1024]  # other stages' room is kept, whichever came first
    folder.save_capacity(512, "tune", 10)  # gone on with from an earlier step than 20
    assert folder.capacity() == 512
    (folder.root / "capacity.json").write_text('{"capacity": 2048}')  # an earlier version's
    assert folder.capacity(("invert", 0)) == 2048


class TestFeaturesFoundAgain:
    @pytest.fixture
    def project(self, tmp_path, monkeypatch, tiny_whisper):
        """A project with a run whose audio features need weights, all by relative paths."""
        (tmp_path / "project").mkdir()
        monkeypatch.chdir(tmp_path / "project")
        shutil.copytree(tiny_whisper, "weights/whisper")
        config = {**CONFIG, "data": {"clip": "a", "features": "whisper", "features_weights": "weights/whisper"}}
        features = run_inputs.features_input("whisper", "weights/whisper")
        begin(RunFolder(Path("runs/may")), inputs=(CLIP, PRIOR, features), config=config)
        return tmp_path / "project"

    def test_from_another_folder_and_after_a_move(self, project, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert Path(RunFolder(Path("project/runs/may")).find_features() or "") == project / "weights/whisper"
        project.rename(tmp_path / "moved")
        assert Path(RunFolder(tmp_path / "moved/runs/may").find_features() or "") == tmp_path / "moved/weights/whisper"

    def test_other_or_missing_weights_are_refused(self, project):
        folder = RunFolder(Path("runs/may"))
        Path("weights/whisper").rename("elsewhere")
        with pytest.raises(UserError, match=r"are not there; say with --features-weights .* get model\.safetensors"):
            folder.find_features()
        assert folder.find_features("elsewhere") == "elsewhere"
        arrays = safetensors.numpy.load_file("elsewhere/whisper.safetensors")
        safetensors.numpy.save_file({n: a + 1 for n, a in arrays.items()}, "elsewhere/whisper.safetensors")
        with pytest.raises(UserError, match="elsewhere holds other whisper weights"):
            folder.find_features("elsewhere")
        other = run_inputs.features_input("whisper", "elsewhere")
        save(folder, "navigate")
        with pytest.raises(UserError, match=r"was made with the features .*whisper"):
            begin(folder, inputs=(CLIP, PRIOR, other), resume=True)

    def test_a_folder_of_that_name_with_other_things_in_it_is_not_theirs(self, project, tmp_path):
        """`weights` is what many folders are called: those of other programs must not stand before the right one."""
        shutil.copytree("weights/whisper", tmp_path / "weights/whisper")
        shutil.rmtree("weights/whisper")
        Path("weights/whisper").mkdir()
        Path("weights/whisper/lpips.safetensors").write_bytes(b"")
        folder = RunFolder(Path("runs/may"))
        assert folder.find_features() == str(tmp_path / "weights/whisper")
        shutil.rmtree(tmp_path / "weights")
        with pytest.raises(UserError, match=r"are not there \(.*no Whisper's encoder weights"):
            folder.find_features()
        with pytest.raises(UserError, match="no Whisper's encoder weights"):
            folder.find_features("weights/whisper")

    def test_features_without_weights_need_no_finding(self, folder):
        begin(folder, inputs=(CLIP, PRIOR, run_inputs.features_input("logmel", None)))
        assert folder.find_features() is None
        with pytest.raises(UserError, match="has no weights"):
            folder.find_features("somewhere")
        stored = json.loads((folder.root / "run.json").read_text())
        stored["features"]["sha256"] = "c" * 64
        (folder.root / "run.json").write_text(json.dumps(stored))
        with pytest.raises(UserError, match="logmel features of another version"):
            folder.find_features()

    def test_other_features_do_not_go_on(self, folder):
        begin(folder, inputs=(CLIP, PRIOR, run_inputs.features_input("logmel", None)), saves=["invert"])
        other = Input("features", "weights", "c" * 64)
        with pytest.raises(UserError, match=r"made with the features logmel .* not with weights"):
            begin(folder, inputs=(CLIP, PRIOR, other), resume=True)


def test_steps_that_are_done_are_those_of_the_newest_checkpoint(tmp_path):
    folder = RunFolder(tmp_path)
    for step in ("100", "1000", "200", "300.orbax-checkpoint-tmp-1"):
        (folder.checkpoints("tune") / step).mkdir(parents=True)
    assert folder.steps_done("tune") == 1000
    assert folder.steps_done("invert") == 0
