"""What synthetic people have in common, as bases: means and principal components of shapes, skins and hair, how units
move points, how light falls on them. The arrays are those of a morphable generator, by its names (priors/morphable.py).
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from jax_talker.people.corpus import HARMONICS, Corpus, Points, harmonics, light_numbers, undisplay
from jax_talker.people.expression import FRIENDLY, random_expression, unit_vector
from jax_talker.people.figure import Figure
from jax_talker.people.identity import BALD, random_person
from jax_talker.people.layout import CHART_NAMES
from jax_talker.people.light import directions, random_light
from jax_talker.people.raster import LINEAR

DARKEST = 0.003  # linear albedo whose logarithm counts
ALPHA_OVERSHOOT = 0.02  # as in priors/morphable.py
HAIR_UNITS = np.array(
    [0.015, 0.015, 0.015, 2.0, 0.7, 0.7, 0.7]
)  # position, logit, log albedo: how hair's parts compare
LEAST_SPREAD = 0.1  # of an ARKit unit's weight: the step of its coordinate
DIFFUSE = np.array([1, *[0.593] * 3, *[0.152] * 5], np.float32)  # as in priors/morphable.py
UNIT_PEOPLE, AMPLITUDE = 12, 0.6  # whose motion makes the units' basis, and at which weight
FLAT, CREASED = 0.95, 0.7  # cosines between the normals of neighbouring points
APART = 0.08  # world units: texels further apart on the mean head are no neighbours
COVER, SHELL_COVER, BACKING_COVER = 0.49, 0.58, 0.93  # deviation of a disc, against the distance between texels
BORDER = 1.4  # discs at a chart's border reach over the seam
GLOSS = 0.4  # of the skin's highlights: harmonics smear them into a haze, and half of it is better than all
# A disc's tails reach beyond its rim: it lies inside the surface by this much, or heads grow fat. Not in creases, which
# would gape, nor where even light hardly comes (DARK): a nostril's inside would come through its wing.
INSIDE, SHELL_INSIDE, DARK = 0.36, 0.86, 0.3
SHELL_ROUND, SHELL_THICK = 0.54, 4.3  # hair has volume: share of its discs that is round; thickness against skin's
EYES_DEEPER = 0.0025  # world units (0.9 mm): lids that move in proportion cover them in everybody
OPAQUE = 6.0  # logit


@dataclass(frozen=True)
class Sizes:
    """How many coordinates each part of an identity has."""

    shape: int = 64
    skin: int = 48
    hair: int = 40
    shade: int = 20


Arrays = dict[str, np.ndarray]
NOT_DRAWN = ("rest_normal",)  # arrays that only ``identity`` reads


def statistics(points: Points, corpus: Corpus, shapes: np.ndarray, sizes: Sizes, seed: int = 0) -> Arrays:
    """All arrays; ``shapes`` [S, U, 3] are the head's vertices of many people at rest."""
    out: Arrays = {"corners": points.corners, "weights": points.weights}
    out["position_mean"], out["position_shape"] = components(shapes, sizes.shape)
    out["albedo_mean"], out["albedo_skin"] = components(log_albedo(np.asarray(corpus.albedo)), sizes.skin)
    own = _coordinates(out["position_mean"], out["position_shape"], np.asarray(corpus.neutral))
    out |= _hair_basis(corpus, own, sizes.hair)
    out["position_units"] = _unit_basis(points)
    out |= _grid(points, corpus, out)
    eyes = _of_eyes(points)
    out["position_mean"] = out["position_mean"] - EYES_DEEPER * eyes[:, None] * np.array([0.0, 0.0, 1.0])
    out |= _light_basis(points, corpus, out, sizes.shade)
    out |= _latents(points, corpus, out, seed)
    chart = points.read(points.space.layout.chart)
    alpha = np.clip(np.asarray(corpus.albedo)[..., 3].mean(0) / 255, 0.02, 0.98)
    lashes = chart == CHART_NAMES.index("lashes")
    out["opacity"] = np.where(lashes, np.log(alpha / (1 - alpha)), OPAQUE)
    cover = np.where(np.arange(len(points)) < points.on_head, COVER, SHELL_COVER)
    alone = (out["neighbours"] == np.arange(points.on_head)[:, None]).any(1)
    cover[: points.on_head][alone] *= BORDER
    thick = np.where(np.arange(len(points)) < points.on_head, 1, SHELL_THICK)
    out["log_scale"] = np.log(np.stack([cover, cover, thick], -1))
    out["backing_scale"] = np.log(BACKING_COVER) * np.array([1, 1, 0])
    alike = _alike(points, out)
    inside = INSIDE * np.clip((alike - CREASED) / (FLAT - CREASED), 0, 1)
    inside *= np.clip((points.at(out["transfer"][:, 0].mean(-1, keepdims=True))[:, 0] - DARK) / DARK, 0, 1)
    out["inside"] = np.concatenate([inside, np.full(len(points) - points.on_head, SHELL_INSIDE)])
    out["backing"] = np.flatnonzero((points.texels % 2 == 0).all(1) & _backed(points, out, alike))
    return {name: np.asarray(value, np.float32) for name, value in out.items()}


