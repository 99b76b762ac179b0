"""face-alignment (S3FD detector, 2DFAN-4 network). Only this file imports it, an optional extra that needs torch:
``jax-talker[face-alignment]``. Its weights are never downloaded from here.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from jax_talker.data.track.faces import Face
from jax_talker.errors import UserError

DETECTOR, NETWORK = "s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar"  # of face-alignment 1.5
OFFERED_AT = "https://www.adrianbulat.com/downloads/python-fan"
INSTALL = "pip install 'jax-talker[face-alignment]'"
DETECTION_SIDE = 640  # px; the detector looks at pictures no larger than this, the network at the full picture
SMALLEST_FACE = 8.0  # px
NEIGHBOURS = 2  # cells around a heatmap's peak of which the centre of mass is taken


def cache_folder() -> Path:
    """Where the package keeps its weights: torch.hub's folder, found without importing torch."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    folder = os.path.expanduser(os.environ.get("TORCH_HOME", cache))  # Path's own raises where a user has no home
    return Path(folder) / "hub" / "checkpoints"


def unready(folder: Path | None = None) -> str:
    """Why face-alignment cannot be used with the weights in ``folder`` (default: its cache); "" when it can."""
    folder = cache_folder() if folder is None else folder
    if importlib.util.find_spec("face_alignment") is None:
        return f"the package is not installed; run: {INSTALL}"
    if missing := [name for name in (DETECTOR, NETWORK) if not (folder / name).is_file()]:
        offered = " and ".join(f"{OFFERED_AT}/{name}" for name in missing)
        return f"its weights are not in {folder}; download {offered} into that folder"
    return ""


class FaceAlignmentLandmarker:
    """68 points in the iBUG scheme, as the AD-NeRF family of methods is trained on (2DFAN-4 after S3FD, no flipping).

    The heatmaps are read to a fraction of a cell. The package itself reads quarters of a cell, which for a face of
    250 px are steps of 2 px, and cuts them to whole pixels: both would be seen as trembling.
    """

    name = "face-alignment"
    score_names = ()
    reach = 16 / DETECTION_SIDE  # S3FD's smallest anchors have 16 px

    def __init__(self, weights: str | Path | None = None):
        folder = cache_folder() if weights is None else Path(weights)
        if weights is not None and not folder.is_dir():
            raise UserError(f"{folder}: --landmarks=face-alignment needs a folder with {DETECTOR} and {NETWORK}")
        if reason := unready(folder):
            raise UserError(f"--landmarks=face-alignment is not ready: {reason}")
        self._torch, self._utils, self._nets = _load(folder)

    def __call__(self, rgb: UInt8[np.ndarray, "H W 3"], index: int) -> list[Face]:
        return [Face(points=self._points(rgb, box)) for box in self._boxes(rgb)]

    def check_length(self, frames: int) -> None:
        pass  # any number of pictures will do

    def __enter__(self) -> "FaceAlignmentLandmarker":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def _boxes(self, rgb: np.ndarray) -> list[np.ndarray]:
        shrink = min(1.0, DETECTION_SIDE / max(rgb.shape[:2]))
        seen = rgb if shrink == 1 else cv2.resize(rgb, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        ratio = np.array([rgb.shape[1] / seen.shape[1], rgb.shape[0] / seen.shape[0]] * 2)
        boxes = [np.asarray(box[:4]) * ratio for box in self._nets.face_detector.detect_from_image(seen)]
        return [box for box in boxes if min(box[2:] - box[:2]) >= SMALLEST_FACE]

    def _points(self, rgb: np.ndarray, box: np.ndarray) -> Float64[np.ndarray, "68 2"]:
        """The network looks at a square around the box, whose centre and size are part of how it was trained."""
        utils, extent = self._utils, box[2:] - box[:2]
        centre = (box[:2] + box[2:]) / 2 - np.array([0, utils.CENTER_Y_OFFSET * extent[1]])
        scale = float(extent.sum() / self._nets.face_detector.reference_scale)
        crop = utils.crop(rgb, centre, scale).transpose(2, 0, 1)[None].astype(np.float32) / 255
        with self._torch.inference_mode():
            heat = self._nets.face_alignment_net(self._torch.from_numpy(crop).to(self._nets.device))[-1]
        cells = peaks(heat[0].float().cpu().numpy())
        # Half a pixel: training targets count pixels from 1, so a point lies half a pixel beyond the pixel's centre.
        return (cells / heat.shape[-1] - 0.5) * utils.SCALE_FACTOR * scale + centre - 0.5


def peaks(heat: np.ndarray) -> Float64[np.ndarray, "P 2"]:
    """Where heatmaps [P, H, W] peak: centre of mass around the highest cell; (x, y) in cells, from the corner."""
    count, _, width = heat.shape
    highest = heat.reshape(count, -1).argmax(1)
    reach = np.arange(-NEIGHBOURS, NEIGHBOURS + 1)
    rows, columns = (highest // width)[:, None] + reach, (highest % width)[:, None] + reach
    near = np.pad(heat, ((0, 0), (NEIGHBOURS,) * 2, (NEIGHBOURS,) * 2))
    near = near[np.arange(count)[:, None, None], rows[:, :, None] + NEIGHBOURS, columns[:, None, :] + NEIGHBOURS]
    mass = np.maximum(near.astype(np.float64), 0)
    mass[:, NEIGHBOURS, NEIGHBOURS] += 1e-12  # the highest cell itself where all are 0
    total = mass.sum((1, 2))
    x, y = (mass * columns[:, None, :]).sum((1, 2)) / total, (mass * rows[:, :, None]).sum((1, 2)) / total
    return np.stack([x, y], 1) + 0.5


def _load(folder: Path) -> tuple[Any, Any, Any]:
    """torch, the package's utilities and its two networks, read by its own loaders from ``folder``, nowhere else."""
    try:
        import face_alignment
        import torch
        from face_alignment import api, utils
    except ImportError as error:
        raise UserError(f"face-alignment cannot be imported ({error}); run: {INSTALL}") from None
    wanted = Path(getattr(api, "models_urls", {}).get("2DFAN-4", "")).name
    if wanted != NETWORK:
        raise UserError(
            f"this version of face-alignment reads {wanted or 'other weights'}, not {NETWORK}; run: {INSTALL}"
        )

    def no_download(url: str, *args: Any, **kwargs: Any) -> str:
        return str(folder / Path(url).name)

    try:
        with mock.patch.object(api, "load_file_from_url", no_download):
            networks = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_D,
                device="cuda" if torch.cuda.is_available() else "cpu",
                flip_input=False,
                face_detector_kwargs={"path_to_detector": str(folder / DETECTOR)},
                compile=False,  # it takes longer than most clips, and writes to the user's home
            )
    except Exception as error:  # a damaged pickle may raise anything
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{folder}: {DETECTOR} or {NETWORK} is not what face-alignment offers ({reason[0]}); download both again "
            f"from {OFFERED_AT}"
        ) from None
    return torch, utils, networks
