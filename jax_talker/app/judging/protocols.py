"""The paper's protocols (supplement 1.1–1.4): which pictures of a trained head are judged against what.

``self``            the held-out tail from its own cameras: the pictures themselves
``novel_view``      the same speech from four fixed views and along a spiral (Table 1): as sets, as faces, by sync
``generalization``  sound that the person never said, along a spiral: sync alone
``mead``            trained on the front camera; judged from it and from the real side cameras (Table 2)
``angles``          the same for every further camera that there is, in the order of how far it is away

Every table bounds its heads: from above by the truth and the ceilings, from below by yardsticks. Where pictures are
held against their camera's own truth these are the mean frame, the nearest pose and each head's still anchor. In novel
views and for unseen sound there is no such truth: copies of filmed frames would only be told from the held-out ones (as
sets they are the recording itself), so that the still anchor stands alone, for what identity, sets, jitter and
synchronisation give to a face that does not move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from jax_talker.app import talking
from jax_talker.app.judging import angles, ceilings
from jax_talker.app.judging.head import Camera, Head
from jax_talker.app.judging.judge import Bar
from jax_talker.app.judging.score import Result, Score, mean
from jax_talker.app.judging.tables import Row
from jax_talker.app.judging.videos import TRUTH
from jax_talker.app.judging.yardstick_rows import anchor_name, at_rest, yardstick_rows
from jax_talker.data.clip.clip import Clip
from jax_talker.data.read.audio import load_sound
from jax_talker.errors import UserError

VIEWS = {f"({a:+d}°, {a:+d}°)": f"yaw={a},pitch={a}" for a in (30, 20, -20, -30)} | {"spiral": "spiral"}
OF_PICTURES = (
    "psnr",
    "ssim",
    "ssim_skimage",
    "lpips_alex",
    "lpips_vgg",
    "lmd",
    "expression",
    "jitter",
    "jaw",
    "sync",
    "aue",
)
OF_SETS = ("fid", "fid_clean", "idsim", "identity_dlib", "sync", "jaw", "jitter")
OF_PLACES = ("psnr", "ssim", "ssim_skimage", "lpips_alex", "lpips_vgg", "lmd")  # what is where in the picture
METRICS: Mapping[str, tuple[str, ...]] = {
    "self": OF_PICTURES,
    "novel_view": OF_SETS,
    "generalization": ("sync",),
    "mead": ("psnr", "ssim", "lpips_alex", "fid", "fid_clean", "sync"),
    "angles": ("psnr", "ssim", "lpips_alex"),
}
PROTOCOLS = tuple(METRICS)
MEAN_VIEW = "further cameras, mean"
FRONT = "front"


def rows(
    protocol: str,
    heads: Sequence[Head],
    names: Sequence[str],
    *,
    audio: Sequence[Path] = (),
    filmed: Clip | None = None,
    bar: Bar,
) -> list[Row]:
    """The truth's row, the ceilings', the yardsticks', and one for each head. ``filmed`` is the clip's recording
    with more cameras (angles). UserError for an unknown protocol, and where the clip or the flags lack what it needs.
    """
    if protocol not in METRICS:
        raise UserError(f"--protocol: there is no {protocol!r}; choose from {', '.join(PROTOCOLS)}")
    _check_same_frames(heads)
    if protocol == "self":
        return _self(heads, names, bar)
    if protocol == "novel_view":
        return _novel_view(heads, names, bar)
    if protocol == "generalization":
        return _generalization(heads, names, audio, bar)
    return _cameras(protocol, heads, names, filmed, bar)


def _check_same_frames(heads: Sequence[Head]) -> None:
    first = heads[0]
    for head in heads[1:]:
        same = head.clip.files.sums == first.clip.files.sums and np.array_equal(head.test, first.test)
        if not same:
            raise UserError(
                f"{head.name} and {first.name} were not trained on the same clip, or hold out other frames of it: "
                "their numbers are not comparable"
            )


def _self(heads: Sequence[Head], names: Sequence[str], bar: Bar) -> list[Row]:
    first = heads[0]
    truth = first.filmed("truth", first.clip)
    out = [Row(TRUTH, {"": first.judged(truth, truth, names, bar, camera=first.clip)})]
    out.append(ceilings.encoded_row(first, {"": (truth, first.clip)}, names, bar))
    own = lambda head: {"": Camera(head.clip.arrays["label"][head.test], first.clip)}  # noqa: E731
    out += ceilings.driven_rows(heads, own, names, bar)
    out += yardstick_rows(heads, own, names, bar)
    for head in heads:
        script = talking.script_of_clip(head.clip, head.test, "clip")
        shown = head.shown("", script)
        head.keep_film("beside", shown, truth)
        out.append(
            Row(head.name, {"": head.judged(shown, truth, names, bar, camera=first.clip, also=[head.sampled("")])})
        )
    return out


def _novel_view(heads: Sequence[Head], names: Sequence[str], bar: Bar) -> list[Row]:
    """Truth is what was filmed from the own camera: there is no other, so pixels are not compared."""
    if wrong := [name for name in names if name in OF_PLACES]:
        raise UserError(
            f"--metrics: {wrong[0]} needs what the same camera filmed, and nobody filmed these views; leave out "
            f"{', '.join(wrong)}, or take --protocol angles, whose cameras are the clip's"
        )
    first = heads[0]
    truth = first.filmed("truth", first.clip)
    own = first.judged(truth, truth, names, bar)
    encoded = ceilings.encoded_row(first, {"": (truth, None)}, names, bar)
    out = [Row(TRUTH, dict.fromkeys(VIEWS, own)), Row(encoded.name, dict.fromkeys(VIEWS, encoded.results[""]))]

    def cameras(head: Head) -> dict[str, Camera]:
        labels = {view: talking.camera_path(camera, len(head.test), head.clip) for view, camera in VIEWS.items()}
        return {view: Camera(label, first.clip, masks=False) for view, label in labels.items()}

    out += ceilings.driven_rows(heads, cameras, names, bar)
    out += yardstick_rows(heads, cameras, names, bar)
    for head in heads:
        found = {}
        for view, camera in VIEWS.items():
            shown = head.shown(view, talking.script_of_clip(head.clip, head.test, camera))
            also = [head.sampled(view)] if view == "spiral" else []  # Fig. 2 of the supplement
            found[view] = head.judged(shown, truth, names, bar, also=also)
            head.keep_film(view, shown, truth if view == "spiral" else None)
        out.append(Row(head.name, found))
    return out


def _generalization(heads: Sequence[Head], names: Sequence[str], audio: Sequence[Path], bar: Bar) -> list[Row]:
    """Nobody filmed this person saying this: the recording with its own sound bounds it, and nothing can be fitted."""
    if not audio:
        raise UserError("--protocol generalization needs --audio: speech of others (several files: commas between)")
    if wrong := [name for name in names if name != "sync"]:
        raise UserError(f"--metrics: {wrong[0]} needs a truth, and nobody filmed this person saying this; only sync")
    first = heads[0]
    truth = first.filmed("truth", first.clip)
    own = first.judged(truth, truth, names, bar)  # what the recording itself gets, for its own sound
    encoded = ceilings.encoded_row(first, {"": (truth, None)}, names, bar)
    sounds = {path.name: load_sound(path) for path in audio}
    out = [Row(TRUTH, dict.fromkeys(sounds, own)), Row(encoded.name, dict.fromkeys(sounds, encoded.results[""]))]
    spoken = []
    for head in heads:
        still, found = {}, {}
        for name, sound in sounds.items():
            script = talking.script_for(sound, "spiral", held=head.speaker.usual, clip=head.clip, seed=0)
            resting = head.shown(f"{name}, still", at_rest(head, script))
            still[name] = head.judged(resting, resting, names, bar)
            shown = head.shown(name, script)
            found[name] = head.judged(shown, shown, names, bar, also=[head.sampled(name)])
            head.keep_film(name, shown)
        out.append(Row(anchor_name(head), still))
        spoken.append(Row(head.name, found))
    return out + spoken


def _cameras(protocol: str, heads: Sequence[Head], names: Sequence[str], filmed: Clip | None, bar: Bar) -> list[Row]:
    """Each camera's pictures against its own truth."""
    first = heads[0]
    further = angles.further(first.clip, filmed if protocol == "angles" else None)
    if not further:
        raise UserError(
            f"{first.clip.root}: has no further cameras, which --protocol {protocol} is about"
            + " and --filmed gives none" * (filmed is not None)
        )
    cameras = {FRONT: first.clip, **further}
    if protocol == "angles":
        cameras = angles.in_order(cameras)
    truths = {name: (first.filmed(name, camera), camera) for name, camera in cameras.items()}
    out = [Row(TRUTH, with_mean({n: first.judged(p, p, names, bar, camera=c) for n, (p, c) in truths.items()}))]
    out += [_with_means(ceilings.encoded_row(first, truths, names, bar))]

    seen = lambda head: looked_from(head, cameras)  # noqa: E731
    out += map(_with_means, ceilings.driven_rows(heads, seen, names, bar))
    out += map(_with_means, yardstick_rows(heads, seen, names, bar))
    return out + [Row(head.name, seen_from(head, cameras, names, bar)) for head in heads]


