"""Camera paths as JSON, in and out, in the form that Nerfstudio's and viser's viewers write.

    {"camera_type": "perspective", "fps": 25, "render_width": 512, "render_height": 512,
     "camera_path": [{"camera_to_world": [16 numbers, row-major], "fov": 13.37, "aspect": 1.0}, …]}

``camera_to_world`` has OpenGL's axes (x right, y up, z backward) in the head's world (y up, the face looks along +z,
the frontal camera stands at z = 2.7); ``fov`` is the full vertical angle in degrees. One entry is a frame of 25 fps.
"""

import json
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jax_talker import geometry
from jax_talker.data.clip.clip import FPS
from jax_talker.errors import UserError

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV's camera axes in OpenGL's, and the other way round
CENTRED = 1e-3  # of the image size; labels know no shifted centre that this form could hold


def read_path(path: str | Path) -> Float[np.ndarray, "K 25"]:
    """EG3D labels of a file's cameras. UserError names the entry in which something is wrong."""
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        cameras = stored["camera_path"]
    except FileNotFoundError:
        raise UserError(f"{path}: no such camera path") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a camera path ({error}); docs/render.md says what one looks like") from None
    if not isinstance(cameras, list) or not cameras:
        raise UserError(f"{path}: its camera_path is empty")
    labels = []
    for number, camera in enumerate(cameras):
        try:
            matrix = np.array(camera["camera_to_world"], np.float64).reshape(4, 4)
            fov = float(camera["fov"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: camera {number} lacks camera_to_world (16 numbers) or fov ({error})") from None
        rotation = matrix[:3, :3]
        rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(rotation) > 0
        if not (np.isfinite(matrix).all() and rigid and 0 < fov < 180):
            raise UserError(f"{path}: camera {number} is no rotation and translation, or its fov is not within 0–180°")
        focal = 0.5 / math.tan(math.radians(fov) / 2)
        labels.append(geometry.make_label(matrix @ OPENGL, focal))
    return np.stack(labels)


def write_path(path: str | Path, label: Float[np.ndarray, "T 25"], size: int) -> None:
    """Write the cameras of frames; UserError for one whose optical axis is not the picture's centre."""
    world_from_cam, intrinsics = geometry.split_label(np.asarray(label, np.float64))
    if np.abs(intrinsics[:, :2, 2] - 0.5).max() > CENTRED:
        raise UserError(
            f"{path}: the optical axis of these cameras is not their pictures' centre, which JSON cannot say"
        )
    cameras = [
        {
            "camera_to_world": (matrix @ OPENGL).ravel().tolist(),
            "fov": math.degrees(2 * math.atan(0.5 / focal)),
            "aspect": 1.0,
        }
        for matrix, focal in zip(world_from_cam, intrinsics[:, 1, 1].tolist(), strict=True)
    ]
    stored = {
        "camera_type": "perspective",
        "render_width": size,
        "render_height": size,
        "fps": FPS,
        "seconds": len(cameras) / FPS,
        "camera_path": cameras,
    }
    Path(path).write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
