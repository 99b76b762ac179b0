"""Who a synthetic person is: shape, skin, hair, eyes, drawn from a seed within what looks natural.

Ranges follow the pack's manual (tried there on about a hundred people). Ancestry names are MakeHuman's and name corner
shapes and skins, no more.
"""

from dataclasses import dataclass

import numpy as np

from jax_talker.people.pack import Pack

ANCESTRIES = ("african", "asian", "caucasian")
AGES = ("baby", "child", "young", "old")  # young is about 25
CLIP_SIGMA = 2.2
ASYMMETRY = 0.45  # of the pack's own spread

# sRGB of hair: (colour, how likely with dark skin, with light skin); grey comes with age
HAIR_COLORS = {
    "black": ((0.105, 0.088, 0.078), 1.0, 0.25),
    "dark brown": ((0.17, 0.115, 0.08), 0.35, 0.35),
    "brown": ((0.30, 0.20, 0.13), 0.08, 0.35),
    "light brown": ((0.44, 0.31, 0.20), 0.0, 0.25),
    "blond": ((0.66, 0.52, 0.34), 0.0, 0.22),
    "red": ((0.48, 0.22, 0.11), 0.0, 0.10),
}
GREY = (0.63, 0.61, 0.585)
SHORT = ("short01", "short02", "short04", "afro01")
LONG = {
    "short03": 0.2,
    "bob01": 0.25,
    "bob02": 0.5,
    "long01": 1.2,
    "ponytail01": 1.2,
    "braid01": 0.6,
}  # three hide an eye
BROWS_OF_WOMEN, BROWS_OF_MEN = ("eyebrow006", "eyebrow007"), ("eyebrow009", "eyebrow012")
BALD = ""
LIPS, LIPSTICK = np.array([-0.10, -0.22, -0.20]), np.array([0.02, -0.08, -0.06])  # log gain: everybody's, women's
ASIAN_SKINS = np.array([0.0, -0.01, 0.10])  # log gain: theirs are yellower than people are


@dataclass(frozen=True)
class Beard:
    """Hair painted on the skin: densities 0 none … 1 dense."""

    full: float = 0.0
    goatee: float = 0.0


@dataclass(frozen=True)
class Hair:
    """A hair mesh (none: cropped), its colour and cut; lengths in metres."""

    style: str  # of the pack's hair/, or BALD
    mirrored: bool
    volume: float  # times the mesh's distance from the head
    color: tuple[float, float, float]  # sRGB
    crop: float  # density of the painted hair on the scalp, 0 … 1


@dataclass(frozen=True)
class Person:
    """A synthetic person; all that a picture needs besides expression, light and camera."""

    seed: int
    weights: np.ndarray  # [targets] of the pack
    female: float  # 0 … 1
    age: float  # years, roughly
    skins: tuple[tuple[str, float], ...]  # textures and their shares, which sum to 1
    skin_gain: tuple[float, float, float]  # linear, R, G, B
    lips: tuple[float, float, float]  # linear gain within the lips
    wrinkles: float  # share of an old skin's fine band
    freckles: float  # spots a square centimetre of cheek
    gloss: float  # strength of highlights, 0.5 … 1.5
    hair: Hair
    beard: Beard
    brows: str
    brow_color: tuple[float, float, float]  # sRGB
    lashes: str
    iris: str
    iris_hue: float  # degrees
    teeth: str


def random_person(pack: Pack, seed: int) -> Person:
    """The person of a seed; equal packs and seeds give equal people."""
    rng = np.random.default_rng([int.from_bytes(b"people"), seed])
    ancestry = rng.dirichlet(np.full(3, 0.3))
    female = float(np.clip(rng.choice([0.0, 1.0]) + rng.normal(0, 0.12) * rng.choice([-1, 1]), 0, 1))
    stage = 1 + rng.uniform(0.3, 0.9) if rng.random() < 0.08 else 2 + 0.9 * rng.beta(1.0, 1.4)
    years = float(np.interp(stage, range(4), (1, 11, 25, 75)))
    weights = np.zeros(len(pack.target_names), np.float32)
    _add_macros(pack, weights, ancestry, female, stage)
    _add_modifiers(pack, weights, rng)
    hair = _hair(pack, rng, ancestry, female, years)
    dark = ancestry[0]
    man = 1 - female
    beard = _beard(rng) if man > 0.6 and years > 17 and rng.random() < 0.55 else Beard()
    brow = np.array(hair.color) * rng.uniform(0.45, 0.8)
    brow = 0.5 * brow + 0.5 * np.minimum(brow, 0.3)  # grey and blond people keep darker brows
    natural = ["brownlight", "derived_brown", "derived_brown_dark", "derived_hazel"]
    irises = [i for i in pack.pictures("eyes") if i != "brown"]  # too red
    light_eyed = ancestry[2] > 0.6 and rng.random() < 0.7
    irises = [i for i in irises if light_eyed or i in natural] or irises
    pale = rng.normal(0, 0.10)
    return Person(
        seed=seed,
        weights=weights,
        female=female,
        age=years,
        skins=_skins(pack, rng, ancestry, female, years),
        skin_gain=tuple(np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.03, 3) + ancestry[1] * ASIAN_SKINS).tolist()),
        lips=tuple(np.exp(LIPS + female * LIPSTICK - pale).tolist()),
        wrinkles=float(np.clip((years - 35) / 50, 0, 1) * rng.uniform(0.3, 1.0)),
        freckles=float(rng.exponential(1.5)) if dark < 0.3 and rng.random() < 0.25 else 0.0,
        gloss=float(rng.uniform(0.5, 1.5)),
        hair=hair,
        beard=beard,
        brows=_one(
            rng, [b for b in pack.names("eyebrows") if b not in (BROWS_OF_MEN if female > 0.5 else BROWS_OF_WOMEN)]
        ),
        brow_color=tuple(brow.tolist()),
        lashes=_one(rng, lash_styles(pack)[: 2 if man > 0.5 else None]),
        iris=_one(rng, irises),
        iris_hue=float(rng.normal(0, 6)),
        teeth=_one(rng, pack.names("teeth")),
    )