def identity(arrays: Arrays, people: Corpus) -> Arrays:
    """Coordinates of all people of a corpus: the nearest points of the bases."""
    shape = _coordinates(arrays["position_mean"], arrays["position_shape"], np.asarray(people.neutral))
    skin = _coordinates(arrays["albedo_mean"], arrays["albedo_skin"], log_albedo(np.asarray(people.albedo)))
    shade = _coordinates(arrays["transfer"].mean(-1), arrays["transfer_shade"], _dimmed(people, arrays["rest_normal"]))
    return {"shape": shape, "skin": skin, "hair": _hair_coordinates(arrays, shape, people.hair), "shade": shade}


def _dimmed(people: Corpus, rest: np.ndarray) -> np.ndarray:
    """[P, U, 9]: transfer of light (the mean of R, G and B) without what each person's own normals make of it, which
    the generator finds by itself (``Morphable.bend``); ``rest`` [U, 3]: the mean head's normals."""
    out = np.asarray(people.transfer).mean(-1, dtype=np.float32)
    usual = harmonics(rest)
    for k, transfer in enumerate(out):
        own = harmonics(np.asarray(people.normal[k], np.float32))
        out[k] = transfer - transfer[:, :1] * DIFFUSE * (own - usual)
    return out


def normals(arrays: Arrays, position: np.ndarray) -> np.ndarray:
    """Outward unit normals [K, 3] of the head's points [K, 3], from their neighbours."""
    u, v = _tangents(position, arrays["neighbours"].astype(int))
    across = np.cross(u, v) * arrays["facing"][:, None]
    return across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-12)


