"""A whole procedural head: all parts, shaded, with region masks, ready to be looked at from anywhere."""

import numpy as np

from jax_talker.procedural import colors, hair, parts, skull
from jax_talker.procedural.face import GRID, Face
from jax_talker.procedural.identity import Identity, Motion
from jax_talker.procedural.landmarks import VERTICES
from jax_talker.procedural.render import Mesh, join, render, vertex_normals

# The light is fixed to the head, as if baked into it: every camera sees the same colours, so that pictures of one
# moment agree between views.
KEY_LIGHT = np.array([0.30, 0.45, 0.84])
FILL_LIGHT = np.array([-0.75, 0.15, 0.45])
BACK_LIGHT = np.array([0.2, 0.5, -0.84])
UPPER, LOWER = 3, 4  # channels of Mesh.values after the three colours
FOREHEAD = 0.075  # above the brows: where the upper face ends, since landmarks cannot say where hair begins


class Head:
    """One person. ``mesh(motion)`` poses the face; what does not move is computed once."""

    def __init__(self, person: Identity):
        self.person = person
        self.face = Face(person)
        self._skin_albedo = colors.paint_skin(self.face)
        self._skin_masks = self._regions()
        still = [parts.ear(self.face, 1.0), parts.ear(self.face, -1.0), parts.neck(person), hair.shell(person)]
        self._still = [_shade(*part) for part in still]
        self._eyes = [_shade(*parts.eyeball(self.face, side), masks=(1.0, 0.0)) for side in (1.0, -1.0)]

    def _regions(self) -> np.ndarray:
        """Upper and lower face, [n, 2], bounded by the curves on the skin that its landmarks mark.

        The face lies in front of the contour from temple over chin to temple, up to the middle of the forehead or where
        hair covers it; the line through the nose's base divides it. A head that turns shows and hides these regions as
        it does the skin.
        """
        place, azimuth = self.face.neutral, np.abs(np.degrees(GRID.azimuths[GRID.column]))
        y, contour = place[:, 1], VERTICES[8:17]  # from the chin up to the temple
        widest = np.interp(y, place[contour, 1], azimuth[contour])
        under_chin = GRID.elevations[GRID.row] < GRID.elevations[GRID.row[contour[0]]]
        face = np.clip((widest - azimuth) / 4 + 0.5, 0, 1) * ~under_chin  # 4°: about a column, so the edge is smooth
        upper = y >= place[VERTICES[33], 1]
        return np.stack([face * upper * (y < self.face.brow_y + FOREHEAD), face * ~upper], -1)

    def mesh(self, motion: Motion) -> Mesh:
        """Triangles with values: shaded sRGB colour (3), upper-face mask, lower-face mask."""
        skin = self.face.vertices(motion)
        moving = [
            _shade(skin, GRID.faces, self._skin_albedo, masks=self._skin_masks),
            _shade(*parts.mouth_bag(skin), masks=(0.0, 1.0), ambient=True),
            _shade(*parts.teeth(self.face, motion, upper=True), masks=(0.0, 1.0), ambient=True),
            _shade(*parts.teeth(self.face, motion, upper=False), masks=(0.0, 1.0), ambient=True),
            _shade(*parts.tongue(self.face, motion), masks=(0.0, 1.0), ambient=True),
        ]
        whole = join([*moving, *self._eyes, *self._still])
        return Mesh(skull.to_world(whole.vertices), whole.faces, whole.values)


def _shade(
    vertices: np.ndarray,
    faces: np.ndarray,
    albedo: np.ndarray,
    *,
    masks: tuple[float, float] | np.ndarray = (0.0, 0.0),
    ambient: bool = False,
) -> Mesh:
    """Lambert's law with three lights and a sky; ``ambient`` parts (inside the mouth) lie in even shade."""
    if ambient:
        light = np.full(len(vertices), 0.72)
    else:
        normals = vertex_normals(np.ascontiguousarray(vertices, np.float64), faces)
        lambert = [np.clip(normals @ direction, 0, None) for direction in (KEY_LIGHT, FILL_LIGHT, BACK_LIGHT)]
        light = 0.46 + 0.10 * normals[:, 1] + 0.46 * lambert[0] + 0.16 * lambert[1] + 0.22 * lambert[2]
    color = np.clip(albedo * light[:, None], 0, 1)
    region = np.broadcast_to(np.asarray(masks, np.float64), (len(vertices), 2))
    return Mesh(vertices, faces, np.concatenate([color, region], -1).astype(np.float32))


def picture(mesh: Mesh, label: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image [size, size, 3] uint8 on white and masks [size, size, 3] uint8 (upper, lower, coverage)."""
    values, hit = render(mesh, label, size)
    image = values[..., :3] + (1 - hit[..., None])
    masks = np.stack([values[..., UPPER] > 0.5, values[..., LOWER] > 0.5, hit], -1)
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8), (masks.clip(0, 1) * 255 + 0.5).astype(np.uint8)
