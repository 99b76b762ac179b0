"""Evaluate: scores on the held-out tail, from the clip's own camera and from its true further cameras; the paper's
protocols, for one run or several; or two videos, whatever made them (docs/evaluation.md).

python -m jax_talker.evaluate --run runs/may
python -m jax_talker.evaluate --run runs/may --protocol self
python -m jax_talker.evaluate --run runs/may --protocol self --openface may_openface
python -m jax_talker.evaluate --runs runs/may,runs/other --protocol novel_view --out tables/novel_view
python -m jax_talker.evaluate --run runs/p33 --protocol angles --filmed data/from_all_sides
python -m jax_talker.evaluate --run runs/may --controls
python -m jax_talker.evaluate --pred a.mp4 --truth b.mp4 --metrics psnr,ssim,lpips,lmd --weights weights --out a_scores
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from configs import quickstart
from jax_talker import cli
from jax_talker.app import evaluating, navigating, publishing
from jax_talker.app.judging import angles, catalogue, ceilings, comparison, controls, figures, protocols, tables, videos
from jax_talker.app.judging.head import TRUTH_VIDEO, Film, Head, video_name
from jax_talker.app.judging.pictures import Pictures, of_video
from jax_talker.app.judging.provenance import provenance
from jax_talker.app.judging.weights import FOLDER, Weights
from jax_talker.app.run_folder import RunFolder
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.read.video import write_video
from jax_talker.errors import UserError, check_writable
from jax_talker.training.log import progress

RUN = flags.DEFINE_string("run", None, "A run folder of python -m jax_talker.train.")
CLIP = flags.DEFINE_string("clip", None, "Where the run's clip is, when it is not found by itself.")
FEATURES_WEIGHTS = flags.DEFINE_string(
    "features_weights",
    None,
    "Where the weights of the run's audio features are, when not found by themselves.",
)
RUNS = flags.DEFINE_list("runs", [], "Several run folders of the same clip, to be compared.")
PROTOCOL = flags.DEFINE_string("protocol", None, f"{', '.join(protocols.PROTOCOLS)}.")
AUDIO = flags.DEFINE_list("audio", [], "Sound that the person never said, for --protocol generalization.")
FILMED = flags.DEFINE_string(
    "filmed", None, "A clip folder in which the run's recording was filmed from more sides, for --protocol angles."
)
CEILING = flags.DEFINE_integer(
    "ceiling_every",
    5,
    "Fit every so manieth held-out frame, for the row of a head that is driven perfectly; 0: no such row.",
    lower_bound=0,
)
VIDEOS = flags.DEFINE_bool("videos", False, "Write a protocol's videos, too: truth beside render, the spiral.")
CONTROLS = flags.DEFINE_bool("controls", False, "Draw what each coefficient of a run does.")
PRED = flags.DEFINE_string("pred", None, "A rendered video, to be compared with --truth.")
TRUTH = flags.DEFINE_string("truth", None, "The true video of --pred: as large, and in step with it.")
METRICS = flags.DEFINE_list(
    "metrics", None, f"{', '.join(catalogue.NAMES)}; light or all. Without it: light, or those of the protocol."
)
WEIGHTS = flags.DEFINE_string("weights", FOLDER, "The folder with metrics' networks (docs/evaluation.md).")
OUT = flags.DEFINE_string("out", None, "Where tables go: OUT.md, OUT.csv, OUT.json; a run's by itself.")
LANDMARKS = flags.DEFINE_string("landmarks", "auto", "Who finds landmarks: auto, mediapipe or face-alignment.")
LANDMARK_MODEL = flags.DEFINE_string("landmark_model", None, "face_landmarker.task, or face-alignment's folder.")
PRED_SOUND = flags.DEFINE_string("pred_sound", None, "A file with the sound of --pred, where it has none.")
PRED_OPENFACE = flags.DEFINE_string("pred_openface", None, "OpenFace's CSV of --pred, for the metric aue.")
TRUTH_OPENFACE = flags.DEFINE_string("truth_openface", None, "OpenFace's CSV of --truth.")
OPENFACE = flags.DEFINE_string(
    "openface",
    None,
    "With --protocol: a folder with OpenFace's CSVs, for the metric aue. Videos that have none yet are written there.",
)


def main() -> None:
    given = {"--run": RUN.value, "--runs": RUNS.value, "--pred": PRED.value}
    if sum(map(bool, given.values())) != 1:
        raise UserError("give one of --run RUN, --runs RUN,RUN and --pred VIDEO --truth VIDEO")
    roots = [Path(root) for root in (RUNS.value or [RUN.value]) if root]
    if OPENFACE.value and (PRED.value or not PROTOCOL.value):
        raise UserError("--openface goes with --protocol; of two videos give --pred-openface and --truth-openface")
    if PRED.value:
        if not TRUTH.value:
            raise UserError("--pred needs --truth, the video that it is compared with")
        compare_videos(PRED.value, TRUTH.value)
    elif CONTROLS.value:
        if RUNS.value or PROTOCOL.value:
            raise UserError("--controls is about one run: give --run RUN alone")
        draw_controls(roots[0])
    elif PROTOCOL.value:
        evaluate_protocol(roots, PROTOCOL.value)
    elif RUNS.value:
        raise UserError(f"--runs needs --protocol, one of {', '.join(protocols.PROTOCOLS)}")
    else:
        evaluate_run(roots[0])


def evaluate_run(root: Path) -> None:
    folder = RunFolder(root)
    config: Any = ConfigDict(folder.config(quickstart.get_config().to_dict()))
    config.data.features_weights = folder.find_features(FEATURES_WEIGHTS.value)
    clip = folder.find_clip(CLIP.value)
    folder.check_writable()
    scores = evaluating.evaluate(config, navigating.open_speaker(config, folder), clip)
    evaluating.write_metrics(folder.root / "metrics.json", scores)
    evaluating.draw_curves(folder.root, folder.root / "curves.png")
    print(evaluating.table(scores))
    print(f"wrote {folder.root / 'metrics.json'} and curves.png")


def evaluate_protocol(roots: list[Path], protocol: str) -> None:
    if protocol not in protocols.PROTOCOLS:
        raise UserError(f"--protocol: there is no {protocol!r}; choose from {', '.join(protocols.PROTOCOLS)}")
    names = catalogue.chosen([*(METRICS.value or protocols.METRICS[protocol]), *["aue"] * bool(OPENFACE.value)])
    stem = Path(OUT.value) if OUT.value else roots[0] / "evaluation" / protocol
    if len(roots) > 1 and not OUT.value:
        raise UserError("--runs needs --out: the table belongs to no single run")
    check_writable(stem.parent, stem)
    if OPENFACE.value:
        check_writable(Path(OPENFACE.value), OPENFACE.value)
    heads = [_head(root) for root in roots]
    if len({head.name for head in heads}) < len(heads):
        raise UserError("--runs: two of the folders have the same name, by which rows are told apart")
    if OPENFACE.value and len({TRUTH_VIDEO, *(video_name(head.name, "") for head in heads)}) <= len(heads):
        raise UserError("--openface: two of the runs, or one and the truth, would have the same video; rename a folder")
    filmed = open_clip(FILMED.value) if FILMED.value else None
    if filmed is not None and protocol != "angles":
        raise UserError("--filmed goes with --protocol angles")
    audio = [Path(name) for name in AUDIO.value]
    rows = protocols.rows(protocol, heads, names, audio=audio, filmed=filmed, bar=_bar)
    configs = {head.name: head.config.to_dict() for head in heads}
    first = heads[0]
    about = f"{first.clip.root.name}, {len(first.test)} held-out frames, {first.clip.size}²"
    table = tables.Table(f"{protocol}: {about}", rows, provenance(configs))
    notes = [*ceilings.same_frames(heads, rows), *comparison.differences(table, list(configs))]
    publish(replace(table, notes=notes), stem, list(configs))
    sheets = {name: sampler for head in heads for name, sampler in head.sheets.items()}
    drawn = [*figures.write_sheets(sheets, stem), *figures.write_curves(table, stem)]
    if protocol == "angles":
        drawn += angles.write_plot(table, stem)
    if OPENFACE.value:
        drawn += _for_openface({name: video for head in heads for name, video in head.videos.items()})
    if VIDEOS.value:
        for head, root in zip(heads, roots, strict=True):
            drawn += [_written(film, stem, name, RunFolder(root)) for name, film in head.films.items()]
    print("wrote " + ", ".join(map(str, drawn)))


def draw_controls(root: Path) -> None:
    stem = Path(OUT.value) if OUT.value else root / "evaluation" / "controls"
    check_writable(stem.parent, stem)
    head = _head(root)
    found = controls.controls(head.config, head.speaker, head.clip)
    print(controls.summary(found))
    print("wrote " + ", ".join(map(str, controls.write(found, stem))))


def _written(film: Film, stem: Path, name: str, folder: RunFolder) -> Path:
    shown = progress(film.frames(), total=film.count, desc=name)
    path = stem.with_name(f"{stem.name}_{figures.file_name(name)}.mp4")
    return publishing.publish(path, shown, sound=film.sound, folder=folder, provenance=publishing.ON)


def _for_openface(videos: Mapping[str, Pictures]) -> list[Path]:
    """Write the videos that OpenFace has not measured; without a mark, which would be measured as well."""
    folder = Path(OPENFACE.value or "")
    waiting = {name: video for name, video in videos.items() if not (folder / f"{name}.csv").is_file()}
    return [
        write_video(folder / f"{name}.mp4", progress(video.frames(), total=video.expected, desc=name))
        for name, video in waiting.items()
    ]


def _head(root: Path) -> Head:
    folder = RunFolder(root)
    config: Any = ConfigDict(folder.config(quickstart.get_config().to_dict()))
    config.data.features_weights = folder.find_features(FEATURES_WEIGHTS.value)
    clip = folder.find_clip(CLIP.value)
    speaker = navigating.open_speaker(config, folder)
    model = Path(LANDMARK_MODEL.value) if LANDMARK_MODEL.value else None
    return Head(
        *(root.resolve().name, config, speaker, speaker.with_corrected_cameras(clip), Weights(Path(WEIGHTS.value))),
        *(model, LANDMARKS.value),
        ceiling=CEILING.value,
        openface=Path(OPENFACE.value) if OPENFACE.value else None,
    )


def compare_videos(pred: str, truth: str) -> None:
    names = catalogue.chosen(METRICS.value or ["light"])
    setting = catalogue.Setting(
        of_video(pred, PRED_SOUND.value),
        of_video(truth),
        Weights(Path(WEIGHTS.value)),
        LANDMARKS.value,
        Path(LANDMARK_MODEL.value) if LANDMARK_MODEL.value else None,
        _openface(),
    )
    if OUT.value:
        check_writable(Path(OUT.value).parent, OUT.value)
    publish(videos.compare(setting, names, _bar), Path(OUT.value) if OUT.value else None, [])


def publish(table: tables.Table, stem: Path | None, marked: list[str]) -> None:
    """Print a table, and write it where there is a place for it."""
    print(tables.markdown(table, marked=marked))
    if stem is not None:
        print("wrote " + ", ".join(str(path) for path in tables.write(table, stem, marked=marked)))


def _openface() -> tuple[Path, Path] | None:
    pred, truth = PRED_OPENFACE.value, TRUTH_OPENFACE.value
    if bool(pred) != bool(truth):
        raise UserError("AUE needs both --pred-openface and --truth-openface")
    if not (pred and truth):
        return None
    if absent := [path for path in (pred, truth) if not Path(path).is_file()]:
        raise UserError(f"{absent[0]}: no such OpenFace CSV")
    return Path(pred), Path(truth)


def _bar(items, label: str, total: int | None):
    return progress(items, total=total, desc=Path(label).name, unit="batch")


if __name__ == "__main__":
    cli.run(main)
