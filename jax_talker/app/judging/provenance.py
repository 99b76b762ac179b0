"""Where numbers come from: what stands beside every table, so that another person gets the same ones."""

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("jax-talker", "jax", "jaxlib", "flax", "numpy", "scipy", "av", "opencv-python-headless", "mediapipe")


def provenance(config: Mapping[str, Any] | None = None, program: str = "evaluate") -> dict[str, Any]:
    """Command (of the ``program``), configuration with its hash, commit, date (UTC), hardware and versions."""
    return {
        "command": shlex.join(["python", "-m", f"jax_talker.{program}", *sys.argv[1:]]),
        "config": None if config is None else dict(config),
        "config_sha256": None if config is None else _hash(config),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def hardware() -> str:
    """Processor, cores that this process may use, and JAX's devices."""
    devices = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores; JAX on {len(jax.devices())} × {devices}"


def commit() -> str | None:
    """The commit of the checkout that this package lies in, with "+" when it was changed; None where there is none."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        ask = lambda *words: subprocess.run(  # noqa: E731
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()
        return ask("rev-parse", "--short=12", "HEAD") + "+" * bool(ask("status", "--porcelain", "-uno"))
    except (OSError, subprocess.SubprocessError):  # no git, or a checkout of somebody else's
        return None


def _versions() -> dict[str, str]:
    out = {}
    for name in PACKAGES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return out


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _hash(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()
