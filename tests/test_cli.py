"""The edge of every program: any terminal, and what goes wrong with files, in one line."""

import ast
import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from jax_talker import cli
from jax_talker.data.read.video import check_video_path
from jax_talker.errors import UserError, check_writable

ROOT = Path(__file__).resolve().parents[1]
# What prepare prints (superscripts, dashes), a name in another script, and half a name as a foreign disk may hold.
PROGRAM = """
import sys
from jax_talker import cli
def main():
    print("128² – 頭 \\udce9 done")
    print("128² – 頭 \\udce9 said", file=sys.stderr)
cli.run(main, ["program"])
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "gbk", "cp932", "utf-8", "utf-16"])
def test_any_terminal_will_do(encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout.decode(encoding, errors="replace")
    assert "said" in done.stderr.decode(encoding, errors="replace")


FAULTS = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from jax_talker import cli
def main():
    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        # MB: what lies in mappings of their own otherwise; at once, for an arena keeps the first 64
        together = [np.ones(size * 125_000) for size in (40, 50, 60, 160)]
        del together
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    faults()
    print(faults())
    with ThreadPoolExecutor(1) as another:  # as XLA's
        another.submit(faults).result()
        print(another.submit(faults).result())
cli.run(main, ["program"])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep freed memory")
def test_memory_that_was_freed_is_not_fetched_page_by_page_again():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, check=True)
    assert all(int(count) < 1000 for count in done.stdout.split())  # 310 MB are 76,000 pages


THREADS = """
import threadpoolctl
from jax_talker import cli
def main():
    threads = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    print(len(threads), max(threads))
cli.run(main, ["program"])
"""


def test_blas_leaves_the_cores_to_xla():
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", THREADS], env=environment, capture_output=True, check=True)
    libraries, most = map(int, done.stdout.split())
    assert libraries >= 1
    assert most == 1


COMPILED = """
import jax
from jax_talker import cli
cli.WORTH_KEEPING = 0.0  # or it had to be something that takes a second to compile
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.rpartition("/")[2]))
def main():
    jax.jit(lambda x: jax.numpy.sin(x) @ x.T)(jax.numpy.ones((8, 8))).block_until_ready()
    print(events.count("cache_hits"), events.count("cache_misses"))
cli.run(main, ["program"])
"""


def test_what_one_run_compiled_the_next_one_finds(tmp_path):
    """In the user's cache folder, where nothing else is said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    found = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", COMPILED], env=environment, capture_output=True, check=True)
        found.append(tuple(map(int, done.stdout.split())))
    (hits, misses), again = found
    assert hits == 0
    assert misses > 0
    assert again == (misses, 0)
    (kept,) = (tmp_path / "jax_talker").iterdir()
    assert len(list(kept.glob("*-cache"))) == misses


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EROFS, "error: there/a.mp4: cannot write there (Read-only file system)"),
        (errno.EACCES, "error: there/a.mp4: not allowed to read or write it (Permission denied)"),
        (errno.ENOSPC, "error: there/a.mp4: no space left; free some and start it again"),
        (errno.ENAMETOOLONG, "error: there/a.mp4…: not the name of a file (File name too long)"),
    ],
)
def test_what_a_disk_refuses_is_one_line(capsys, number, says):
    def main():
        raise OSError(number, os.strerror(number), "there/a.mp4")

    with pytest.raises(SystemExit) as exit_:
        cli.run(main, ["program"])
    assert exit_.value.code == cli.EXIT_USER_ERROR
    assert capsys.readouterr().err.strip() == says


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections'
@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--config.train.stepz=3", "error: --config.train.stepz: has no field 'stepz' Did you mean \"steps\""),
        (
            "--config.train.frames=4",
            "error: --config.train.frames: has no field 'frames' (see --help)",
        ),
        ("--config.trainn.steps=3", "error: --config.trainn.steps: has no field 'trainn'"),
        ("--config.train.steps=many", "error: flag --config.train.steps=many: invalid literal"),
    ],
)
def test_what_is_misspelt_is_named_whole(capsys, flag, says):
    holder = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=holder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.flags, "FLAGS", holder)
        patch.setattr(cli.app, "define_help_flags", lambda: None)
        argv = ["train", f"--config={ROOT / 'configs/quickstart.py'}", flag]
        patch.setattr("sys.argv", argv)
        with pytest.raises(SystemExit, match="2"):
            cli.run(pytest.fail, argv)
    line = capsys.readouterr().err
    assert says in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "says", "values"),
    [
        (["a.mp4", "b.wav", "--out", "c.mp4"], "", ("a.mp4", "b.wav", "c.mp4")),
        (["--out=c.mp4", "a.mp4"], "", ("a.mp4", None, "c.mp4")),
        (["a.mp4", "--video", "d.mp4"], "--video=d.mp4 and 'a.mp4': give one of them", ()),
        (["a", "b", "c"], "unexpected argument 'c'", ()),
    ],
)
def test_arguments_without_a_name_are_flags(capsys, monkeypatch, argv, says, values):
    holder = flags.FlagValues()
    for name in ("video", "speech", "out"):
        flags.DEFINE_string(name, None, "", flag_values=holder)
    monkeypatch.setattr(cli.flags, "FLAGS", holder)
    monkeypatch.setattr(cli.app, "define_help_flags", lambda: None)
    found = []
    main = lambda: found.extend(holder[name].value for name in ("video", "speech", "out"))  # noqa: E731
    if says:
        with pytest.raises(SystemExit, match="2"):
            cli.run(main, ["talk", *argv], given=("video", "speech"))
        assert says in capsys.readouterr().err
    else:
        cli.run(main, ["talk", *argv], given=("video", "speech"))
    assert tuple(found) == values


