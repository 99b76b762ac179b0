"""A run's clip and its features' weights: found again after a move, by what they hold, and no others are taken."""

import json
import os
import shutil
from pathlib import Path

import pytest
import safetensors.numpy
from app.run_folders import CLIP, CONFIG, PRIOR, begin, make_clip, save

from jax_talker.app import run_inputs
from jax_talker.app.run_folder import RunFolder
from jax_talker.errors import UserError


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
