"""Bad input is one clear line, whichever program it is given to."""

import numpy as np
import soundfile
from programs.running import SIZE, refuses

from jax_talker.procedural import filming


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
