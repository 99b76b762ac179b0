"""The pack of human heads where it is at hand, and a tiny one of the test's own making: a ball with a face."""

import cv2
import numpy as np
import pytest

from jax_talker.people.pack import Pack

BOTH_SIDES = [
    "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp",
    "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch",
    "mouthUpperUp", "noseSneer",
]  # fmt: skip
ALONE = [
    "browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel",
    "mouthLeft", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
    "mouthShrugUpper", "tongueOut",
]  # fmt: skip
EXPRESSION_UNITS = sorted(ALONE + [f"{name}{side}" for name in BOTH_SIDES for side in ("Left", "Right")])  # ARKit's 52
ROWS, COLUMNS, RADIUS = 24, 40, 0.1  # of the ball


@pytest.fixture(scope="session")
def pack(shared):
    """The real pack; tests that ask for it skip where it is not."""
    if not (shared / "heads" / "head.npz").is_file():
        pytest.skip(f"no pack of human heads at {shared / 'heads'}")
    return Pack(shared / "heads")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A pack in miniature: every array and picture that the code reads, on a ball of 960 quads."""
    root = tmp_path_factory.mktemp("tiny_pack")
    np.savez(root / "head.npz", **_arrays())
    rng = np.random.default_rng(0)
    for name, channels in _pictures().items():
        (root / name).parent.mkdir(exist_ok=True)
        smooth = cv2.GaussianBlur(rng.random((64, 64, channels), dtype=np.float32), (0, 0), 4)
        cv2.imwrite(str(root / f"{name}.png"), (255 * np.clip(0.6 + 4 * (smooth - 0.5), 0, 1)).astype(np.uint8))
    for mask in ("lips_ears_eyelids", "scalp_beard_goatee"):
        (root / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "masks" / f"{mask}.png"), np.zeros((64, 64, 3), np.uint8))
    return Pack(root)


def _pictures():
    skins = [f"skins/{age}_{race}_{sex}" for age in ("young", "old") for race in ("african", "asian", "caucasian")
             for sex in ("female", "male")]  # fmt: skip
    opaque = {name: 3 for name in [*skins, "eyes/blue", "eyes/derived_brown", "teeth/teeth", "tongue/tongue01"]}
    return opaque | {name: 4 for name in ("eyebrows/brow", "eyelashes/lash", "hair/short01")}


def _grid(rows, columns):
    """Unit ball: vertices [n, 3], quads anticlockwise from outside, uv."""
    latitude = np.linspace(np.pi / 2 - 0.05, -np.pi / 2 + 0.05, rows + 1)[:, None]
    around = np.linspace(-np.pi, np.pi, columns + 1)[None]
    points = np.stack(
        np.broadcast_arrays(np.sin(around) * np.cos(latitude), np.sin(latitude), np.cos(around) * np.cos(latitude)), -1
    )
    uv = np.stack(
        np.broadcast_arrays(np.linspace(0.04, 0.96, columns + 1)[None], np.linspace(0.01, 0.51, rows + 1)[:, None]), -1
    )
    index = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1)
    return (
        points.reshape(-1, 3).astype(np.float32),
        quads.reshape(-1, 4).astype(np.uint16),
        uv.reshape(-1, 2).astype(np.float32),
    )


def _arrays():
    points, quads, uv = _grid(ROWS, COLUMNS)
    vertex = points * RADIUS + np.float32([0, -0.02, -0.07])
    near = lambda x, y: int(np.argmin(np.hypot(vertex[:, 0] - x, vertex[:, 1] - y) + (vertex[:, 2] < -0.05)))  # noqa: E731
    middle = vertex[quads.astype(int)].mean(1)
    region = np.where(
        middle[:, 1] < -0.10, 4, np.where((abs(middle[:, 0]) < 0.01) & (abs(middle[:, 1] + 0.065) < 0.004), 1, 0)
    )
    landmark = [near(0.07 * np.sin(a), -0.03 - 0.07 * np.cos(a)) for a in np.linspace(-1.4, 1.4, 17)]
    landmark += [near(x, 0.02) for x in np.linspace(-0.05, 0.05, 10)] + [near(0, y) for y in np.linspace(0, -0.03, 4)]
    landmark += [near(x, -0.04) for x in np.linspace(-0.015, 0.015, 5)]
    for side in (-1, 1):
        landmark += [
            near(side * 0.031 + 0.014 * np.cos(a), 0.009 * np.sin(a)) for a in np.pi - np.arange(6) * np.pi / 3
        ]
    for wide, many in ((0.026, 12), (0.02, 8)):
        landmark += [
            near(wide * np.cos(a), -0.067 + 0.01 * np.sin(a)) for a in np.pi - np.arange(many) * 2 * np.pi / many
        ]
    names = [f"macro/{race}-{sex}-{age}" for race in ("african", "asian", "caucasian") for sex in ("female", "male")
             for age in ("baby", "child", "young", "old")] + ["nose/nose-trans-in", "nose/nose-trans-out"]  # fmt: skip
    rng = np.random.default_rng(1)
    deltas = [
        np.outer(rng.normal(0, 8, len(vertex)), [0, 0, 1]) * 0 + rng.normal(0, 4, 3) * vertex / RADIUS for _ in names
    ]
    for unit in EXPRESSION_UNITS:
        towards = np.zeros_like(vertex)
        if unit == "jawOpen":
            towards[vertex[:, 1] < -0.067, 1] = -300  # 0.1 mm
        elif unit.startswith("eyeBlink"):
            lid = (np.sign(vertex[:, 0]) == (1 if unit.endswith("Left") else -1)) & (abs(vertex[:, 1] - 0.006) < 0.006)
            towards[lid, 1] = -100
        names.append(f"arkit/{unit}")
        deltas.append(towards)
    rows = [np.flatnonzero(np.abs(np.round(d)).any(1)) for d in deltas]
    eye = lambda x: [near(x + dx, dy) for dx in (-0.004, 0.004) for dy in (-0.004, 0, 0.002, 0.004)]  # noqa: E731
    out = {
        "vertex": vertex, "mirror": np.arange(len(vertex), dtype=np.uint16), "face": quads, "face_uv": quads, "uv": uv,
        "face_region": region.astype(np.uint8),
        "face_region_names": np.array(["head", "mouth_inside", "eye_socket_left", "eye_socket_right", "neck_torso"]),
        "target_names": np.array(names), "target_start": np.cumsum([0] + [len(r) for r in rows]).astype(np.int32),
        "target_vertex": np.concatenate(rows).astype(np.uint16),
        "target_delta": np.concatenate([np.round(d)[r] for d, r in zip(deltas, rows, strict=True)]).astype(np.int16),
        "modifier_names": np.array(["nose/nose-trans-in|out"]), "modifier_sigma": np.float32([0.2]),
        "modifier_negative": np.int16([[24, -1]]), "modifier_positive": np.int16([[25, -1]]),
        "joint_vertex": np.array([eye(0.031), eye(-0.031)], np.uint16), "landmark68": np.array(landmark, np.uint16),
        "lip_front": np.array([near(0, -0.06)] * 4, np.uint16), "collar": np.full(len(vertex), -1, np.float32),
        "attachment_names": np.array(["eyes/high-poly", "eyebrows/brow", "eyelashes/lash", "teeth/teeth_base",
                                      "tongue/tongue01", "hair/short01"]),
    }  # fmt: skip
    ball, faces, ball_uv = _grid(6, 8)
    count = len(ball)
    both = np.concatenate([0.012 * ball + [0.031, 0, 0.0], 0.012 * ball - [0.031, 0, 0.0]])
    both_uv = np.concatenate([0.4 * ball[:, :2] * [1, -1] / 2 + c for c in ([0.29, 0.71], [0.706, 0.296])]).astype(
        np.float32
    )
    meshes = {
        "eyes/high-poly": (both, np.concatenate([faces, faces + count]), both_uv),
        "eyebrows/brow": (0.004 * ball + [0.031, 0.02, 0.02], faces, ball_uv),
        "eyelashes/lash": (0.003 * ball + [0.031, 0.01, 0.03], faces, ball_uv),
        "teeth/teeth_base": (0.012 * ball + [0, -0.065, 0.0], faces, ball_uv),
        "tongue/tongue01": (0.008 * ball + [0, -0.075, 0.0], faces, ball_uv),
        "hair/short01": (
            0.115 * ball[ball[:, 2] < 0.3].repeat(1, 0) + [0, -0.01, -0.075],
            None,
            ball_uv[ball[:, 2] < 0.3],
        ),
    }
    for name, (place, own, own_uv) in meshes.items():
        if own is None:  # the cap: only quads all of whose corners are kept
            kept = ball[:, 2] < 0.3
            own = (np.cumsum(kept) - 1)[faces[kept[faces.astype(int)].all(1)].astype(int)]
        nearest = np.linalg.norm(place[:, None] - vertex[None], axis=-1).argmin(1)
        out |= {
            f"{name}.index": np.repeat(nearest[:, None], 3, 1).astype(np.uint16),
            f"{name}.weight": np.full((len(place), 3), 1 / 3, np.float32),
            f"{name}.offset": (place - vertex[nearest]).astype(np.float32),
            f"{name}.scale_vertex": np.array([[near(-0.05, 0), near(0.05, 0)], [near(0, 0.05), near(0, -0.05)],
                                              [near(0, 0), int(vertex[:, 2].argmin())]], np.uint16),
            f"{name}.face": own.astype(np.uint16), f"{name}.face_uv": own.astype(np.uint16), f"{name}.uv": own_uv,
        }  # fmt: skip
        ends = out[f"{name}.scale_vertex"].astype(int)
        out[f"{name}.scale_length"] = np.abs(vertex[ends[:, 0], range(3)] - vertex[ends[:, 1], range(3)])
    out["eyes/high-poly.vertex_is_left"] = np.arange(2 * count) < count
    out["eyes/high-poly.face_is_cornea"] = np.zeros(2 * len(faces), bool)
    out["teeth/teeth_base.vertex_is_upper"] = ball[:, 1] > 0
    return out
