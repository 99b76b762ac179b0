"""A run's folder: one process at a time, nothing stale, nothing overwritten, and the room that its steps had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from app.run_folders import ALL, CONFIG, FIRST, begin, everything, personalise

from jax_talker.app.run_folder import RunFolder
from jax_talker.errors import UserError


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


def test_steps_that_are_done_are_those_of_the_newest_checkpoint(tmp_path):
    folder = RunFolder(tmp_path)
    for step in ("100", "1000", "200", "300.orbax-checkpoint-tmp-1"):
        (folder.checkpoints("tune") / step).mkdir(parents=True)
    assert folder.steps_done("tune") == 1000
    assert folder.steps_done("invert") == 0
