"""Vertices of one person in any expression, in metres and in EG3D's world."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from jax_talker import geometry
from jax_talker.data.track.landmarks import AVERAGE_FACE, IBUG
from jax_talker.people.pack import Pack

ANCHOR_POINTS = {  # iBUG points whose mean is each of the five anchors
    "left_eye": range(42, 48),
    "right_eye": range(36, 42),
    "nose_tip": (30,),
    "mouth_left": (54,),
    "mouth_right": (48,),
}
GAZE_DEGREES = {"Out": 23.0, "In": 23.0, "Up": 12.0, "Down": 20.0}  # at weight 1 of eyeLook*
LID_PAIRS = {"Right": ((37, 41), (38, 40)), "Left": ((43, 47), (44, 46))}  # iBUG points of upper and lower lid
EYE_UNITS = ("eyeBlink", "eyeLook", "eyeSquint", "eyeWide")


@dataclass(frozen=True)
class WorldFrame:
    """world = scale · rotation · metres + shift: where EG3D's cameras expect a face."""

    scale: float  # world units a metre
    rotation: np.ndarray  # [3, 3]
    shift: np.ndarray  # [3]

    def __call__(self, metres: np.ndarray) -> np.ndarray:
        return (self.scale * self.turn(metres) + self.shift).astype(np.float32)

    def turn(self, directions: np.ndarray) -> np.ndarray:
        """Directions [..., 3] in the world."""
        return (directions @ self.rotation.T).astype(np.float32)


class Shape:
    """One person's head [V, 3] in metres: neutral, and under any ARKit weights [52]."""

    def __init__(self, pack: Pack, weights: np.ndarray):
        """``weights`` [targets]: of shape targets; those of expressions belong to ``expressed``."""
        self.pack = pack
        base = pack["vertex"].astype(np.float64)
        vertices = base + (pack.targets.T @ weights.astype(np.float64)).reshape(-1, 3)
        vertices -= vertices[pack["joint_vertex"][:2]].mean((0, 1))
        self.neutral = vertices.astype(np.float32)
        self.unit_scale = self._unit_scales()
        self.frame = self._world_frame()

    def expressed(self, units: np.ndarray) -> np.ndarray:
        """The head [V, 3] with ARKit weights [52]."""
        added = self.pack.unit_targets.T @ (units * self.unit_scale).astype(np.float32)
        return self.neutral + added.reshape(-1, 3)

    def eyes(self, units: np.ndarray) -> np.ndarray:
        """The eyes' vertices: fitted on the neutral head, each turned about its centre by what the lids look at."""
        attachment = self.pack.attachment("eyes/high-poly")
        vertices = attachment.fit(self.neutral, self.neutral)
        left = self.pack["eyes/high-poly.vertex_is_left"]
        for side, of_side, joint in (("Left", left, 0), ("Right", ~left, 1)):
            center = self.neutral[self.pack["joint_vertex"][joint]].mean(0)
            vertices[of_side] = (vertices[of_side] - center) @ self.gaze(units, side).T + center
        return vertices

    def gaze(self, units: np.ndarray, side: str) -> np.ndarray:
        """Rotation [3, 3] of the person's ``Left`` or ``Right`` eye."""
        weight = {way: units[self.pack.units.index(f"eyeLook{way}{side}")] for way in GAZE_DEGREES}
        turned = {way: GAZE_DEGREES[way] * w for way, w in weight.items()}
        outwards = 1 if side == "Left" else -1  # +x is the person's left
        yaw, pitch = outwards * (turned["Out"] - turned["In"]), turned["Up"] - turned["Down"]
        return Rotation.from_euler("YX", [yaw, -pitch], degrees=True).as_matrix().astype(np.float32)

    def landmarks(self, vertices: np.ndarray) -> np.ndarray:
        """The 68 iBUG points [68, 3] of a head [V, 3]."""
        return vertices[self.pack["landmark68"]]

    def _unit_scales(self) -> np.ndarray:
        """How much of each unit this person takes [52]: units are in metres of an adult, so lids need what closes them,
        and a small face less."""
        points, adult = self.landmarks(self.neutral), self.landmarks(self.pack["vertex"])
        wide = np.linalg.norm(points[54] - points[48]) / np.linalg.norm(adult[54] - adult[48])
        scale = np.full(len(self.pack.units), np.clip(wide, 0.6, 1.0))
        for side, pairs in LID_PAIRS.items():
            opening, usual = (sum(np.linalg.norm(p[a] - p[b]) for a, b in pairs) for p in (points, adult))
            for row, unit in enumerate(self.pack.units):
                if unit.startswith(EYE_UNITS) and unit.endswith(side):
                    scale[row] = np.clip(opening / usual, 0.6, 1.5)
        return scale

    def _world_frame(self) -> WorldFrame:
        """How ``prepare`` places a filmed face: turned (about x) like the average one, its anchors on EG3D's."""
        points = self.landmarks(self.neutral).astype(np.float64)
        rotation = _nod(points)
        points = points @ rotation.T
        own = np.stack([points[list(ANCHOR_POINTS[name])].mean(0) for name in geometry.FACE_ANCHORS])
        wanted = np.array(list(geometry.FACE_ANCHORS.values()))
        centred, target = own - own.mean(0), wanted - wanted.mean(0)
        scale = (centred[:, :2] * target[:, :2]).sum() / (centred[:, :2] ** 2).sum()
        return WorldFrame(float(scale), rotation, wanted.mean(0) - scale * own.mean(0))


def _nod(points: np.ndarray) -> np.ndarray:
    """The rotation about x [3, 3] that lays rigid landmarks best on those of the average face (Procrustes)."""
    names = [name for name in AVERAGE_FACE if IBUG.points.get(name) in IBUG.rigid]
    own = points[[IBUG.points[name] for name in names]]
    usual = np.array([AVERAGE_FACE[name] for name in names])
    (y, z), (u, v) = ((p - p.mean(0))[:, 1:].T for p in (own, usual))
    angle = np.arctan2((y * v - z * u).sum(), (y * u + z * v).sum())
    return Rotation.from_euler("X", angle).as_matrix()
