"""``evaluate``: scores that plain NumPy finds as well, and tables of protocols."""

import json
import shutil

import numpy as np
import pytest
from programs.running import SIZE, decoded, refuses, succeeds

from jax_talker.app import detecting, evaluating
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.read.video import read_frames


def test_protocols(run, tmp_path):
    """Tables of one run and of two, on the real program; PSNR is that of ``evaluate --run`` but for 8 bits."""
    scores = [succeeds("evaluate", "--run", run), json.loads((run / "metrics.json").read_text())][1]
    metrics = ["--weights", tmp_path / "none", "--metrics", "psnr,ssim_skimage,fid,lmd"]
    done = succeeds("evaluate", "--run", run, "--protocol", "self", "--videos", *metrics)
    assert detecting.look(run / "evaluation" / "self_run_beside.mp4").ours  # by its credentials, so small a picture
    table = json.loads((run / "evaluation" / "self.json").read_text())
    rows = {row["name"]: {r["name"]: r for r in row["results"][""]} for row in table["rows"]}
    fitted = "run, fitted to every 5th test frame (60 steps)"
    yardsticks = ["Mean frame", "Nearest pose", "Still anchor of run"]
    assert list(rows) == ["Ground truth", "Truth, H.264 (crf 18)", fitted, *yardsticks, "run"]
    for row, name in zip(yardsticks, ("mean_frame", "nearest_pose", "anchor_only"), strict=True):
        # But for 8 bits, and for what was not filmed, the same as the plain evaluation's.
        assert abs(rows[row]["psnr"]["value"] - scores[name]["whole"]["psnr"]) < 0.05
        assert abs(rows[row]["psnr_lower"]["value"] - scores[name]["lower"]["psnr"]) < 0.05
    assert rows["Ground truth"]["psnr"]["value"] == "inf"
    assert abs(rows["run"]["psnr"]["value"] - scores["model"]["whole"]["psnr"]) < 0.5  # it hears the tail's sound alone
    assert "inception_fid.safetensors" in rows["run"]["fid"]["missing"]
    assert "face_landmarker.task" in rows["run"]["lmd"]["missing"]
    assert table["provenance"]["config"]["run"]["task"]
    assert "| run |" in done.stdout
    shutil.copytree(run, other := tmp_path / "other")
    flags = ["--runs", f"{run},{other}", "--protocol", "mead", *metrics[:3], "psnr"]
    succeeds("evaluate", *flags, "--out", tmp_path / "both", "--clip", run.parent / "clip")
    text = (tmp_path / "both.md").read_text()
    assert "yaw_+20: PSNR, dB ↑" in text
    assert text.count("**") == 2 * 2 * 12  # equal runs share the first place: four regions, two cameras and their mean
    refuses("belongs to no single run", "evaluate", *flags)
    refuses("needs --protocol", "evaluate", "--runs", f"{run},{other}")


@pytest.mark.slow
def test_openface_takes_two_calls(run, tmp_path):
    """The first call writes the videos that OpenFace has to see, the second reads what it says of them."""
    folder = tmp_path / "openface"
    flags = ["--run", run, "--protocol=self", "--metrics=psnr", "--ceiling_every=0", "--openface", folder]
    done = succeeds("evaluate", *flags, "--out", tmp_path / "first")
    assert f"missing: {folder / 'run.csv'}, get it from OpenFace" in done.stdout
    written = sorted(path.name for path in folder.iterdir())
    assert written == ["Mean_frame.mp4", "Nearest_pose.mp4", "Still_anchor_of_run.mp4", "run.mp4", "truth.mp4"]
    frames = list(read_frames(folder / "run.mp4"))
    assert (len(frames), frames[0].shape) == (4, (SIZE, SIZE, 3))  # the render alone, an eleventh of 40
    units = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
    for name, intensity in (("truth", 1.0), ("run", 3.0)):
        lines = [",".join(["success", *(f"AU{unit:02d}_r" for unit in units)])]
        lines += [",".join(map(str, [1, *[intensity] * len(units)]))] * 4
        (folder / f"{name}.csv").write_text("\n".join(lines))
    (folder / "run.mp4").unlink()
    succeeds("evaluate", *flags, "--out", tmp_path / "second")
    table = json.loads((tmp_path / "second.json").read_text())
    rows = {row["name"]: {r["name"]: r.get("value") for r in row["results"][""]} for row in table["rows"]}
    assert (rows["Ground truth"]["aue_lower"], rows["Ground truth"]["aue_upper"]) == (0, 0)
    assert (rows["run"]["aue_lower"], rows["run"]["aue_upper"]) == (9 * 4, 8 * 4)
    assert not (folder / "run.mp4").exists()  # its CSV is there
    refuses("--openface goes with --protocol", "evaluate", "--run", run, "--openface", folder)


