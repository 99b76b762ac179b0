"""Many synthetic people as points of a generator: what each point is, for training in texture space; cached on disk.

A point is a texel of ``layout`` or of the hair's ``shell``, in the order of :class:`Points`. A corpus folder holds one
``.npy`` for each field of :class:`Corpus` and ``corpus.json``: P people, M moments of each, N points, of which the
first K lie on the head's meshes, between U of their vertices, and the others on the shell.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jax_talker.people.codes import identity_code
from jax_talker.people.expression import random_expression
from jax_talker.people.figure import Figure, Lit, Posed
from jax_talker.people.identity import BALD, Person, random_person
from jax_talker.people.light import Light, directions, irradiance, random_light
from jax_talker.people.pack import Pack
from jax_talker.people.raster import LINEAR
from jax_talker.people.shell import hair_shell, ways
from jax_talker.people.texture_space import TextureSpace

HARMONICS = 9  # real spherical harmonics to degree 2, up to a factor each
LIGHT_NUMBERS = 3 * HARMONICS
HIDING = ("short03", "bob01", "bob02")  # hair that hangs over a side of the face
EDITION = 2  # of what is in a corpus: raise it when people change, so that old corpora are made anew


def harmonics(towards: np.ndarray) -> np.ndarray:
    """[n, 9] polynomials that span the spherical harmonics to degree 2 at unit directions [n, 3]."""
    x, y, z = towards.T
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], -1)


def light_numbers(light: Light) -> np.ndarray:
    """[9, 3]: the light's radiance as harmonics (least squares over the light's directions): diffuse light needs no
    more (Ramamoorthi and Hanrahan 2001)."""
    towards = directions()
    return np.linalg.lstsq(harmonics(towards), light.radiance(towards), rcond=None)[0].astype(np.float32)


class Points:
    """The points of a generator for all people of a pack: where they lie in their planes."""

    def __init__(self, pack: Pack, size: int, shell: int):
        self.pack, self.space, self.shell_size = pack, TextureSpace(pack, size), shell
        layout = self.space.layout
        self.texels = np.argwhere(layout.valid)
        self.shell_texels = np.argwhere(ways(shell)[1])
        faces = layout.mesh.topology.faces[self.read(layout.face)]
        self.vertices, corners = np.unique(faces, return_inverse=True)  # of the common mesh: those that points lie on
        self.corners = corners.reshape(faces.shape)  # [K, 3] into ``vertices``
        self.weights = self.read(layout.weights)  # [K, 3]

    @property
    def on_head(self) -> int:
        """K: how many of the points lie on the head's meshes."""
        return len(self.texels)

    def __len__(self) -> int:
        return len(self.texels) + len(self.shell_texels)

    def read(self, plane: np.ndarray) -> np.ndarray:
        """A plane of the layout [S, S, …] at its points [K, …]."""
        return plane[*self.texels.T]

    def read_shell(self, plane: np.ndarray) -> np.ndarray:
        """A plane of the shell at its points [N − K, …]."""
        return plane[*self.shell_texels.T]

    def at(self, values: np.ndarray) -> np.ndarray:
        """Values [U, C] of ``vertices`` at the head's points [K, C]."""
        return np.einsum("nj,njc->nc", self.weights, values[self.corners]).astype(np.float32)

    def neutral(self, person: Person) -> np.ndarray:
        """A person's vertices [U, 3] at rest, world units; fast, without textures and hair."""
        bald = dataclasses.replace(person, hair=dataclasses.replace(person.hair, style=BALD))
        figure = Figure(self.pack, bald)
        nothing = np.ones((figure.vertex_count, len(directions())), np.float32)
        posed = figure.pose(np.zeros(len(self.pack.units), np.float32), seen=nothing)
        return figure.shape.frame(posed.vertices[self.vertices])


@dataclass(frozen=True)
class CorpusSpec:
    """What a corpus holds; equal specs and packs give equal corpora."""

    people: int = 400
    moments: int = 4
    size: int = 192  # of the layout's plane
    shell: int = 80  # of the hair's
    first: int = 0  # the first person's seed
    edition: int = EDITION