def test_our_own_mistakes_keep_their_traceback():
    def main():
        raise OSError(errno.EBADF, "Bad file descriptor")

    with pytest.raises(OSError, match="Bad file"):
        cli.run(main, ["program"])


def test_a_place_to_write_is_tried_before_any_work(tmp_path, monkeypatch):
    check_writable(tmp_path / "new" / "folder", "clip")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"clip: cannot write there \(Not a directory\)"):
        check_writable(tmp_path / "file" / "folder", "clip")
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(UserError, match="is a folder; name the video"):
        check_video_path(tmp_path / "a.mp4")

    def read_only(*_, dir, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(UserError, match=r"b\.mp4: cannot write there \(Read-only file system\)"):
        check_video_path(tmp_path / "b.mp4")


def text_without_encoding(source):
    """Line numbers of calls that read or write text in whatever encoding the locale has."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(k.arg == "encoding" for k in node.keywords):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("read_text", "write_text"):
            yield node.lineno
        elif name == "open":
            plain = isinstance(node.func, ast.Name)
            modes = [a.value for a in node.args[plain:] if isinstance(a, ast.Constant)]
            owner = "" if plain else ast.unparse(node.func.value)
            files = plain or owner.endswith("path") or (bool(modes) and owner not in ("av", "os", "tarfile"))
            if files and not any("b" in str(mode) for mode in modes):
                yield node.lineno


TOPS = ("jax_talker", "kernels", "configs", "converters", "benchmarks")
MODULES = sorted(p for top in TOPS for p in (ROOT / top).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_text_files_are_utf8_in_any_locale(path):
    assert list(text_without_encoding(path.read_text(encoding="utf-8"))) == []


def test_text_without_encoding_is_found():
    source = "p.read_text()\nopen(p)\nq.open('w')\nopen(p, 'rb')\nq.open('rb')\nav.open(url, 'w')"
    assert list(text_without_encoding(source)) == [1, 2, 3]


@pytest.mark.torch
@pytest.mark.parametrize("name", ["render", "evaluate", "train", "talk", "prepare"])
def test_no_program_imports_pytorch_to_read_its_flags(name):
    """Where it is installed (for tests, or beside), libraries that look for it would cost each call two seconds."""
    code = f"import sys, jax_talker.{name}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
