"""Where a run's records go besides its own lines: TensorBoard's files, and Weights & Biases."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto import event_pb2
from training.toy_problem import fresh, step, targets

from jax_talker.errors import UserError
from jax_talker.training.log import Log, read_scalars
from jax_talker.training.loop import Every, run


def events(folder):
    """What a file of TensorBoard's events holds: length (8 bytes), sum (4), record, sum (4), …."""
    (path,) = folder.glob("events*")
    content, found = path.read_bytes(), []
    while content:
        size = int.from_bytes(content[:8], "little")
        found.append(event_pb2.Event.FromString(content[12 : 12 + size]))
        content = content[16 + size :]
    return found


def test_what_a_run_measures_and_shows_is_in_tensorboards_file(tmp_path):
    truth = np.random.default_rng(0).random((5, 7, 3))
    with Log(tmp_path) as log:
        run("toy", fresh(), 6, step, targets(), log=log, every=Every(2, 3, 0), sample=lambda _: {"truth": truth})
    scalars, pictures = {}, {}
    for event in events(tmp_path / "log"):
        for value in event.summary.value:
            if value.HasField("image"):
                pictures[value.tag, event.step] = np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))
            else:
                scalars[value.tag, event.step] = value.simple_value
    wanted = {
        (f"toy/{name}", number): value
        for name, (steps, values) in read_scalars(tmp_path)["toy"].items()
        for number, value in zip(steps, values, strict=True)
    }
    assert {number for _, number in wanted} == {2, 4, 6}
    assert {"toy/loss", "toy/grad_norm", "toy/input_wait"} <= {tag for tag, _ in wanted}
    assert scalars == pytest.approx(wanted, rel=1e-6)  # they are float32 there
    assert list(pictures) == [("toy/truth", 3), ("toy/truth", 6)]
    for picture in pictures.values():
        np.testing.assert_allclose(picture / 255, truth, atol=0.5 / 255 + 1e-6)


def test_what_could_not_be_measured_is_not_drawn(tmp_path):
    with Log(tmp_path) as log:
        log.scalars("tune", 20, {"loss": 0.5, "psnr": np.nan})
    values = [value for event in events(tmp_path / "log") for value in event.summary.value]
    assert [(value.tag, value.simple_value) for value in values] == [("tune/loss", 0.5)]


def test_successive_pictures_are_a_video(tmp_path):
    frames = np.stack([np.full((6, 8, 3), shade) for shade in (0.0, 0.5, 1.0)])
    with Log(tmp_path) as log:
        log.image("navigate", 7, "speaking", frames)
    (event,) = [event for event in events(tmp_path / "log") if event.summary.value]
    (value,) = event.summary.value
    assert (event.step, value.tag, value.image.height, value.image.width) == (7, "navigate/speaking", 6, 8)
    video = Image.open(io.BytesIO(value.image.encoded_image_string))
    assert video.n_frames == 3
    assert video.info["duration"] == 40
    for number, shade in enumerate((0, 128, 255)):
        video.seek(number)
        assert abs(int(np.asarray(video.convert("RGB"))[3, 4, 0]) - shade) <= 1


@pytest.mark.slow  # it starts a process of its own
def test_weights_and_biases_gets_the_records_as_well(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with Log(tmp_path, wandb="heads") as log:
        log.scalars("tune", 20, {"loss": 0.5, "psnr": np.nan})
        log.scalars("navigate", 10, {"loss": 0.25})  # a later stage's steps begin anew
        log.image("navigate", 10, "truth", np.zeros((4, 4, 3)))
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    with Log(tmp_path, wandb="heads") as log:
        log.scalars("navigate", 20, {"loss": 0.2})
    with Log(tmp_path, wandb="others") as log:
        log.scalars("navigate", 30, {"loss": 0.1})
    first, resumed, other = (path.name for path in sorted(tmp_path.glob("wandb/offline-run-*/run-*.wandb"), key=at))
    assert first == resumed != other, "a resumed run goes on with its own, another project has another one"
    content = kept.read_bytes()
    assert all(name in content for name in (b"tune/loss", b"navigate/loss", b"navigate/step", b"navigate/truth"))
    assert b"tune/psnr" not in content, "what could not be measured is left out"


def at(path):
    """When a file was made."""
    return path.stat().st_mtime_ns


def test_it_is_named_before_any_work_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'jax-talker\[wandb\]'"), Log(tmp_path, wandb="heads"):
        pytest.fail("work was begun")


@pytest.mark.slow  # wandb keeps its settings for the rest of a process
def test_nobody_who_is_logged_in_is_said_before_any_work(tmp_path):
    pytest.importorskip("wandb")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    code = "import sys\nfrom jax_talker.training.log import Log\nwith Log(sys.argv[1], wandb='heads'): print('begun')"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        env=environment | {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=600,
    )
    assert "UserError: config.log.wandb: No API key configured." in done.stderr
    assert "begun" not in done.stdout