@dataclass(frozen=True)
class Corpus:
    """Arrays on disk, memory-mapped. Colours are sRGB bytes as pictures show them, positions world units."""

    codes: np.ndarray  # [P, I] identity_code
    neutral: np.ndarray  # [P, U, 3] float32, expression at rest
    albedo: np.ndarray  # [P, K, 4] uint8 as TextureSpace.albedo has it
    transfer: np.ndarray  # [P, U, 9, 3] float16: light on a vertex in the first moment for each harmonic
    normal: np.ndarray  # [P, U, 3] float16: which way vertices face in the first moment
    hair: np.ndarray  # [P, N − K, 7] float16: position, alpha, linear albedo
    units: np.ndarray  # [P, M, 52]
    light: np.ndarray  # [P, M, 9, 3] harmonics of the radiance
    position: np.ndarray  # [P, M, U, 3] float16
    shine: np.ndarray  # [P, M, U, 3] float16: linear highlights, before the texture's gloss
    color: np.ndarray  # [P, M, K, 3] uint8
    hair_color: np.ndarray  # [P, M, N − K, 3] uint8


def with_free_faces(points: Points, corpus: Corpus) -> Corpus:
    """The people of a corpus whose hair hides neither eye nor cheek: a shell around the head cannot show that, and
    what it hides would be learnt as black."""
    pack, start = points.pack, 0
    for name, values in identity_code(pack, random_person(pack, 0)).items():
        if name == "hair":
            break
        start += len(values)
    styles = [BALD, *pack.names("hair")]
    hiding = [start + k for k, style in enumerate(styles) if style in HIDING]
    kept = np.flatnonzero(np.asarray(corpus.codes)[:, hiding].sum(1) == 0)
    return Corpus(**{f.name: np.asarray(getattr(corpus, f.name))[kept] for f in dataclasses.fields(Corpus)})


def rest_shapes(points: Points, seeds: Iterable[int]) -> np.ndarray:
    """[S, U, 3]: the vertices of the person of each seed, at rest."""
    return np.stack([points.neutral(random_person(points.pack, seed)) for seed in tqdm(seeds, desc="shapes")])


def people_of(points: Points, seeds: Iterable[int], moments: int) -> Iterator[dict[str, np.ndarray]]:
    """A corpus's fields for the person of each seed, without the axis P; a pure function of the seeds."""
    for seed in seeds:
        person = random_person(points.pack, seed)
        yield _fields(points, person, np.random.default_rng([int.from_bytes(b"moments"), seed]), moments)


def _fields(points: Points, person: Person, rng: np.random.Generator, moments: int) -> dict[str, np.ndarray]:
    pack, space = points.pack, points.space
    figure, albedo = Figure(pack, person), space.albedo(person)
    out = {
        "codes": np.concatenate(list(identity_code(pack, person).values())),
        "neutral": points.neutral(person),
        "albedo": points.read(albedo),
    }
    many = {name: [] for name in ("units", "light", "position", "shine", "color", "hair_color")}
    for k in range(moments):
        units, light = random_expression(pack.units, rng), random_light(rng)
        posed = figure.pose(units)
        lit = figure.lit(posed, light)
        if k == 0:
            out["transfer"] = _transfer(points, figure, posed)
            out["normal"] = posed.normals[points.vertices]
            out["hair"] = _hair(points, figure, posed, lit)
        planes = space.planes(albedo, figure, posed, lit)
        shell = hair_shell(figure, posed, lit, points.shell_size)
        many["units"].append(units)
        many["light"].append(light_numbers(light))
        many["position"].append(lit.vertices[points.vertices])
        many["shine"].append(lit.shine[points.vertices, :3])
        many["color"].append(_bytes(points.read(planes.color)))
        many["hair_color"].append(_bytes(points.read_shell(shell.color)))
    return out | {name: np.stack(values) for name, values in many.items()}