def seen_from(head: Head, cameras: Mapping[str, Clip], names: Sequence[str], bar: Bar) -> dict[str, list[Result]]:
    """The held-out tail from each camera of the head's clip, its own first, against what that camera saw; and the mean
    over the further ones."""
    found = {}
    for name, camera in looked_from(head, cameras).items():
        script = replace(talking.script_of_clip(head.clip, head.test, "clip"), label=camera.label)
        shown, truth = head.shown(name, script), head.truth_of(name, camera)
        found[name] = head.judged(shown, truth, names, bar, camera=camera.truth, also=[head.sampled(name)])
        head.keep_film(name, shown, truth)
    return with_mean(found)


def looked_from(head: Head, cameras: Mapping[str, Clip]) -> dict[str, Camera]:
    """Cameras as the head's run corrected them, each with its own truth; the first is the head's own."""
    own, *others = cameras
    seen = {own: head.clip} | {name: head.speaker.with_corrected_cameras(cameras[name]) for name in others}
    return {n: Camera(clip.arrays["label"][head.test].astype(np.float32), cameras[n]) for n, clip in seen.items()}


def _with_means(row: Row) -> Row:
    return Row(row.name, with_mean({name: [*results] for name, results in row.results.items()}))


def with_mean(found: dict[str, list[Result]]) -> dict[str, list[Result]]:
    """And the mean over all cameras but the first, the own one, as Table 2 has it."""
    _, *further = found.values()
    means: list[Result] = []
    for same in zip(*further, strict=True):
        scores = [result for result in same if isinstance(result, Score)]
        if len(scores) == len(same):
            values = np.array([score.value for score in scores])
            known = ~np.isnan(values)
            note = "" if known.all() else f"of {known.sum()} of {len(known)} cameras; the others do not see it"
            means.append(replace(scores[0], value=mean(values), per_frame=None, note=note))
        else:
            means.append(same[0])
    return {**found, MEAN_VIEW: means}