def lash_styles(pack: Pack) -> list[str]:
    """The lashes that share their faces, which a plane for everybody needs."""
    names = pack.names("eyelashes")
    first = pack.attachment(f"eyelashes/{names[0]}").topology
    same = [pack.attachment(f"eyelashes/{name}").topology for name in names]
    return [n for n, t in zip(names, same, strict=True) if np.array_equal(t.face_uv, first.face_uv)]


def _one(rng: np.random.Generator, names) -> str:
    return names[rng.integers(len(names))]


def _add_macros(pack: Pack, weights: np.ndarray, ancestry: np.ndarray, female: float, stage: float) -> None:
    """Corners of ancestry × gender × age, weighted by their product; age is linear between neighbours."""
    for k, age in enumerate(AGES):
        of_age = max(0.0, 1 - abs(stage - k))
        for gender, share in (("female", female), ("male", 1 - female)):
            for race, part in zip(ANCESTRIES, ancestry, strict=True):
                row = pack.target_row.get(f"macro/{race}-{gender}-{age}")
                if row is not None:
                    weights[row] += of_age * share * part


def _add_modifiers(pack: Pack, weights: np.ndarray, rng: np.random.Generator) -> None:
    """Every signed slider at its natural spread: below 0 its negative targets, above 0 its positive ones."""
    asymmetric = np.char.startswith(pack["modifier_names"], "asym/")
    x = np.clip(rng.standard_normal(len(asymmetric)), -CLIP_SIGMA, CLIP_SIGMA) * pack["modifier_sigma"]
    x *= np.where(asymmetric, ASYMMETRY, 1.0)
    for value, negative, positive in zip(x, pack["modifier_negative"], pack["modifier_positive"], strict=True):
        for row in negative if value < 0 else positive:
            if row >= 0:
                weights[row] += abs(value)


def _skins(pack: Pack, rng: np.random.Generator, ancestry: np.ndarray, female: float, years: float):
    """Two to four skins near the person's ancestry, gender and age, and their shares."""
    shares = {}
    for name in pack.pictures("skins"):
        age, race, gender = name.rstrip("0123456789").split("_")
        years_apart = abs(years - {"young": 25, "middleage": 50, "old": 72}[age])
        like = ancestry[ANCESTRIES.index(race)] ** 1.5 * np.exp(-years_apart / 18)
        like *= 0.04 + 0.96 * (female if gender == "female" else 1 - female)  # beards are painted on men's skins
        shares[name] = like * rng.gamma(1.0)
    best = sorted(shares, key=lambda n: -shares[n])[: rng.integers(2, 5)]
    total = sum(shares[name] for name in best)
    return tuple((name, float(shares[name] / total)) for name in best)


def _hair(pack: Pack, rng: np.random.Generator, ancestry: np.ndarray, female: float, years: float) -> Hair:
    """A style of those that the pack has, more often long for women; a colour that ancestry and age allow."""
    there = pack.names("hair")
    likely = {style: 0.15 + 0.85 * (1 - female) for style in SHORT}
    likely |= {style: share * (0.02 + female) for style, share in LONG.items()}
    likely["afro01"] = ancestry[0]
    likely = {style: value for style, value in likely.items() if style in there}
    likely[BALD] = 0.5 * (1 - female) * (1.0 if years > 20 else 0.2) + 0.02
    odds = np.array(list(likely.values()))
    style = list(likely)[rng.choice(len(odds), p=odds / odds.sum())]

    light = ancestry[2]
    odds = np.array([dark * (1 - light) + pale * light for _, dark, pale in HAIR_COLORS.values()])
    color = np.array(list(HAIR_COLORS.values())[rng.choice(len(odds), p=odds / odds.sum())][0])
    grey = np.clip((years - 38) / 30 + rng.normal(0, 0.15), 0, 1) if years > 35 else 0.0
    color = (1 - grey) * color + grey * np.array(GREY) * rng.uniform(0.7, 1.15)
    color = np.clip(color * np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.03) * np.array([1, 0, -1])), 0.02, 0.95)
    return Hair(
        style=style,
        mirrored=bool(rng.random() < 0.5),
        volume=float(rng.uniform(0.95, 1.15)),
        color=tuple(color.tolist()),
        crop=float(rng.uniform(0.2, 0.75)) if style == BALD else 0.85,
    )


def _beard(rng: np.random.Generator) -> Beard:
    stubble, dense = rng.uniform(0.2, 0.45), rng.uniform(0.6, 0.95)
    kind = rng.choice(["stubble", "full", "goatee", "mixed"], p=[0.45, 0.25, 0.15, 0.15])
    return {
        "stubble": Beard(stubble, stubble),
        "full": Beard(dense, dense),
        "goatee": Beard(0.0, dense),
        "mixed": Beard(stubble, dense),
    }[str(kind)]
