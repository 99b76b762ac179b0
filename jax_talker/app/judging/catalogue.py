"""Every metric by its name, and what each needs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

from jax_talker.app.judging import action_units, dlib_meter, fid_meter, id_meter, image_meters, sync_meter
from jax_talker.app.judging.action_units import ActionUnitMeter
from jax_talker.app.judging.face_finder import has_mediapipe
from jax_talker.app.judging.face_meters import TITLES, FaceMeter
from jax_talker.app.judging.meters import Meter
from jax_talker.app.judging.pictures import Pictures
from jax_talker.app.judging.score import Missing
from jax_talker.app.judging.weights import Weights
from jax_talker.data.track.faces import Landmarker
from jax_talker.data.track.landmarkers import make_landmarker
from jax_talker.errors import UserError
from jax_talker.networks import inception, iresnet, lpips, syncnet, weights_file

OF_FACES = tuple(TITLES)  # one meter, one landmarker
ALIASES = {"lpips": "lpips_alex"}
LIGHT = ("psnr", "ssim", "ssim_skimage", "lpips_alex", *OF_FACES)  # minutes on two cores


@dataclass(frozen=True)
class Setting:
    """What is compared, and with what at hand."""

    pred: Pictures
    truth: Pictures
    weights: Weights
    landmarks: str = "auto"  # as prepare's --landmarks
    landmark_model: Path | None = None
    openface: tuple[Path, Path] | None = None  # OpenFace's CSVs of pred and truth

    def landmarker(self) -> "Make":
        """What makes a landmarker; else (what is missing, where to get it)."""
        if self.landmarks not in ("auto", "mediapipe"):
            return partial(make_landmarker, self.landmarks, model=self.landmark_model)
        path, where = (self.landmark_model, "") if self.landmark_model else self.weights.landmarker()
        if path is not None and path.is_dir():
            return partial(make_landmarker, "face-alignment", model=path)
        if not has_mediapipe():
            return "the package mediapipe", "get it from PyPI: pip install 'jax-talker[landmarks]'"
        if self.landmark_model is None and path is not None and not path.is_file():
            return str(path), where
        return partial(make_landmarker, "mediapipe", model=path)


Make = Callable[[], Landmarker] | tuple[str, str]  # what makes a landmarker; else (what is missing, where to get it)
Maker = Callable[[Setting, Make], Meter | Missing | list[Missing]]


def _lpips(net: str, setting: Setting, make: Make) -> Meter | Missing:
    path, where = setting.weights.lpips(net)
    if where:
        return Missing(f"lpips_{net}", {"alex": "LPIPS (Alex)", "vgg": "LPIPS (VGG)"}[net], str(path), where)
    return image_meters.lpips_meter(*lpips.load(path))


def _fid(name: str, setting: Setting, make: Make) -> Meter | Missing:
    path, where = setting.weights.file(inception.FILE, inception.ORIGIN)
    if where:
        return Missing(name, fid_meter.TITLES[name], str(path), where)
    return fid_meter.FidMeter(name, weights_file.load(path, inception.shapes(), "FID's Inception"))


def _idsim(net: str, setting: Setting, make: Make) -> Meter | Missing:
    kind = iresnet.KINDS[net]
    path, where = setting.weights.file(iresnet.FILES[net], f"{kind.origin}, then python -m converters idsim {net} FILE")
    if where:
        return Missing(id_meter.name(net), id_meter.title(net), str(path), where)
    if isinstance(make, tuple):
        return Missing(id_meter.name(net), id_meter.title(net), *make)
    return id_meter.IdentityMeter(net, weights_file.load(path, iresnet.shapes(net), kind.title))


def _dlib(setting: Setting, make: Make) -> Meter | Missing:
    path, where = setting.weights.folder / dlib_meter.FILE, f"{dlib_meter.ORIGIN}, into {setting.weights.folder}"
    if not path.is_file():
        return Missing(dlib_meter.NAME, dlib_meter.TITLE, str(path), where)
    if not dlib_meter.has_dlib():
        return Missing(dlib_meter.NAME, dlib_meter.TITLE, "the package dlib", "get it from PyPI: pip install dlib-bin")
    if isinstance(make, tuple):
        return Missing(dlib_meter.NAME, dlib_meter.TITLE, *make)
    return dlib_meter.DlibMeter(path)


def _sync(setting: Setting, make: Make) -> Meter | list[Missing]:
    path, where = setting.weights.file(syncnet.FILE, syncnet.ORIGIN)
    missing = (str(path), where) if where else make
    if not where and setting.pred.sound is None:
        missing = (f"the sound of {setting.pred.name}", "give a file that has it with --pred-sound")
    if isinstance(missing, tuple):
        return [Missing(name, title, *missing) for name, title in sync_meter.TITLES.items()]
    return sync_meter.SyncMeter(weights_file.load(path, syncnet.shapes(), "SyncNet"), setting.pred)


def _aue(setting: Setting, make: Make) -> Meter | list[Missing]:
    if setting.openface is None:
        missing = "OpenFace's CSVs", "get them with --openface FOLDER; of two videos, --pred-openface, --truth-openface"
    elif absent := [path for path in setting.openface if not path.is_file()]:
        video, folder = absent[0].with_suffix(".mp4"), absent[0].parent
        missing = (
            str(absent[0]),
            f"get it from OpenFace 2.2: FeatureExtraction -aus -f {quote(str(video))} -out_dir {quote(str(folder))}",
        )
    else:
        return ActionUnitMeter(*setting.openface)
    return [Missing(name, title, *missing) for name, title in action_units.TITLES.items()]


MAKERS: dict[str, Maker] = {
    "psnr": lambda setting, make: image_meters.psnr(),
    "ssim": lambda setting, make: image_meters.ssim(),
    "ssim_skimage": lambda setting, make: image_meters.ssim_skimage(),
    "lpips_alex": partial(_lpips, "alex"),
    "lpips_vgg": partial(_lpips, "vgg"),
    "fid": partial(_fid, "fid"),
    "fid_clean": partial(_fid, "fid_clean"),
    **{id_meter.name(net): partial(_idsim, net) for net in iresnet.KINDS},
    dlib_meter.NAME: _dlib,
    "sync": _sync,
    "aue": _aue,
}
NAMES = (*LIGHT[:4], "lpips_vgg", *OF_FACES, *(name for name in MAKERS if name not in LIGHT and name != "lpips_vgg"))


def chosen(names: Iterable[str]) -> list[str]:
    """Metrics by what a user calls them, ``all`` and ``light`` included; each once. UserError for unknown ones."""
    out: list[str] = []
    for name in (n.strip() for n in names if n.strip()):
        group = {"all": NAMES, "light": LIGHT}.get(name, (ALIASES.get(name, name),))
        if unknown := [n for n in group if n not in NAMES]:
            raise UserError(f"--metrics: there is no {unknown[0]!r}; choose from {', '.join(NAMES)}, light, all")
        out += [n for n in group if n not in out]
    if not out:
        raise UserError(f"--metrics: name at least one of {', '.join(NAMES)}, light, all")
    return out


def meters(names: Sequence[str], setting: Setting, make: Make) -> list[Meter | Missing]:
    """A meter, or what is missing for it, for each of the metrics, in their order; landmarks' metrics share one.

    ``make`` is ``setting.landmarker()``, asked once.
    """
    out: list[Meter | Missing] = []
    of_faces = [name for name in names if name in OF_FACES]
    for name in names:
        if name in OF_FACES:
            if isinstance(make, tuple):
                out += [Missing(column, title, *make) for column, title in TITLES[name].items()]
            elif name == of_faces[0]:
                out.append(FaceMeter(frozenset(of_faces)))
        else:
            made = MAKERS[name](setting, make)
            out += made if isinstance(made, list) else [made]
    return out
