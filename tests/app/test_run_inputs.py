"""What a run goes on with: the same clip, prior, features and configuration, and what is refused changes nothing."""

import json
from dataclasses import asdict, replace

import pytest
from app.run_folders import ALL, CLIP, CONFIG, FIRST, PRIOR, begin, everything, make_clip, personalise

from jax_talker.app import run_inputs
from jax_talker.app.run_inputs import Input
from jax_talker.audio import level
from jax_talker.data.batches.dataset import split
from jax_talker.errors import UserError


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
        for beside in ("expressions.safetensors", "encoder.safetensors"):  # where motion and inversion start
            (tmp_path / "copy" / beside).write_bytes(b"3")
            with_it = run_inputs.prior_input(str(tmp_path / "copy")).sha256
            assert with_it != copy
            copy = with_it
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

    def test_other_features_do_not_go_on(self, folder):
        begin(folder, inputs=(CLIP, PRIOR, run_inputs.features_input("logmel", None)), saves=["invert"])
        other = Input("features", "weights", "c" * 64)
        with pytest.raises(UserError, match=r"made with the features logmel .* not with weights"):
            begin(folder, inputs=(CLIP, PRIOR, other), resume=True)
