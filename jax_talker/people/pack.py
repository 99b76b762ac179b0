"""The pack of human heads on disk: shape targets, attachments and textures (its own README is the manual).

The arrays keep the pack's names; here they become sparse matrices, triangles and pictures.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from scipy import sparse

from jax_talker.errors import UserError

DELTA_UNIT = 1e-4  # metres: target_delta is in 0.1 mm
SKINS = "skins"
COLLAR = 0.012  # metres: where the pack's collar field is above this the head ends, and a shirt would begin


@dataclass(frozen=True)
class Topology:
    """Triangles that index vertices and texture coordinates separately, anticlockwise seen from outside."""

    faces: np.ndarray  # [m, 3] int32
    face_uv: np.ndarray  # [m, 3] int32
    uv: np.ndarray  # [k, 2] float32: u right, v down, [0, 1]


@dataclass(frozen=True)
class Attachment:
    """A mesh that hangs on the head's vertices: eyes, teeth, hair, …"""

    name: str
    weight: sparse.csr_matrix  # [n, V]
    offset: np.ndarray  # [n, 3] metres
    scale_vertex: np.ndarray  # [3, 2]
    scale_length: np.ndarray  # [3] metres
    topology: Topology

    def size(self, neutral: np.ndarray) -> np.ndarray:
        """How large the neutral head [V, 3] is along x, y, z, relative to the one that the offsets were taken from."""
        axes = np.arange(3)
        ends = neutral[self.scale_vertex[:, 0], axes] - neutral[self.scale_vertex[:, 1], axes]
        return np.abs(ends) / self.scale_length

    def fit(self, vertices: np.ndarray, neutral: np.ndarray) -> np.ndarray:
        """Its vertices [n, 3] on a head [V, 3] whose neutral shape is ``neutral`` [V, 3]; all in metres."""
        return (self.weight @ vertices + self.offset * self.size(neutral)).astype(np.float32)


