"""Models of others: found, named when they are missing, and fetched from a server that may send anything."""

import functools
import hashlib
import http.server
import threading
from dataclasses import replace

import pytest

from jax_talker.data.read import model_files
from jax_talker.data.read.model_files import FACE_LANDMARKER
from jax_talker.errors import UserError

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """A server's folder, and the model file that it offers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "a.task").write_bytes(CONTENT)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/a.task"
    digest = hashlib.sha256(CONTENT).hexdigest()
    yield folder, replace(FACE_LANDMARKER, name="a.task", size=len(CONTENT), sha256=digest, url=url)
    server.shutdown()
    server.server_close()


def test_a_model_is_fetched_once_and_found_again(offered):
    _, model = offered
    assert model_files.place_of(model.name) is None
    path = model_files.fetch(model)
    assert path.read_bytes() == CONTENT
    assert model_files.place_of(model.name) == path
    assert [p.name for p in path.parent.iterdir()] == ["a.task"]


@pytest.mark.parametrize("sent", [CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + b"x", b""])
def test_another_file_than_was_offered_is_not_kept(offered, sent):
    folder, model = offered
    (folder / "a.task").write_bytes(sent)
    with pytest.raises(UserError, match="not the file that was offered"):
        model_files.fetch(model)
    assert model_files.place_of(model.name) is None
    assert list(model_files.own_folder().iterdir()) == []


def test_without_a_network_it_is_said_what_to_copy_where(offered):
    folder, model = offered
    (folder / "a.task").unlink()
    with pytest.raises(
        UserError, match=r"cannot be fetched \((File not found|Not Found)\).*copy it to .*models/a\.task"
    ):
        model_files.fetch(model)
    with pytest.raises(UserError, match=r"cannot be fetched"):
        model_files.fetch(replace(model, url="http://127.0.0.1:1/a.task"))


def test_what_is_missing_is_named_with_size_licence_and_address(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    said = str(model_files.missing(FACE_LANDMARKER))
    assert "face_landmarker.task (MediaPipe's face landmarker; 3.8 MB, Apache 2.0, https://storage.google" in said
    assert "--fetch" in said
    assert str(tmp_path / "jax_talker" / "models" / "face_landmarker.task") in said
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "face_landmarker.task").touch()
    assert model_files.place_of(FACE_LANDMARKER.name) is not None  # where somebody has put it, whatever version it is