def _bytes(color: np.ndarray) -> np.ndarray:
    return (np.clip(color, 0, 1) * 255 + 0.5).astype(np.uint8)


def _transfer(points: Points, figure: Figure, posed: Posed) -> np.ndarray:
    """[U, 9, 3]: the light that falls on each vertex under each harmonic alone."""
    own, towards = points.vertices, directions()
    normals, seen, wrap = posed.normals[own], posed.seen[own], figure.wrap[own]
    falling = [
        irradiance(normals, seen, wrap, towards, np.repeat(one[:, None], 3, 1))
        for one in harmonics(towards).astype(np.float32).T
    ]
    return np.stack(falling, 1)


def _hair(points: Points, figure: Figure, posed: Posed, lit: Lit) -> np.ndarray:
    """[N − K, 7] position, alpha and linear albedo of the shell; where no hair is, the colour is the person's mean."""
    plain = dataclasses.replace(lit, light=np.ones_like(lit.light), shine=np.zeros_like(lit.shine))
    shell = hair_shell(figure, posed, plain, points.shell_size)
    position, alpha = points.read_shell(shell.position), points.read_shell(shell.alpha)
    color = undisplay(points.read_shell(shell.color))
    mean = LINEAR[_bytes(np.array(figure.person.hair.color))]
    if alpha.sum() > 1:
        mean = (color * alpha[:, None]).sum(0) / alpha.sum()
    color = np.where(alpha[:, None] > 0.05, color, mean)
    return np.concatenate([position, alpha[:, None], color], -1)


def undisplay(color: np.ndarray) -> np.ndarray:
    """The linear light that ``raster.display`` shows as sRGB ``color``; at most 1.35."""
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    over = np.minimum(np.maximum(linear - 0.8, 0) / 0.2, 0.936)
    return np.where(linear > 0.8, 0.8 - 0.2 * np.log1p(-over), linear).astype(np.float32)


def load_or_make(folder: str | Path, pack: Pack, spec: CorpusSpec) -> Corpus:
    """The corpus in ``folder``, made first (with a progress bar) when it is missing or of another spec.

    What an interrupted call has made of the same spec is kept.
    """
    folder = Path(folder)
    done = folder / "corpus.json"
    begun = {"spec": asdict(spec), "people": 0}
    if done.is_file():
        stored = json.loads(done.read_text(encoding="utf-8"))
        begun = stored if stored.get("spec") == asdict(spec) else begun
    if begun["people"] < spec.people:
        folder.mkdir(parents=True, exist_ok=True)
        _make(folder, pack, spec, begun)
    return Corpus(**{f.name: np.load(folder / f"{f.name}.npy", mmap_mode="r") for f in dataclasses.fields(Corpus)})


def _make(folder: Path, pack: Pack, spec: CorpusSpec, begun: dict) -> None:
    points, have = Points(pack, spec.size, spec.shell), begun["people"]
    seeds = range(spec.first + have, spec.first + spec.people)
    types = {"albedo": np.uint8, "color": np.uint8, "hair_color": np.uint8, "neutral": np.float32}
    types |= dict.fromkeys(("codes", "units", "light"), np.float32)
    arrays: dict[str, Any] = {}  # np.memmap
    people = people_of(points, seeds, spec.moments)
    for k, fields in enumerate(tqdm(people, total=spec.people, initial=have, desc="people"), have):
        for name, value in fields.items():
            if name not in arrays:
                path, shape = folder / f"{name}.npy", (spec.people, *value.shape)
                kind = types.get(name, np.float16)
                arrays[name] = (
                    np.lib.format.open_memmap(path, "r+")
                    if have
                    else np.lib.format.open_memmap(path, "w+", kind, shape)
                )
            arrays[name][k] = value
        if (k + 1) % 10 == 0 or k + 1 == spec.people:
            for array in arrays.values():
                array.flush()
            state = json.dumps({"spec": asdict(spec), "people": k + 1})
            (folder / "corpus.json").write_text(state, encoding="utf-8")