def _tangents(position: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    own = np.arange(len(position))
    out = []
    for before, after in ((0, 1), (2, 3)):
        a, b = neighbours[:, before], neighbours[:, after]
        steps = np.maximum((a != own).astype(int) + (b != own), 1)
        out.append((position[b] - position[a]) / steps[:, None])
    return out[0], out[1]


def coordinates(arrays: Arrays, people: Arrays, units: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Style vectors [P, D] of ``people`` (``identity``'s) under units [P, 52] and light numbers [P, 9, 3]."""
    weights = (units - arrays["units_mean"]) / arrays["units_spread"]
    away = (light.reshape(len(light), -1) - arrays["light_mean"]) @ np.linalg.pinv(arrays["light_mix"])
    parts = [people["shape"], weights, people["skin"], people["hair"], people["shade"], away]
    return np.concatenate(parts, 1).astype(np.float32)


def log_albedo(albedo: np.ndarray) -> np.ndarray:
    """Natural logarithm of linear albedo [..., 3] of sRGB bytes [..., 3 or 4]."""
    return np.log(np.maximum(LINEAR[albedo[..., :3]], DARKEST))


def components(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and the first principal components [count, …], each as long as its standard deviation; zeros beyond rank."""
    flat = values.reshape(len(values), -1).astype(np.float32)
    mean = flat.mean(0)
    centred = flat - mean
    power, vectors = np.linalg.eigh(centred @ centred.T / max(len(flat) - 1, 1))
    out = np.zeros((count, flat.shape[1]), np.float32)
    best = min(count, len(flat) - 1)
    chosen = vectors[:, ::-1][:, :best]
    out[:best] = chosen.T @ centred / np.sqrt(max(len(flat) - 1, 1))
    del power
    return mean.reshape(values.shape[1:]), out.reshape(count, *values.shape[1:])


def _coordinates(mean: np.ndarray, basis: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[P, C]: coordinates of ``values`` [P, …] in an orthogonal basis [C, …]."""
    flat = basis.reshape(len(basis), -1)
    return (values - mean).reshape(len(values), -1) @ flat.T / np.maximum((flat**2).sum(1), 1e-12)


def _hair_values(arrays: Arrays, shape: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """A corpus's hair [P, n, 7] as the basis has it: away from the shell of the shape, logit, log albedo; each in
    HAIR_UNITS."""
    hair = np.asarray(hair, np.float32)
    rest = arrays["shell_mean"] + np.tensordot(shape, arrays["shell_shape"], 1)
    share = (np.clip(hair[..., 3:4], 0, 1) + ALPHA_OVERSHOOT) / (1 + 2 * ALPHA_OVERSHOOT)
    color = np.log(np.maximum(hair[..., 4:], DARKEST))
    return np.concatenate([hair[..., :3] - rest, np.log(share / (1 - share)), color], -1) / HAIR_UNITS


def _hair_basis(corpus: Corpus, shape: np.ndarray, count: int) -> Arrays:
    """Where the shell lies (linear in shape), and hair's own mean and components."""
    place = np.asarray(corpus.hair[..., :3], np.float32)
    mean = place.mean(0)
    gram = shape.T @ shape + 0.1 * len(shape) * np.eye(shape.shape[1])
    slope = np.linalg.solve(gram, shape.T @ (place - mean).reshape(len(place), -1))
    out = {"shell_mean": mean, "shell_shape": slope.reshape(-1, *mean.shape)}
    hair_mean, basis = components(_hair_values(out, shape, corpus.hair), count)
    return out | {"hair_mean": hair_mean * HAIR_UNITS, "hair_basis": basis * HAIR_UNITS}


def _hair_coordinates(arrays: Arrays, shape: np.ndarray, hair: np.ndarray) -> np.ndarray:
    mean, basis = arrays["hair_mean"] / HAIR_UNITS, arrays["hair_basis"] / HAIR_UNITS
    return _coordinates(mean, basis, _hair_values(arrays, shape, hair))


def _unit_basis(points: Points) -> np.ndarray:
    """[52, U, 3]: how far weight 1 of each unit moves the vertices, on average over a few people."""
    pack = points.pack
    total: np.ndarray = np.zeros((len(pack.units), len(points.vertices), 3))
    for seed in range(UNIT_PEOPLE):
        person = random_person(pack, seed)
        figure = Figure(pack, dataclasses.replace(person, hair=dataclasses.replace(person.hair, style=BALD)))
        seen = np.ones((figure.vertex_count, len(directions())), np.float32)
        place = lambda units: figure.shape.frame(figure.pose(units, seen=seen).vertices[points.vertices])  # noqa: B023, E731
        rest = place(np.zeros(len(pack.units), np.float32))
        total = total + np.stack(
            [(place(AMPLITUDE * one) - rest) / AMPLITUDE for one in np.eye(len(pack.units), dtype=np.float32)]
        )
    return total / UNIT_PEOPLE


def _light_basis(points: Points, corpus: Corpus, arrays: Arrays, count: int) -> Arrays:
    """Transfer of light to vertices [U, 9, 3] and its components, to the shell [n, 9], and gloss [K, 9]: means of what
    was found, and least squares for what was not."""
    dimmed, shades = components(_dimmed(corpus, arrays["rest_normal"]), count)
    transfer = np.asarray(corpus.transfer, np.float32).mean(0)
    transfer = transfer + (dimmed - transfer.mean(-1))[..., None]
    people, moments = corpus.light.shape[:2]
    light = np.asarray(corpus.light).reshape(-1, HARMONICS, 3)  # [S, 9, 3]
    chart = points.read(points.space.layout.chart)
    gloss = np.asarray(corpus.albedo)[..., 3].astype(np.float32) / 255
    gloss[:, chart == CHART_NAMES.index("lashes")] = 0
    shine = np.asarray(corpus.shine, np.float32).reshape(people * moments, -1, 3)
    # The two vary by themselves: highlights with light, gloss with the skin.
    dull = np.isin(chart, [CHART_NAMES.index(name) for name in ("skin", "neck")])
    gloss = points.at(_linear(light, shine)) * (np.where(dull, GLOSS, 1.0) * gloss.mean(0))[:, None]
    hair = np.asarray(corpus.hair, np.float32)
    own = undisplay(np.asarray(corpus.hair_color) / 255.0) / np.maximum(hair[:, None, :, 4:], DARKEST)
    there = np.repeat((hair[..., 3] > 0.2).astype(np.float32), moments, 0)  # [S, n]
    own = np.minimum(own.reshape(people * moments, -1, 3), 4)
    whole = (own * there[..., None]).sum(1) / np.maximum(there.sum(1), 1)[:, None]
    usual = _linear(light, whole[:, None])[0]
    away = (own - np.einsum("k,skc->sc", usual, light)[:, None]) * there[..., None]
    on_shell = usual + _linear(light, away, there)
    return {"transfer": transfer, "transfer_shade": shades, "shell_transfer": on_shell, "gloss": gloss}


def _linear(light: np.ndarray, values: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """[n, 9]: what best makes values [S, n, 3] of harmonics [S, 9, 3], alike for R, G and B; a little ridge."""
    rows = light.transpose(0, 2, 1).reshape(-1, HARMONICS)  # [3 S, 9]
    target = values.transpose(0, 2, 1).reshape(len(rows), -1)
    ridge = 1e-2 * len(rows) * np.diag((rows**2).mean(0))
    if weight is None:
        return np.linalg.solve(rows.T @ rows + ridge, rows.T @ target).T
    each = np.repeat(weight, 3, 0)  # [3 S, n]
    gram = np.einsum("sk,sl,sn->nkl", rows, rows, each, optimize=True)
    return np.linalg.solve(gram + ridge, (rows.T @ target).T[..., None])[..., 0]


def _latents(points: Points, corpus: Corpus, arrays: Arrays, seed: int) -> Arrays:
    """How z becomes a style vector: correlations of identity, of units, of light; and the vector of a plain face."""
    own = identity(arrays, corpus)
    joint = np.concatenate(list(own.values()), 1)
    rng = np.random.default_rng([int.from_bytes(b"latents"), seed])
    names = points.pack.units
    units = np.stack([random_expression(names, rng) for _ in range(4000)])
    mean = units.mean(0)
    light = np.stack([light_numbers(random_light(rng)).ravel() for _ in range(4000)])
    light_mean, light_mix = components(light, light.shape[1])
    plain = (unit_vector(names, FRIENDLY) - mean) / np.maximum(units.std(0), LEAST_SPREAD)
    keys = rng.standard_normal((len(joint), joint.shape[1] - own["shape"].shape[1]))
    count = joint.shape[1] + len(plain) + light.shape[1]
    w_avg = np.zeros(count)
    start = own["shape"].shape[1]
    w_avg[start : start + len(plain)] = plain
    return {
        "people": joint,
        "keys": keys / np.linalg.norm(keys, axis=1, keepdims=True),
        "shape_mix": _root(np.cov(own["shape"].T)),
        "units_mix": _root(np.cov(units.T)),
        "units_mean": mean,
        "units_spread": np.maximum(units.std(0), LEAST_SPREAD),
        "light_mix": light_mix,
        "light_mean": light_mean,
        "w_avg": w_avg,
    }


def _root(covariance: np.ndarray) -> np.ndarray:
    """M with MᵀM = ``covariance``: z @ M has it."""
    power, vectors = np.linalg.eigh(covariance)
    return np.sqrt(np.maximum(power, 0))[:, None] * vectors.T


def _grid(points: Points, corpus: Corpus, arrays: Arrays) -> Arrays:
    """Where points lie in their planes, who their neighbours are, and how their discs lie on the mean head."""
    mean, size = points.at(arrays["position_mean"]), points.space.layout.face.shape[0]
    neighbours = _neighbours(points.texels, points.space.layout.chart.astype(np.int64), mean)
    turn, quat, width, normal = _discs(*_tangents(mean, neighbours))
    shell = np.ones((points.shell_size,) * 2, np.int64)
    outside = _tangents(arrays["shell_mean"], _neighbours(points.shell_texels, shell, arrays["shell_mean"]))
    _, shell_quat, shell_width, _ = _discs(*outside)
    apart = np.sqrt(shell_width.prod(1, keepdims=True))
    facing = np.asarray(corpus.normal, np.float32).mean(0)
    rest = facing / np.maximum(np.linalg.norm(facing, axis=-1, keepdims=True), 1e-6)
    places = ((points.texels, size), (points.shell_texels, points.shell_size))
    return {
        "uv": np.concatenate([(texels[:, ::-1] + 0.5) / n * 2 - 1 for texels, n in places]),
        "neighbours": neighbours,
        "turn": turn,
        "rest_quat": np.concatenate([quat, shell_quat]),
        "rest_width": np.concatenate([width, (1 - SHELL_ROUND) * shell_width + SHELL_ROUND * apart]),
        "rest_normal": rest,
        "facing": np.where((points.at(rest) * normal).sum(-1) < 0, -1.0, 1.0),
    }


def _discs(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of tangents [n, 3]: the turn (cosine, sine) that takes out shear, quaternions wxyz, widths [n, 2], normals."""
    # The metric [[u·u, u·v], [u·v, v·v]] is turned to its own axes.
    angle = 0.5 * np.arctan2(2 * (u * v).sum(1), (u * u).sum(1) - (v * v).sum(1))
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    first, second = c * u + s * v, c * v - s * u
    usual = np.median(np.linalg.norm(np.concatenate([u, v]), axis=-1))
    alone = np.minimum(np.linalg.norm(first, axis=-1), np.linalg.norm(np.cross(first, second), axis=-1)) < 1e-7
    first[alone], second[alone] = [usual, 0, 0], [0, usual, 0]
    axis = first / np.linalg.norm(first, axis=-1, keepdims=True)
    normal = np.cross(first, second)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    other = np.cross(normal, axis)
    x, y, z, w = Rotation.from_matrix(np.stack([axis, other, normal], -1)).as_quat().T
    width = np.stack([np.linalg.norm(first, axis=-1), np.abs((second * other).sum(-1))], -1)
    return np.concatenate([c, s], 1), np.stack([w, x, y, z], -1), np.maximum(width, 1e-4), normal


def _of_eyes(points: Points) -> np.ndarray:
    """[U] bool: the eyes' vertices."""
    start = points.space.layout.mesh.start
    return (points.vertices >= start["eyes"]) & (points.vertices < start["teeth"])


def _alike(points: Points, arrays: Arrays) -> np.ndarray:
    """[K]: the least cosine between a point's normal and its neighbours', on the mean head."""
    own = normals(arrays, points.at(arrays["position_mean"]))
    return np.einsum("nc,nkc->nk", own, own[arrays["neighbours"].astype(int)]).min(1)


def _backed(points: Points, arrays: Arrays, alike: np.ndarray) -> np.ndarray:
    """[K] bool: skin that is flat on the mean head and has skin all around, so that nothing behind it comes through."""
    around = arrays["neighbours"].astype(int)
    skin = np.isin(points.read(points.space.layout.chart), [CHART_NAMES.index(name) for name in ("skin", "neck")])
    return skin & (alike > FLAT) & (around != np.arange(points.on_head)[:, None]).all(1)


def _neighbours(texels: np.ndarray, chart: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """[n, 4]: points left, right, above, below in the same chart and near on the mean head; a point where none is."""
    index = np.full(np.add(chart.shape, 2), -1)
    index[texels[:, 0] + 1, texels[:, 1] + 1] = np.arange(len(texels))
    padded = np.pad(chart, 1)
    own = np.arange(len(texels))
    out = []
    for down, right in ((0, -1), (0, 1), (-1, 0), (1, 0)):
        at = texels[:, 0] + 1 + down, texels[:, 1] + 1 + right
        other = index[at]
        near = (other >= 0) & (padded[at] == chart[texels[:, 0], texels[:, 1]])
        near &= np.linalg.norm(mean[other] - mean, axis=-1) < APART
        out.append(np.where(near, other, own))
    return np.stack(out, 1)
