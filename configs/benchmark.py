"""The benchmark of synthetic people (docs/benchmark.md): its sizes, its methods, its cameras.

python -m jax_talker.benchmark --out runs/benchmark --landmark-model face_landmarker.task
python -m jax_talker.benchmark --out runs/reduced --reduced        # what 2 cores can do in an hour or two
python -m jax_talker.benchmark --out runs/human --pack heads       # people with human faces, from a pack of heads
"""

from ml_collections import ConfigDict

from configs import quickstart

# Of each kind of people the seeds, none of which the prior has seen, and the prior that knows such heads.
PEOPLE = {"procedural": (101, 102, 103), "human": (210001, 210002, 210003)}
PRIORS = {"procedural": "small", "human": "human"}
SECONDS = (60.0, 6.0, 6.0)  # filmed for training; what is said next, held out; another voice's words
SIZE = 128

# (yaw, pitch) in degrees, beside the front camera: MEAD's sides (±30°), top and down, ±20°, the four views of the
# paper's Table 1, and ±45° for the end of the curve.
CAMERAS = {f"yaw_{yaw:+d}": (float(yaw), 0.0) for yaw in (-45, -30, -20, 20, 30, 45)}
CAMERAS |= {"top": (0.0, 30.0), "down": (0.0, -30.0)}
CAMERAS |= {f"yaw_{a:+d}_pitch_{a:+d}": (float(a), float(a)) for a in (-30, -20, 20, 30)}

# Each method by what it changes.
METHODS: dict[str, dict[str, object]] = {
    "ours": {},
    "without cross-view masks": {"train.swap": 0.0},
    "without personal detail": {"personalize.detail_rate": 0.0},
    "deformation by a network": {"model.deformation": "field"},
    "all walk": {"model.walk": "all"},
    "without deformation field": {"model.deformation": "none", "model.walk": "all"},
    "one joint set (HFA-GP*)": {  # as many directions; the same generator, anchor and detail; no field, no masks
        **{"model.expressions": 0, "model.lips": 50, "train.swap": 0.0},
        **{"model.deformation": "none", "model.walk": "all"},
    },
}


def get_config(kind: str = "procedural") -> ConfigDict:
    """Of a run at the full size, of a person of that kind (PEOPLE)."""
    c = quickstart.get_config()
    c.prior.path = PRIORS[kind]
    c.personalize.detail = 0.001  # labels and masks are exact here: no errors that detail could learn
    c.train.sound.room = 0.0  # nobody speaks in a room here
    c.train.lower = 2.0
    c.train.upper = 0.5
    c.model.pose = "none"  # these people's light and hair turn with the head
    c.log.images = 0
    c.log.checkpoint = 0
    return c


# What --reduced changes: sizes of the films, and steps.
REDUCED_SECONDS, REDUCED_SIZE = (20.0, 3.2, 4.0), 96
REDUCED: dict[str, object] = {
    "personalize.invert_steps": 60,
    "personalize.tune_steps": 250,
    "train.hear_steps": 400,
    "train.steps": 120,
}