class Pack:
    """The pack's arrays (``pack["uv"]``) and what is derived from them; pictures are read when they are asked for."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        where = self.root / "head.npz"
        if not where.is_file():
            raise UserError(f"{self.root}: no head.npz there; give the folder of the pack of human heads")
        try:
            with np.load(where) as stored:
                self._arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError) as error:
            raise UserError(f"{where}: cannot read it ({error})") from None
        self._attachments: dict[tuple[str, bool], Attachment] = {}
        self._pictures: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise UserError(f"{self.root / 'head.npz'}: lacks the array {name!r}; is it another edition of the pack?")
        return self._arrays[name]

    @cached_property
    def target_names(self) -> list[str]:
        return self["target_names"].tolist()

    @cached_property
    def target_row(self) -> dict[str, int]:
        """Target name → row of ``targets``."""
        return {name: row for row, name in enumerate(self.target_names)}

    @cached_property
    def targets(self) -> sparse.csr_matrix:
        """[targets, 3 V] float32: what weight 1 of each adds to the flattened vertices, metres."""
        start, delta = self["target_start"], self["target_delta"].astype(np.float32) * DELTA_UNIT
        columns = 3 * self["target_vertex"].astype(np.int32)[:, None] + np.arange(3, dtype=np.int32)
        shape = (len(start) - 1, 3 * len(self["vertex"]))
        return sparse.csr_matrix((delta.ravel(), columns.ravel(), 3 * start), shape=shape)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """The names of the ARKit units in the pack's order, without their group."""
        return tuple(name.split("/")[1] for name in self.target_names if name.startswith("arkit/"))

    @cached_property
    def unit_targets(self) -> sparse.csr_matrix:
        """[52, 3 V]: the rows of ``targets`` that are ARKit units."""
        return self.targets[[self.target_row[f"arkit/{name}"] for name in self.units]]

    @cached_property
    def _cut_skin(self) -> tuple[Topology, np.ndarray, np.ndarray, np.ndarray]:
        """The skin above the collar; its triangles' regions; edges [k, 2] that the collar cuts, and where [k]."""
        field, uv = COLLAR - self["collar"], self["uv"].tolist()
        triangles, triangles_uv = _triangles(self["face"]), _triangles(self["face_uv"])
        faces, face_uv, source = [], [], []
        edges: dict[tuple[int, int], int] = {}
        shares: list[float] = []

        def cut(a: int, b: int, p: int, q: int) -> tuple[int, int]:
            """The vertex and the texture coordinates at which the collar crosses the edge from a to b."""
            share = float(field[a] / (field[a] - field[b]))
            if (a, b) not in edges:
                edges[a, b] = len(edges)
                shares.append(share)
            uv.append([(1 - share) * x + share * y for x, y in zip(uv[p], uv[q], strict=True)])
            return len(field) + edges[a, b], len(uv) - 1

        for k, (face, corners) in enumerate(zip(triangles.tolist(), triangles_uv.tolist(), strict=True)):
            ring = []  # Sutherland and Hodgman's polygon of what is above
            for i in range(3):
                (a, p), (b, q) = (face[i], corners[i]), (face[(i + 1) % 3], corners[(i + 1) % 3])
                if field[a] >= 0:
                    ring.append((a, p))
                if (field[a] >= 0) != (field[b] >= 0):
                    ring.append(cut(a, b, p, q) if field[a] >= 0 else cut(b, a, q, p))
            for i in range(1, len(ring) - 1):
                faces.append([ring[0][0], ring[i][0], ring[i + 1][0]])
                face_uv.append([ring[0][1], ring[i][1], ring[i + 1][1]])
                source.append(k // 2)
        region = self["face_region_names"][self["face_region"]][source]
        topology = Topology(np.array(faces, np.int32), np.array(face_uv, np.int32), np.array(uv, np.float32))
        return topology, region, np.array(list(edges), np.int32).reshape(-1, 2), np.array(shares, np.float32)

    @property
    def skin(self) -> Topology:
        """The head's own mesh as triangles, cut where a shirt would begin; its vertices are ``with_cut``'s."""
        return self._cut_skin[0]

    @property
    def skin_region(self) -> np.ndarray:
        """[triangles] str: head, mouth_inside, eye_socket_left, eye_socket_right, neck_torso."""
        return self._cut_skin[1]

    def with_cut(self, vertices: np.ndarray) -> np.ndarray:
        """The head's vertices [V, C] and after them those on the cut, between two of them each."""
        _, _, edges, shares = self._cut_skin
        at = shares[:, None]
        return np.concatenate([vertices, (1 - at) * vertices[edges[:, 0]] + at * vertices[edges[:, 1]]])

    def names(self, kind: str) -> list[str]:
        """Attachments of a kind (``hair``), without the kind."""
        return [n.split("/")[1] for n in self["attachment_names"].tolist() if n.startswith(f"{kind}/")]

    def attachment(self, name: str, *, mirrored: bool = False) -> Attachment:
        """An attachment by ``kind/name``, or its exact mirror image."""
        if (name, mirrored) not in self._attachments:
            index, offset = self[f"{name}.index"].astype(np.int32), self[f"{name}.offset"].copy()
            faces, face_uv = _triangles(self[f"{name}.face"]), _triangles(self[f"{name}.face_uv"])
            keep = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
            faces, face_uv = faces[keep], face_uv[keep]
            if mirrored:
                index, offset = self["mirror"][index].astype(np.int32), offset * np.array([-1, 1, 1], np.float32)
                faces, face_uv = faces[:, ::-1], face_uv[:, ::-1]
            rows = np.repeat(np.arange(len(index)), 3)
            weight = sparse.csr_matrix(
                (self[f"{name}.weight"].ravel(), (rows, index.ravel())), shape=(len(index), len(self["vertex"]))
            )
            self._attachments[name, mirrored] = Attachment(
                name,
                weight,
                offset,
                self[f"{name}.scale_vertex"].astype(np.int32),
                self[f"{name}.scale_length"],
                Topology(np.ascontiguousarray(faces), np.ascontiguousarray(face_uv), self[f"{name}.uv"]),
            )
        return self._attachments[name, mirrored]

    def pictures(self, kind: str) -> list[str]:
        """Names of the textures of a kind that are there (a skin has no mesh of its own, some hair no texture)."""
        return sorted(p.stem for p in (self.root / kind).glob("*") if p.suffix in (".jpg", ".png"))

    def picture(self, name: str) -> np.ndarray:
        """A texture by ``kind/name`` [H, W, 4] uint8, sRGB and straight alpha (255 where the file has none)."""
        if name not in self._pictures:
            found = sorted(self.root.glob(f"{name}.*"))
            image = cv2.imread(str(found[0]), cv2.IMREAD_UNCHANGED) if found else None
            if image is None:
                raise UserError(f"{self.root / name}: no picture of that name can be read")
            if image.ndim == 2:
                image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
            if image.shape[2] == 3:
                image = np.concatenate([image, np.full_like(image[..., :1], 255)], -1)
            self._pictures[name] = np.ascontiguousarray(image[..., [2, 1, 0, 3]])
        return self._pictures[name]


def _triangles(quads: np.ndarray) -> np.ndarray:
    """[2 m, 3] int32; a quad that repeats a corner gives a triangle without area."""
    quads = quads.astype(np.int32)
    return np.ascontiguousarray(np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], 1).reshape(-1, 3))