def test_held_out_frames_beside_the_truth_and_their_scores(run, clip, tmp_path):
    """Scores are those that plain NumPy finds for the very frames that ``render`` shows. Called from another folder."""
    out = tmp_path / "test.mp4"
    succeeds("render", "--run", run, "--audio", "test", "--camera", "clip", "--out", out, cwd=tmp_path)
    frames, _ = decoded(out)
    assert len(frames) == 4  # an eleventh of 40
    assert frames[0].shape == (SIZE, 2 * SIZE, 3)
    done = succeeds("evaluate", "--run", run, cwd=tmp_path)
    assert "nearest_pose" in done.stdout
    assert (run / "curves.png").stat().st_size > 1000
    scores = json.loads((run / "metrics.json").read_text())
    assert scores["frames"] == 4
    shown = np.stack(frames)[:, :, SIZE:] / 255
    own = open_clip(clip)
    for name, camera in {None: own, "yaw_+20": own.view("yaw_+20")}.items():
        truth = np.stack([camera.image(index) for index in range(40)]) / 255
        lower = np.stack([camera.masks(index)[..., 1] for index in range(36, 40)]) / 255
        values = scores if name is None else scores["views"][name]
        mean = np.broadcast_to(truth[:36].mean(0), truth[36:].shape)
        np.testing.assert_allclose(values["mean_frame"]["whole"]["psnr"], psnr(mean, truth[36:]), atol=1e-3)
        np.testing.assert_allclose(values["mean_frame"]["lower"]["psnr"], psnr(mean, truth[36:], lower), atol=1e-3)
        if name is None:  # H.264 at 30 dB and more hardly shows beside an untrained head's 10 dB
            np.testing.assert_allclose(values["model"]["whole"]["psnr"], psnr(shown, truth[36:]), atol=0.5)
            np.testing.assert_allclose(values["model"]["lower"]["psnr"], psnr(shown, truth[36:], lower), atol=1.0)
        assert values["model"]["whole"]["psnr"] != values["anchor_only"]["whole"]["psnr"]
        # A few steps have hardly moved the head: what separates the two yardsticks is who is shown.
        assert abs(values["model"]["whole"]["psnr"] - values["anchor_only"]["whole"]["psnr"]) < 1
        assert values["mean_frame"]["whole"]["ssim"] > values["model"]["whole"]["ssim"] > 0
        labels = [camera.arrays["label"][36:], own.arrays["label"][:36]]
        held_out, trained = (x[:, :16].reshape(-1, 4, 4)[:, :3, :3] for x in labels)
        nearest = [np.argmax([np.trace(a.T @ b) for b in trained]) for a in held_out]
        copies = np.stack([own.image(int(index)) for index in nearest]) / 255
        np.testing.assert_allclose(values["nearest_pose"]["whole"]["psnr"], psnr(copies, truth[36:]), atol=1e-3)


def psnr(pred, target, mask=None):
    """Mean over frames of −10 log₁₀ MSE, inside the mask where there is one."""
    weight = np.ones(pred.shape[:3]) if mask is None else mask
    square = ((pred - target) ** 2).mean(-1)
    return (-10 * np.log10((square * weight).sum((1, 2)) / weight.sum((1, 2)))).mean()


def test_scores_that_do_not_exist_are_null(tmp_path):
    """A side camera that never sees the mouth: JSON knows no NaN."""
    evaluating.write_metrics(
        tmp_path / "m.json", {"views": {"left_60": {"model": {"lower": {"psnr": np.nan, "ssim": 0.5}}}}}
    )
    stored = json.loads((tmp_path / "m.json").read_text(), parse_constant=pytest.fail)
    assert stored["views"]["left_60"]["model"]["lower"] == {"psnr": None, "ssim": 0.5}
