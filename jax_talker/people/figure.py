"""One person as meshes: everything on the head, posed by ARKit weights and lit; what a picture is taken of."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import no_type_check

import numpy as np

from jax_talker.people import painting
from jax_talker.people.identity import BALD, Person, lash_styles
from jax_talker.people.light import Light, directions, irradiance, visibility
from jax_talker.people.pack import Attachment, Pack, Topology
from jax_talker.people.raster import Textures
from jax_talker.people.shape import Shape
from jax_talker.people.skin import skin
from jax_talker.procedural.compiled import njit

# Parts of the part map, in order; 0 is background.
PARTS = ("nothing", "skin", "ears", "scalp", "neck", "mouth", "eyes", "teeth", "tongue", "lashes", "hair")
SKIN = ("skin", "ears", "scalp", "neck")
COMMON = ("skin", "eyes", "teeth", "tongue", "lashes")
SOFT = ("lashes", "hair")  # with alpha, composited in order
VIEWER = np.array([0.0, 0.0, 1.0], np.float32)  # metres from between the eyes: whom the highlights are for
HEAD_MIDDLE = np.array([0.0, 0.01, -0.085], np.float32)  # metres
TRANSLUCENT = 0.35  # of the light on hair comes through it
MOUTH_BOUNCE = 0.35  # of the light in a mouth comes off its walls
MOUTH_DEPTH = 0.025  # metres in which light in the mouth falls to 1/e
LIP_DEPTH = 0.006  # metres behind the lips' front from where it falls

# How each part takes light: how far it carries it past the terminator (times WRAP); highlights, how strong and sharp.
CARRIES = {**dict.fromkeys(SKIN, 1.0), "mouth": 1.0, "tongue": 1.0, "teeth": 0.6, "eyes": 0.6}
SHINE = {
    **dict.fromkeys(SKIN, (0.10, 14)),
    "mouth": (0.10, 24),
    "teeth": (0.20, 40),
    "tongue": (0.12, 24),
    "hair": (0.012, 8),
}
OUTSIDE = {"eyes": -0.0005, "teeth": 0.001, "tongue": 0.001, "hair": 0.006}  # metres: visibility's bias; others 0.004


@dataclass(frozen=True)
class Lit:
    """A posed, lit figure: what the rasteriser reads. World units."""

    vertices: np.ndarray  # [n, 3] world
    normals: np.ndarray  # [n, 3]
    light: np.ndarray  # [n, 3] linear
    shine: np.ndarray  # [n, 4] linear highlight; what the texture's alpha means (raster.shaded)
    mirrors: np.ndarray  # [k, 6] lights that the eyes mirror
    landmarks: np.ndarray  # [68, 3] world


@dataclass(frozen=True)
class Posed:
    """A posed figure before any light falls on it; metres."""

    vertices: np.ndarray  # [n, 3]
    normals: np.ndarray  # [n, 3]
    seen: np.ndarray  # [n, DIRECTIONS] of each direction, 0 … 1
    landmarks: np.ndarray  # [68, 3]


class Figure:
    """A person's meshes joined into one: ``pose`` moves them, ``lit`` lights them; textures are painted once."""

    def __init__(self, pack: Pack, person: Person):
        self.pack, self.person = pack, person
        self.shape = Shape(pack, person.weights)
        self._hung: dict[str, Attachment] = {  # first what everybody has in the same place, as in COMMON
            "teeth": pack.attachment(f"teeth/{person.teeth}"),
            "tongue": pack.attachment("tongue/tongue01"),
            "lashes": pack.attachment(f"eyelashes/{person.lashes}"),
        }
        if person.hair.style != BALD:
            self._hung["hair"] = pack.attachment(f"hair/{person.hair.style}", mirrored=person.hair.mirrored)
        self._join()

    def _join(self) -> None:
        """Static arrays of the joined mesh: faces, their textures and parts, what each vertex belongs to."""
        pieces = common_pieces(self.pack)[:2] + [_piece(name, a) for name, a in self._hung.items()]
        joined = join(pieces)
        self.start, self.vertex_count = joined.start, joined.vertex_count
        self.faces, self.face_uv, self.uv = joined.topology.faces, joined.topology.face_uv, joined.topology.uv
        self.face_texture, self.parts = joined.texture, joined.parts
        self.opaque = np.flatnonzero(~np.isin(self.parts, numbers(SOFT)))
        self.soft = np.flatnonzero(np.isin(self.parts, numbers(SOFT)))
        self.occluders = np.flatnonzero(
            np.isin(self.parts, numbers(SKIN)) | ((self.parts == PARTS.index("hair")) & (self._hair_alpha() > 0.45))
        )
        self.vertex_part = np.zeros(self.vertex_count, np.uint8)
        for f in (self.faces[:, k] for k in range(3)):
            self.vertex_part[f] = self.parts
        self._bias = _by_part(self.vertex_part, OUTSIDE, 0.004)
        self.wrap = _by_part(self.vertex_part, CARRIES, 0.0)
        self._strength = _by_part(self.vertex_part, {k: s for k, (s, _) in SHINE.items()}, 0.0)
        self._sharp = _by_part(self.vertex_part, {k: m for k, (_, m) in SHINE.items()}, 8.0)

    @cached_property
    def textures(self) -> Textures:
        """Painted when a picture is first taken; in the order of the pieces (``face_texture``)."""
        pack, person = self.pack, self.person
        images = [
            skin(pack, person),
            painting.eyes(pack, person),
            painting.teeth(pack),
            painting.tongue(pack),
            painting.lashes(pack, person),
        ]
        return Textures.pack(images + ([painting.hair(pack, person.hair)] if "hair" in self._hung else []))

    def _hair_alpha(self) -> np.ndarray:
        """How opaque each face would be if it were hair, [m], read at its middle and near its corners."""
        if "hair" not in self._hung:
            return np.zeros(len(self.faces))
        image = painting.hair(self.pack, self.person.hair)
        corners = self.uv[self.face_uv]
        points = np.concatenate(
            [corners.mean(1, keepdims=True), 0.6 * corners + 0.4 * corners.mean(1, keepdims=True)], 1
        )
        size = np.array(image.shape[1::-1])
        at = np.clip((points * size).astype(int), 0, size - 1)
        return image[at[..., 1], at[..., 0], 3].mean(1) / 255

    def pose(self, units: np.ndarray, *, seen: np.ndarray | None = None) -> Posed:
        """All vertices under ARKit weights [52], with normals and what they see of the light's directions.

        ``seen`` of another pose of this figure, if given, is kept instead of found anew.
        """
        shape = self.shape
        head = shape.expressed(units)
        pieces = [self.pack.with_cut(head), shape.eyes(units)]
        for name, attachment in self._hung.items():
            size = attachment.size(shape.neutral) * (self.person.hair.volume if name == "hair" else 1.0)
            pieces.append((attachment.weight @ head + attachment.offset * size).astype(np.float32))
        vertices = np.concatenate(pieces).astype(np.float32)
        normals = vertex_normals(vertices, self.faces)
        self._round_eyes(vertices, normals)
        self._comb(vertices, normals)
        if seen is None:
            occluders = np.ascontiguousarray(self.faces[self.occluders])
            found = np.asarray(visibility(vertices, normals, self._bias, vertices, occluders, directions()))
            seen = self._dim_mouth(vertices, found)
        return Posed(vertices, normals, seen, shape.landmarks(head))

    def _round_eyes(self, vertices: np.ndarray, normals: np.ndarray) -> None:
        """Eyes shine as the cornea does: their normals point away from the eyes' centres."""
        eyes = slice(self.start["eyes"], self.start["teeth"])
        centers = self.shape.neutral[self.pack["joint_vertex"][:2]].mean(1)
        left = self.pack["eyes/high-poly.vertex_is_left"]
        away = vertices[eyes] - np.where(left[:, None], centers[0], centers[1])
        normals[eyes] = away / np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-9)

    def _comb(self, vertices: np.ndarray, normals: np.ndarray) -> None:
        """Hair is lit as a mass: normals of its cards, which show both sides, are drawn away from the head's middle."""
        hair = self.vertex_part == PARTS.index("hair")
        away = vertices[hair] - HEAD_MIDDLE
        away /= np.linalg.norm(away, axis=-1, keepdims=True)
        own = normals[hair] * np.sign((normals[hair] * away).sum(-1, keepdims=True))
        own = own + 0.8 * away
        normals[hair] = own / np.maximum(np.linalg.norm(own, axis=-1, keepdims=True), 1e-9)

    def _dim_mouth(self, vertices: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Less light the deeper in the mouth (the pack's rule of thumb); depth maps are too coarse for its corners."""
        front = vertices[self.pack["lip_front"]][:, 2].max() - LIP_DEPTH
        inside = np.isin(self.vertex_part, numbers(("mouth", "teeth", "tongue")))
        near = np.abs(vertices[:, 1] - vertices[self.pack["lip_front"]][:, 1].mean()) < 0.06  # not the eyes' sockets
        deep = np.maximum(front - vertices[:, 2], 0) * (inside & near)
        bounce = np.where(self.vertex_part == PARTS.index("teeth"), 0.6, MOUTH_BOUNCE)[inside & near, None]
        seen[inside & near] = bounce + (1 - bounce) * seen[inside & near]
        return seen * np.exp(-deep / MOUTH_DEPTH)[:, None].astype(np.float32)

    def lit(self, posed: Posed, light: Light) -> Lit:
        """The posed figure under a light, in EG3D's world."""
        towards = directions()
        radiance = light.radiance(towards)
        falling = irradiance(posed.normals, posed.seen, self.wrap, towards, radiance)
        hair = self.vertex_part == PARTS.index("hair")
        through = irradiance(-posed.normals[hair], posed.seen[hair], self.wrap[hair], towards, radiance)
        falling[hair] += TRANSLUCENT * (through - falling[hair])
        shine = np.zeros((self.vertex_count, 4), np.float32)
        shine[:, :3] = self._highlights(posed, light)
        shine[:, 3] = ~np.isin(self.vertex_part, numbers(SOFT))
        shine[self.vertex_part == PARTS.index("eyes"), 3] = 2
        frame = self.shape.frame
        return Lit(frame(posed.vertices), posed.normals, falling, shine, _mirrors(light), frame(posed.landmarks))

    def _highlights(self, posed: Posed, light: Light) -> np.ndarray:
        """Blinn's highlights [n, 3] of the light's lobes for the viewer in front, dimmed by what is hidden."""
        to_viewer = VIEWER - posed.vertices
        to_viewer /= np.linalg.norm(to_viewer, axis=-1, keepdims=True)
        openness = posed.seen.mean(1, keepdims=True) * 2
        total = np.zeros_like(posed.vertices)
        for axis, color in zip(light.axes, light.colors, strict=True):
            half = to_viewer + axis.astype(np.float32)
            half /= np.linalg.norm(half, axis=-1, keepdims=True)
            facing = np.maximum((posed.normals * half).sum(-1), 0) ** self._sharp
            facing *= np.clip(3 * (posed.normals @ axis.astype(np.float32)), 0, 1)
            total += facing[:, None] * color.astype(np.float32)
        return self.person.gloss * self._strength[:, None] * np.minimum(openness, 1) ** 2 * total


@dataclass(frozen=True)
class Piece:
    """A mesh to be joined: faces of part 0 are left out."""

    name: str
    topology: Topology
    vertex_count: int
    parts: np.ndarray  # [m]


@dataclass(frozen=True)
class Joined:
    """Pieces in one list of vertices, each piece with its own texture."""

    topology: Topology
    texture: np.ndarray  # [m] int64: which piece's
    parts: np.ndarray  # [m] uint8
    start: dict[str, int]  # each piece's first vertex
    vertex_count: int


def _piece(name: str, attachment: Attachment) -> Piece:
    faces = len(attachment.topology.faces)
    return Piece(name, attachment.topology, len(attachment.offset), np.full(faces, PARTS.index(name)))


def common_pieces(pack: Pack) -> list[Piece]:
    """What everybody has, with the same vertices and faces: COMMON, in this order."""
    region = pack.skin_region
    ears, scalp = _painted(pack, "lips_ears_eyelids", 1), _painted(pack, "scalp_beard_goatee", 0)
    kinds = np.select(
        [region == "neck_torso", region != "head", ears, scalp],
        numbers(("neck", "mouth", "ears", "scalp")),
        PARTS.index("skin"),
    )
    eyes = pack.attachment("eyes/high-poly")
    cornea = _of_triangles(pack, "eyes/high-poly.face_is_cornea", eyes)
    return [
        Piece("skin", pack.skin, len(pack.with_cut(pack["vertex"])), kinds),
        Piece("eyes", eyes.topology, len(eyes.offset), np.where(cornea, 0, PARTS.index("eyes"))),
        _piece("teeth", pack.attachment("teeth/teeth_base")),  # all teeth share its faces
        _piece("tongue", pack.attachment("tongue/tongue01")),
        _piece("lashes", pack.attachment(f"eyelashes/{lash_styles(pack)[0]}")),
    ]


def _painted(pack: Pack, mask: str, channel: int) -> np.ndarray:
    """Which of the skin's triangles a mask of the atlas covers at their middle."""
    image = pack.picture(f"masks/{mask}")[..., channel]
    size = np.array(image.shape[::-1])
    at = np.clip((pack.skin.uv[pack.skin.face_uv].mean(1) * size).astype(int), 0, size - 1)
    return image[at[:, 1], at[:, 0]] > 127


def numbers(names: Iterable[str]) -> list[int]:
    """The numbers of parts in a part map."""
    return [PARTS.index(name) for name in names]


def join(pieces: list[Piece]) -> Joined:
    """Several pieces as one mesh."""
    ends = np.cumsum([0] + [piece.vertex_count for piece in pieces]).tolist()
    uv_ends = np.cumsum([0] + [len(piece.topology.uv) for piece in pieces]).tolist()
    kept = [piece.parts > 0 for piece in pieces]
    topology = Topology(
        np.concatenate([p.topology.faces[k] + at for p, k, at in zip(pieces, kept, ends, strict=False)]).astype(
            np.int32
        ),
        np.concatenate([p.topology.face_uv[k] + at for p, k, at in zip(pieces, kept, uv_ends, strict=False)]).astype(
            np.int32
        ),
        np.concatenate([p.topology.uv for p in pieces]).astype(np.float32),
    )
    return Joined(
        topology,
        np.concatenate([np.full(k.sum(), n) for n, k in enumerate(kept)]).astype(np.int64),
        np.concatenate([p.parts[k] for p, k in zip(pieces, kept, strict=True)]).astype(np.uint8),
        {piece.name: at for piece, at in zip(pieces, ends, strict=False)},
        ends[-1],
    )


def _of_triangles(pack: Pack, name: str, attachment: Attachment) -> np.ndarray:
    """A boolean of quads for the attachment's triangles (its eyes have no quad that is a triangle)."""
    out = np.repeat(pack[name], 2)
    if len(out) != len(attachment.topology.faces):
        raise ValueError(f"{name}: {len(out)} values for {len(attachment.topology.faces)} triangles")
    return out


def _by_part(part: np.ndarray, values: dict[str, float], otherwise: float) -> np.ndarray:
    return np.array([values.get(name, otherwise) for name in PARTS], np.float32)[part]


def _mirrors(light: Light) -> np.ndarray:
    """[k, 6]: normals that mirror key and fill to the viewer, and the brightness of their images on the eye."""
    half = light.axes[:2] + np.array([0, 0, 1.0])
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    strength = np.array([[0.55], [0.12]])
    return np.concatenate([half, strength * light.colors[:2]], -1).astype(np.float32)


@njit(nogil=True, fastmath=True)
@no_type_check
def vertex_normals(vertices, faces):
    """Area-weighted unit normals [n, 3] of vertices [n, 3]; up where no face is."""
    out = np.zeros_like(vertices)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in range(3):
            i = faces[f, k]
            out[i, 0] += nx
            out[i, 1] += ny
            out[i, 2] += nz
    for i in range(len(out)):
        length = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2)
        if length > 1e-20:
            out[i] /= length
        else:
            out[i, 1] = 1
    return out
