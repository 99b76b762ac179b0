"""Is a converted prior the original? Errors of every stage, against stored numbers or against the PyTorch port."""

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converters.comparison import Row, Skipped
from jax_talker.errors import UserError
from jax_talker.priors.base import Prior, Variables
from jax_talker.priors.store import find, load

BOMB, LARGE = 20, 64 << 20  # numbers compress to half their size, zeros a thousandfold
COMPANIONS = ("intermediates", "raster_inputs")  # files of a GSGAN set that lie beside its io.npz


def golden(folder: Path, path: Path) -> bool:
    """Print the error of every array that an npz of the original program holds; whether all are within tolerance."""
    find(folder)
    arrays = read_golden(path)
    prior, variables = load(folder)
    rows = list(_golden_rows(prior, variables, arrays))
    if not any(isinstance(row, Row) for row in rows):
        raise UserError(f"{path}: holds none of the arrays that verify knows (docs/checkpoints.md lists them)")
    print(f"{folder} against {path}")
    return _print(rows)


def torch_port(folder: Path, seed: int) -> bool:
    """The same against the PyTorch port with random latents; needs torch."""
    from converters.torch_reference import compare

    prior, variables = load(folder)
    print(f"{folder} against the PyTorch port, random latents, seed {seed}")
    return _print(compare.rows(prior, variables, seed))


def read_golden(path: Path) -> dict[str, np.ndarray]:
    """The npz; truncation settings of a meta.json beside it; and the companions of a GSGAN set, by their prefix."""
    arrays = _npz(path)
    if path.stem in COMPANIONS:
        arrays = {f"{path.stem}/{name}": array for name, array in arrays.items()}
        arrays |= _npz(path.with_name("io.npz"))
    for stem in COMPANIONS:
        companion = path.with_name(f"{stem}.npz")
        if path.stem == "io" and companion.is_file():
            arrays |= {f"{stem}/{name}": array for name, array in _npz(companion).items()}
    meta = path.parent / "meta.json"
    if "psi" not in arrays and meta.is_file():
        try:
            options = json.loads(meta.read_text(encoding="utf-8"))["options"]
            arrays |= {name: np.asarray(options[name], np.float64) for name in ("psi", "cut") if name in options}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{meta}: damaged ({type(error).__name__}: {error})") from None
    return arrays


def _npz(path: Path) -> dict[str, np.ndarray]:
    if path.exists() and not path.is_file():  # to open a pipe is to wait for whoever writes to it
        raise UserError(f"{path}: not a file")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
            if unpacked > LARGE and unpacked > BOMB * path.stat().st_size:
                raise UserError(f"{path}: unpacks to {unpacked:,} bytes, which numbers of a generator do not; refused")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except MemoryError:
        raise UserError(f"{path}: asks for more memory than there is") from None
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not a readable npz ({type(error).__name__}: {error})") from None


def _golden_rows(prior: Prior, variables: Variables, arrays: dict[str, np.ndarray]) -> Iterator[Row | Skipped]:
    if prior.kind == "gghead":
        from converters import gghead_golden as layout
    else:
        from converters import gsgan_golden as layout
    known: set[str] = set()
    generator: Any = prior
    yield from layout.rows(generator, variables, arrays, known)
    for name in sorted(set(arrays) - known):
        yield Skipped(name, "verify does not know this array")


def _print(rows: Iterable[Row | Skipped]) -> bool:
    print(f"{'stage':<44} {'values':>10} {'max |value|':>12} {'max abs':>10} {'max rel':>10} {'allowed':>10}")
    bad = compared = total = 0
    for row in rows:
        total += 1
        if isinstance(row, Skipped):
            print(f"{row.stage:<44} not compared: {row.reason}")
            continue
        compared += 1
        if not row.shapes_agree:
            bad += 1
            print(f"{row.stage:<44} shape {row.got.shape}, the golden file has {row.want.shape}  BAD")
            continue
        largest = row.largest
        worst = float(row.difference.max(initial=0))
        relative = worst / largest if largest else 0.0
        flipped = float(row.beyond.mean()) if row.want.size else 0.0
        note = "" if row.good else "  BAD"
        note += f"  ({flipped:.2%} beyond, {row.flips:.2%} allowed)" if flipped else ""
        note += "  (a unit at the edge of its ReLU)" if row.good and not flipped and worst > row.limit else ""
        bad += not row.good
        print(
            f"{row.stage:<44} {row.want.size:>10} {largest:>12.4g} {worst:>10.2e} {relative:>10.2e} "
            f"{row.limit:>10.2e}{note}"
        )
    print(f"{compared} of {total} arrays compared")
    print("within tolerance" if not bad else f"{bad} stages beyond tolerance")
    return not bad
