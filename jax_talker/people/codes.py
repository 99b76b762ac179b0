"""A person as numbers of like size: what a generator's latent may be made of."""

import numpy as np

from jax_talker.people.identity import BALD, Person, lash_styles
from jax_talker.people.pack import SKINS, Pack


def identity_code(pack: Pack, person: Person) -> dict[str, np.ndarray]:
    """All that tells the person from others, by name, float32; concatenate the values in this order for one vector.

    ``macro`` [24] weights of ancestry × gender × age; ``sliders`` [160] in their own deviations; ``skins`` [11]
    shares; ``tone`` [9] log gains of skin and lips, wrinkles, freckles, gloss; ``hair`` a style of the pack or none,
    its side, volume, density and colour; ``face_hair`` [5] beard and colour of brows; ``brows``, ``lashes``, ``iris``,
    ``teeth`` one of the pack's each, with the iris's hue.
    """
    macro = [row for name, row in pack.target_row.items() if name.startswith("macro/") and "universal" not in name]
    hair = person.hair
    styles = [BALD, *pack.names("hair")]
    out = {
        "macro": person.weights[macro],
        "sliders": _sliders(pack, person.weights) / pack["modifier_sigma"],
        "skins": [dict(person.skins).get(name, 0.0) for name in pack.pictures(SKINS)],
        "tone": [
            *np.log(person.skin_gain),
            *np.log(person.lips),
            *(person.wrinkles, person.freckles, person.gloss - 1),
        ],
        "hair": [
            *_one_hot(styles, hair.style),
            *(1.0 if hair.mirrored else -1.0, 10 * (hair.volume - 1), hair.crop),
            *hair.color,
        ],
        "face_hair": [person.beard.full, person.beard.goatee, *person.brow_color],
        "brows": _one_hot(pack.names("eyebrows"), person.brows),
        "lashes": _one_hot(lash_styles(pack), person.lashes),
        "iris": [*_one_hot(pack.pictures("eyes"), person.iris), person.iris_hue / 10],
        "teeth": _one_hot(pack.names("teeth"), person.teeth),
    }
    return {name: np.asarray(values, np.float32) for name, values in out.items()}


def _sliders(pack: Pack, weights: np.ndarray) -> np.ndarray:
    """The signed sliders [modifiers] that gave these target weights: a side that no target has counts as zero."""
    sides = []
    for rows in (pack["modifier_negative"][:, 0], pack["modifier_positive"][:, 0]):
        sides.append(np.where(rows >= 0, weights[np.maximum(rows, 0)], 0))
    return sides[1] - sides[0]


def _one_hot(names: list[str], name: str) -> list[float]:
    return [float(name == other) for other in names]
