"""A disk that is soon full, for tests of what is not lost then."""

import contextlib
import shutil
import subprocess

import pytest

MB = 2**20


@contextlib.contextmanager
def small_disk(folder, size):
    """``folder``, made if it is missing, as a disk of so many bytes in memory; skips where nobody may mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here to make a small disk with")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk, left):
    """Leave so many bytes free; returns the file to delete for more."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - left))
    return ballast
