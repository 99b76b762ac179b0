"""The models of others that ``prepare`` works with: where they are looked for, and how one is had that is not there.

None is shipped or fetched by itself: what is missing is named with its size, licence and address, and ``fetch`` is
called only where a person has asked for it.
"""

import hashlib
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from jax_talker.errors import UserError, check_writable

OFFERED = "https://storage.googleapis.com/mediapipe-models"
WAIT = 30.0  # s without an answer after which a server is given up
BLOCK = 1 << 16  # bytes


@dataclass(frozen=True)
class ModelFile:
    """One file as it is offered: a later version has another address, so size and hash stay true."""

    name: str
    what: str
    flag: str  # with which programs are told where it is
    size: int  # bytes
    sha256: str
    licence: str
    url: str

    def about(self) -> str:
        """The line that a person decides by."""
        return f"{self.name} ({self.what}; {self.size / 1e6:.1f} MB, {self.licence}, {self.url})"


FACE_LANDMARKER = ModelFile(
    name="face_landmarker.task",
    what="MediaPipe's face landmarker",
    flag="--landmark-model",
    size=3_758_596,
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    licence="Apache 2.0",
    url=f"{OFFERED}/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
)
SELFIE_SEGMENTER = ModelFile(
    name="selfie_segmenter.tflite",
    what="MediaPipe's selfie segmenter",
    flag="--matte-model",
    size=249_537,
    sha256="191ac9529ae506ee0beefa6b2c945a172dab9d07d1e802a290a4e4038226658b",
    licence="Apache 2.0",
    url=f"{OFFERED}/image_segmenter/selfie_segmenter/float16/1/selfie_segmenter.tflite",
)


def own_folder() -> Path:
    """Where fetched models are kept: in the user's cache folder, as compiled programs are."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return Path("models")
    return cache / "jax_talker" / "models"


def place_of(name: str) -> Path | None:
    """A file or folder where models are kept, here or in ./models; whatever version, for a person has put it there."""
    places = (own_folder(), Path(), Path("models"))
    return next((place / name for place in places if (place / name).exists()), None)


def wanted(model: ModelFile, fetched: bool) -> Path | None:
    """The file where it is, or, if somebody wants it ``fetched``, where it is then; else None."""
    found = place_of(model.name)
    if found is None and fetched:
        print(f"fetching {model.about()}")
        return fetch(model)
    return found


def missing(model: ModelFile) -> UserError:
    """What to do about a file that is not there."""
    return UserError(
        f"{model.about()} is needed and is not here: fetch it with --fetch; or, without a network, copy it to "
        f"{own_folder() / model.name}, or say with {model.flag} where it is"
    )


def fetch(model: ModelFile) -> Path:
    """Download the file to where it is kept. UserError where there is no network, or what comes is not the file."""
    path = own_folder() / model.name
    check_writable(path.parent, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with urllib.request.urlopen(model.url, timeout=WAIT) as answer, work.open("wb") as file:
            hashed, size = hashlib.sha256(), 0
            while block := answer.read(BLOCK):
                size += len(block)
                if size > model.size:
                    break
                hashed.update(block)
                file.write(block)
        if size != model.size or hashed.hexdigest() != model.sha256:
            raise UserError(
                f"{model.url}: what came is not the file that was offered there (SHA-256 {hashed.hexdigest()[:12]}…, "
                f"wanted {model.sha256[:12]}…); nothing was kept"
            )
        work.replace(path)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"{model.url}: cannot be fetched ({reason}); fetch it on another machine and copy it to {path}"
        ) from None
    finally:
        work.unlink(missing_ok=True)
    return path
