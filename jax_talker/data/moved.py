"""Modules under the names they had before the rooms: scripts that import ``jax_talker.data.audio`` go on working."""

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType

MOVED = {
    "alpha_files": "cut.alpha_files",
    "audio": "read.audio",
    "blink": "track.blink",
    "dataset": "batches.dataset",
    "decoding": "read.decoding",
    "landmarks": "track.landmarks",
    "masks": "cut.masks",
    "matte": "cut.matte",
    "pose": "camera.pose",
    "video": "read.video",
}
PACKAGE = "jax_talker.data"


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module where it lies now; both names are one module."""

    def find_spec(self, fullname: str, path: object = None, target: object = None):
        package, _, name = fullname.rpartition(".")
        if package == PACKAGE and name in MOVED:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(f"{PACKAGE}.{MOVED[spec.name.rpartition('.')[2]]}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It was run when it was imported under its own name, which it keeps."""
        if module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state


sys.meta_path.append(_Moved())
