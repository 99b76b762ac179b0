"""Every program once, as a user runs it, on a procedural person in a process of its own; and what they refuse."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import jax
import numpy as np
import pytest
import soundfile
from scipy.spatial.transform import Rotation

from audio.conftest import tiny_whisper
from benchmarks import hearing
from data import mead_miniature as mead
from jax_talker import priors
from jax_talker.app import evaluating
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.read.mead.session import open_mead
from jax_talker.data.read.video import read_alpha, read_frames
from jax_talker.priors import GGHeadConfig
from jax_talker.priors import template as templates
from jax_talker.procedural import filming
from kernels.ply import read_ply

__all__ = ["tiny_whisper"]
ROOT = Path(__file__).resolve().parents[1]
SIZE = 32
SMALL = [  # a run of seconds: what is tested is that everything fits together
    "--config.personalize.invert_steps=3",
    "--config.personalize.tune_steps=3",
    "--config.train.hear_steps=3",
    "--config.train.steps=4",
    "--config.train.batch=2",
    "--config.log.scalars=2",
]


# Programs of one session compile the same things.
CACHE = {"JAX_COMPILATION_CACHE_DIR": tempfile.mkdtemp(), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}


def program(name, *flags, cwd=ROOT, stdin=subprocess.DEVNULL):
    """Run ``python -m jax_talker.<name>``; returns the finished process with its output as text."""
    command = [sys.executable, "-m", f"jax_talker.{name}", *map(str, flags)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"} | CACHE
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False, stdin=stdin
    )


def succeeds(name, *flags, cwd=ROOT, stdin=subprocess.DEVNULL):
    done = program(name, *flags, cwd=cwd, stdin=stdin)
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def refuses(message, name, *flags):
    """One line, exit code 2, no traceback."""
    done = program(name, *flags)
    assert done.returncode == 2, (done.returncode, done.stderr[-2000:])
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr[-2000:]
    assert message in lines[0], lines[0]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """1.6 s of a procedural person, seen by two cameras."""
    root = tmp_path_factory.mktemp("programs") / "clip"
    scene = filming.make_scene(1, 1.6)
    filming.write_clip(root, scene, size=SIZE, source={}, views={"yaw_+20": (20, 0)})
    return root


@pytest.fixture(scope="session")
def prior(tmp_path_factory):
    """A generator that compiles in seconds; the bundled one goes through the same programs in ``make demo``."""
    baked = templates.bake(templates.ellipsoid(), plane_resolution=16, uv_samples=24, register=False)
    config = GGHeadConfig.for_template(
        baked, z_dim=8, w_dim=16, c_dim=0, mapping_layers=1, channel_base=128, channel_max=8, uv_samples=24,
        sh_degree=0, use_flame_to_bfm_registration=False,
    )  # fmt: skip
    made = priors.make_gghead(config)
    folder = tmp_path_factory.mktemp("programs") / "prior"
    priors.save(folder, made, made.init(jax.random.key(0), baked), card="random\n")
    return folder


@pytest.fixture(scope="session")
def small(prior):
    """Flags of a small run."""
    return [*SMALL, f"--config.prior.path={prior}"]


@pytest.fixture(scope="session")
def run(clip, small):
    """A trained run: personalised by itself, then trained."""
    folder = clip.parent / "run"
    flags = ["--config", "configs/quickstart.py", f"--config.data.clip={clip}", "--workdir", folder, *small]
    succeeds("personalize", *flags)
    assert (folder / "personal" / "person.safetensors").is_file()
    assert not (folder / "checkpoints" / "navigate").exists()
    succeeds("train", *flags)
    return folder


def decoded(path):
    with av.open(str(path)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    with av.open(str(path)) as video:
        sound = np.concatenate([block.to_ndarray().ravel() for block in video.decode(audio=0)])
    return frames, sound


def test_train_writes_what_it_promises(run):
    assert json.loads((run / "config.json").read_text())["train"]["steps"] == 4
    assert (run / "checkpoints" / "navigate" / "4").is_dir()
    stages = {json.loads(line)["stage"] for line in (run / "scalars.jsonl").read_text().splitlines()}
    assert stages == {"invert", "tune", "hear", "navigate"}


def test_train_resumes_and_refuses_to_overwrite(run, clip, small):
    flags = ["--config", "configs/quickstart.py", f"--config.data.clip={clip}", "--workdir", run, *small]
    refuses("pass --resume to go on", "train", *flags)
    before = (run / "config.json").read_bytes()
    refuses("was made with another configuration:", "train", *flags, "--config.model.lips=9", "--resume")
    refuses("does not fit this configuration", "train", *flags, "--config.model.lips=9", "--resume", "--allow-changes")
    assert (run / "config.json").read_bytes() == before, "what is refused changes nothing"
    done = succeeds("train", *flags, "--config.train.steps=6", "--resume")
    assert "resuming with another train.steps: 4 → 6" in done.stderr + done.stdout
    assert (run / "checkpoints" / "navigate" / "6").is_dir()


@pytest.mark.parametrize("camera", ["yaw=20,pitch=-10", "spiral"])
def test_render_any_sound_from_any_camera(run, tmp_path, camera):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "speech.wav", 0.1 * rng.standard_normal((22050, 2)), 22050)  # 1 s, stereo, another rate
    out = tmp_path / "out.mp4"
    flags = ["--run", run, "--camera", camera, "--out", out]
    if camera == "spiral":
        with (tmp_path / "speech.wav").open("rb") as stdin:
            succeeds("render", *flags, "--audio", "-", stdin=stdin)
    else:
        succeeds("render", *flags, "--audio", tmp_path / "speech.wav")
    frames, sound = decoded(out)
    assert len(frames) == 25
    assert frames[0].shape == (SIZE, SIZE, 3)
    assert np.abs(sound).max() > 0.05
    assert np.std(frames[0]) > 5


def test_motion_and_cameras_go_out_and_come_back(run, tmp_path):
    """Rendered again from what was written, the same pictures; and the same motion as splats."""
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "speech.wav", 0.1 * rng.standard_normal((28_800, 2)), 48_000)  # 15 frames
    motion, cameras = tmp_path / "motion.npz", tmp_path / "path.json"
    flags = ["--run", run, "--size", SIZE, "--background", "transparent", "--provenance", "off"]
    first, again = tmp_path / "a.mov", tmp_path / "b.mov"
    written = ["--coefficients-out", motion, "--camera-out", cameras]
    succeeds("render", *flags, "--camera", "spiral", "--audio", tmp_path / "speech.wav", *written, "--out", first)
    succeeds("render", *flags, "--camera", cameras, "--coefficients", motion, "--out", again)
    for read in (read_frames, read_alpha):
        pictures = [np.stack(list(read(path))).astype(int) for path in (first, again)]
        assert len(pictures[0]) == len(pictures[1]) == 15
        assert np.abs(pictures[0] - pictures[1]).max() <= 2  # rounding of what was written, and ProRes after it
    assert 0 < np.mean(pictures[0] > 128) < 1
    succeeds("export", "--run", run, "--coefficients", motion, "--frame", 13, "--sequence", "--out", tmp_path / "h.ply")
    heads = [read_ply(path) for path in sorted(tmp_path.glob("h_*.ply"))]
    assert [p.name for p in sorted(tmp_path.glob("*.ply"))] == ["h_0013.ply", "h_0014.ply"]
    assert np.abs(heads[0].means - heads[1].means).max() > 0
    refuses("there are 15 frames", "export", "--run", run, "--coefficients", motion, "--frame", 15, "--out", "h.ply")


@pytest.mark.slow
def test_the_notebook_shows_a_run(run):
    cells = json.loads((ROOT / "docs/notebooks/talking_head.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    environment = os.environ | {"RUN": str(run), "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "484 Gaussians" in done.stdout


def test_protocols(run, tmp_path):
    """Tables of one run and of two, on the real program; PSNR is that of ``evaluate --run`` but for 8 bits."""
    scores = [succeeds("evaluate", "--run", run), json.loads((run / "metrics.json").read_text())][1]
    metrics = ["--weights", tmp_path / "none", "--metrics", "psnr,ssim_skimage,fid,lmd"]
    done = succeeds("evaluate", "--run", run, "--protocol", "self", *metrics)
    table = json.loads((run / "evaluation" / "self.json").read_text())
    rows = {row["name"]: {r["name"]: r for r in row["results"][""]} for row in table["rows"]}
    fitted = "run, fitted to every 5th test frame (60 steps)"
    assert list(rows) == ["Ground truth", "Truth, H.264 (crf 18)", fitted, "run"]
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


def test_bad_input_is_one_clear_line(run, clip, tmp_path):
    other = tmp_path / "other"
    filming.write_clip(other, filming.make_scene(2, 0.2), size=SIZE, source={})
    quickstart = ["--config", "configs/quickstart.py"]
    refuses("stepz", "train", *quickstart, "--config.train.stepz=3", "--workdir", tmp_path / "a")
    refuses("config.data.clip is not set", "train", *quickstart, "--workdir", tmp_path / "b")
    refuses("no clip.json", "train", *quickstart, f"--config.data.clip={tmp_path}", "--workdir", tmp_path / "c")
    refuses("no prior there", "personalize", *quickstart, f"--config.data.clip={clip}",
            "--config.prior.path=nowhere", "--workdir", tmp_path / "d")  # fmt: skip
    refuses("config.train.batch: 3, but", "train", *quickstart, f"--config.data.clip={clip}",
            "--config.train.batch=3", "--workdir", tmp_path / "f")  # fmt: skip
    refuses("is another clip than the one", "evaluate", "--run", run, "--clip", other)
    refuses("LPIPS needs config.loss.lpips_weights", "train", *quickstart, f"--config.data.clip={clip}",
            "--config.loss.lpips=1.0", "--workdir", tmp_path / "e")  # fmt: skip
    soundfile.write(tmp_path / "silence.wav", np.zeros(0), 16000)
    refuses("silence.wav", "render", "--run", run, "--audio", tmp_path / "silence.wav", "--out", tmp_path / "o.mp4")
    refuses("standard input is empty", "render", "--run", run, "--audio", "-", "--out", tmp_path / "o.mp4")
    refuses("--camera 'sideways'", "render", "--run", run, "--audio", "test", "--camera", "sideways",
            "--out", tmp_path / "o.mp4")  # fmt: skip
    assert not (tmp_path / "f").exists()
    assert not list(tmp_path.glob("*.mp4")), "nothing half-written is left"


@pytest.mark.slow  # a whole run
def test_features_with_weights_drive_the_programs(clip, small, tiny_whisper, tmp_path):
    """Trained, rendered and scored with an extractor of other features than log-mel; its weights are looked for."""
    shutil.copytree(tiny_whisper, tmp_path / "weights")
    run, features = tmp_path / "run", "--config.data.features=whisper"
    flags = ["--config", ROOT / "configs/quickstart.py", f"--config.data.clip={clip}", *small]
    refuses("needs config.data.features_weights; get model.safetensors", "train", *flags, features, "--workdir", run)
    assert not run.exists()
    flags += [features, "--config.data.features_weights=weights"]
    succeeds("train", *flags, "--workdir", "run", cwd=tmp_path)
    assert [path.name.startswith("whisper-") for path in (clip / "features").iterdir()].count(True) == 1
    soundfile.write(tmp_path / "speech.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    sound, out = ["--audio", tmp_path / "speech.wav"], tmp_path / "out.mp4"
    succeeds("render", "--run", run, *sound, "--out", out)  # called from another folder
    assert len(decoded(out)[0]) == 25
    assert "lips move" in succeeds("evaluate", "--run", run).stdout
    (tmp_path / "weights").rename(tmp_path / "elsewhere")
    refuses("weights that it was trained with", "render", "--run", run, *sound, "--out", tmp_path / "o.mp4")
    succeeds("render", "--run", run, *sound, "--out", out, "--features-weights", tmp_path / "elsewhere")


@pytest.mark.slow  # trains encoders anew
def test_how_a_head_hears_is_measured(run, tmp_path, capsys):
    """Also with encoders that are learnt anew; the run stays as it was."""
    time = np.arange(32_000) / 16_000
    sound = 0.1 * np.sin(2 * np.pi * 300 * time) * np.maximum(0, np.sin(2 * np.pi * 2 * time))
    soundfile.write(tmp_path / "speech.wav", sound, 16_000)
    flags = ["--run", str(run), "--audio", str(tmp_path / "speech.wav")]
    before = sorted(path for path in run.rglob("*"))
    assert hearing.main([*flags, "--json", str(tmp_path / "a.json")]) == 0
    changes = "train.hear_steps=5 train.sound.room=0.5 model.attention=1"
    assert hearing.main([*flags, "--retrain", changes, "--json", str(tmp_path / "b.json")]) == 0
    assert sorted(path for path in run.rglob("*")) == before
    for name in ("a.json", "b.json"):
        (found,) = json.loads((tmp_path / name).read_text())["results"]
        rows = found["rows"]
        assert rows["speech"]["correlation"] is None
        assert rows["speech"]["movement"] == pytest.approx(1)
        assert rows["24 dB fainter"]["correlation"] > 0.99  # the level is brought back
        assert rows["music alone"]["movement"] > 0
    assert "24 dB fainter" in capsys.readouterr().out
    assert hearing.main(flags[:2]) == 2
    assert "--audio is needed" in capsys.readouterr().err
    assert hearing.main([*flags, "--retrain", "model.ears=2"]) == 2
    assert "has no model.ears" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="needs a place where nobody may write")
def test_a_run_that_cannot_be_written_is_refused_before_any_work(clip):
    flags = ["--config", "configs/quickstart.py", f"--config.data.clip={clip}", "--workdir", "/proc/self/run"]
    done = refuses("/proc/self/run: cannot write there", "train", *flags, *SMALL)
    assert "computing on" not in done.stdout + done.stderr


@pytest.mark.slow  # five cameras are filmed, prepared and scored
def test_mead_from_tars_to_scores(tmp_path, prior):
    """Joined recordings, calibrated views; the last recording is held out whole; a second prepare does nothing."""
    cameras = {view: mead.CAMERAS[view] for view in ("front", "top", "left_30")}
    names = ["angry/level_1/001", "happy/level_2/001", "neutral/level_1/001", "neutral/level_1/002"]
    truth = mead.film_person(tmp_path / "unpacked", names, seconds=0.8, size=96, cameras=cameras)
    (tmp_path / "unpacked/audio/neutral/level_1/002.m4a").unlink()
    mead.pack_split(tmp_path / "unpacked", tmp_path / "MEAD" / "M003")
    session = open_mead(tmp_path / "MEAD", "M003", list(cameras))
    # 0.3 px of a head 96 px wide is 1 px of one 320 px wide: jitter_raw must not be that of exact landmarks
    rng = np.random.default_rng(0)
    for points in (p for of in truth.landmarks.values() for p in of.values()):
        points += 0.3 * rng.normal(size=points.shape)
    landmarks = mead.write_landmarks(tmp_path / "landmarks", truth, session)
    clip, folder = tmp_path / "clip", tmp_path / "run"
    flags = ["--mead", tmp_path / "MEAD", "--identity", "M003", "--views", ",".join(cameras), "--landmarks", landmarks,
             "--size", SIZE, "--out", clip]  # fmt: skip
    done = succeeds("prepare", *flags)
    assert "M003: 3 recordings" in done.stdout
    assert "sound_missing: M003 audio/neutral/level_1/002" in done.stdout + done.stderr
    before = {path: path.stat().st_mtime_ns for path in clip.rglob("*")}
    assert "nothing was done" in succeeds("prepare", *flags).stdout
    assert {path: path.stat().st_mtime_ns for path in clip.rglob("*")} == before
    checked = succeeds("prepare", "--check", clip)
    assert "every part is whole" in checked.stdout
    for defect in (" cut:", " jump:", " flash:", " frozen:", " size_change:", " calibration:", " out_of_step:"):
        assert defect not in checked.stdout + checked.stderr
    made = json.loads((clip / "clip.json").read_text(), parse_constant=pytest.fail)  # no NaN
    assert made["views"] == ["top", "left_30"]
    assert made["frames"] == 60
    assert made["source"]["boundaries"] == [20, 40]
    near = np.isin(np.arange(60), [18, 19, 20, 21, 38, 39, 40, 41])
    for view in cameras:
        own = open_clip(clip) if view == "front" else open_clip(clip).view(view)
        error = camera_error(own.arrays["label"], truth.joined(truth.labels, session, view))
        assert error.mean() < 2.0, view  # measured 1.5–1.6°
        assert error[near].max() < 4.0, view  # 8.5° at the boundaries when they were smoothed over

    config = ["--config", "configs/mead.py", f"--config.data.clip={clip}", "--workdir", folder]
    small = [*SMALL, f"--config.prior.path={prior}", "--config.prior.compute=float32"]
    trained = succeeds("train", *config, *small)
    assert "train: 40 frames, 20 held out" in trained.stdout + trained.stderr
    scored = succeeds("evaluate", "--run", folder)
    scores = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert list(scores["views"]) == ["top", "left_30"]
    assert scores["frames"] == 20
    assert "left_30" in scored.stdout
    succeeds("render", "--run", folder, "--audio", "test", "--camera", "clip", "--out", tmp_path / "test.mp4")
    frames, _ = decoded(tmp_path / "test.mp4")
    assert len(frames) == 20


def camera_error(found, true):
    """Degrees [T] between labels' rotations, after one rotation of the head's frame."""
    found, true = (np.linalg.inv(a[:, :16].reshape(-1, 4, 4).astype(float))[:, :3, :3] for a in (found, true))
    frame = Rotation.from_matrix(found.swapaxes(1, 2) @ true).mean().as_matrix()
    return np.degrees(Rotation.from_matrix(found @ frame @ true.swapaxes(1, 2)).magnitude())


@pytest.mark.slow  # minutes of compilation
@pytest.mark.parametrize(
    ("kind", "source"), [("gghead", "gghead/run/GGHEAD-1_tiny"), ("gsgan", "gsgan/gsgan_mini_cuda0.pkl")]
)
def test_converted_checkpoint_drives_the_programs(shared, clip, tmp_path, kind, source):
    """A user's own checkpoint (one saved on a GPU as well): convert, train, render a picture."""
    prior, folder, out = tmp_path / "prior", tmp_path / "run", tmp_path / "out.mp4"
    command = [sys.executable, "-m", "converters", kind, str(shared / "golden" / source), str(prior)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    flags = ["--config", "configs/quickstart.py", f"--config.data.clip={clip}", "--workdir", folder, *SMALL]
    directions = ["--config.model.expressions=2", "--config.model.lips=3"]  # the golden priors' W+ is small
    succeeds("train", *flags, *directions, f"--config.prior.path={prior}")
    soundfile.write(tmp_path / "speech.wav", 0.1 * np.random.default_rng(0).standard_normal(3200), 16000)
    succeeds("render", "--run", folder, "--audio", tmp_path / "speech.wav", "--out", out)
    frames, _ = decoded(out)
    assert len(frames) == 5
    assert np.std(frames[0]) > 1  # something is drawn
