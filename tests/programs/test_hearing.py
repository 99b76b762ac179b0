"""What a head hears with: other audio features than log-mel, and how well it hears with any."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from programs.running import ROOT, decoded, refuses, succeeds

from benchmarks import hearing
from jax_talker import people
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.read.packed_clip import unpack
from jax_talker.people.expression import voice_of
from jax_talker.procedural import filming


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


def test_the_jaw_of_made_up_people_is_known(tmp_path):
    """Procedural ones and those with a human face: in their film, and in what they say next."""
    film = unpack(Path(people.__file__).parent / "assets" / "film", tmp_path / "film", frames=50, size=32)
    scene = filming.make_scene(3, 2.0)
    filming.write_clip(tmp_path / "clip", scene, size=32, source={"procedural": {"seed": 3, "seconds": 2.0}}, views={})
    for clip in (film, open_clip(tmp_path / "clip")):
        jaw = hearing._opening(clip)
        lips = clip.arrays["landmarks"]
        assert np.corrcoef(jaw, lips[:, 66, 1] - lips[:, 62, 1])[0, 1] > 0.6
        voice, opening = hearing._made_up(clip)
        said = hearing._babble(voice, opening, 1)
        assert len(said.jaw) == 300  # 12 s
        assert 0.3 < said.jaw.std() / jaw.std() < 3
    assert hearing._made_up(film)[0] == voice_of(6020)
    assert hearing._made_up(clip)[0] == scene.voice


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
        assert rows["speech"]["movement"] > 0  # of the clip's own
        assert -1 <= rows["speech"]["loudness"] <= 1
        assert rows["24 dB fainter"]["movement"] == pytest.approx(1, abs=0.01)
        assert rows["24 dB fainter"]["correlation"] > 0.99  # the level is brought back
        assert rows["music alone"]["movement"] > 0
        assert rows["speech as a stream"]["correlation"] > 0.9
        assert "speech as a stream after 2 s" not in rows  # there are 2 s
        pause = rows["a pause in white noise, 20 dB below"]
        assert pause["movement"] < 0.1 * rows["white noise, 20 dB below"]["movement"]  # it shuts, and rests then
        assert pause["open"] == pytest.approx(rows["silence"]["open"], abs=0.1)
    assert "24 dB fainter" in capsys.readouterr().out
    assert hearing.main(flags[:2]) == 2
    assert "--audio is needed" in capsys.readouterr().err
    assert hearing.main([*flags, "--retrain", "model.ears=2"]) == 2
    assert "has no model.ears" in capsys.readouterr().err
