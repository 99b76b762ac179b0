"""How a prior lies on disk: the one format that the converters and training write and every program reads.

    config.json          {"format": 1, "kind": one of KINDS, "dtype": "float32" | "float16", "options": {…}}
    params.safetensors   one array for each variable, named by its path: params/mapping/fc0/kernel, buffers/w_avg, …
    README.md            the model card
    expressions.safetensors, encoder.safetensors   where the prior has them

Nothing in it can be executed. A folder is written beside its place and moved there when it is whole.
"""

import json
import reprlib
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import unflatten_dict

from jax_talker.errors import UserError
from jax_talker.priors.base import Prior, Variables, leaves
from jax_talker.priors.encoder import Encoder
from jax_talker.priors.gghead import GGHead, GGHeadConfig
from jax_talker.priors.gsgan import GSGAN
from jax_talker.priors.gsgan_config import GSGANConfig
from jax_talker.priors.morphable import Morphable
from jax_talker.priors.morphable_config import MorphableConfig

FORMAT = 1
ASSETS = Path(__file__).parent / "assets"  # bundled priors, found by name
KINDS = {"gghead": (GGHead, GGHeadConfig), "gsgan": (GSGAN, GSGANConfig), "morphable": (Morphable, MorphableConfig)}
DTYPES = ("float32", "float16")
# Places and indices, which float16 is too coarse for.
EXACT = tuple(f"buffers/{name}" for name in ("uv", "base_position", "neighbours", "corners", "backing"))
CONFIG, PARAMS, CARD = "config.json", "params.safetensors", "README.md"
EXPRESSIONS = "expressions.safetensors"  # of priors that know them: ARKit unit → direction of W+ at weight 1
ENCODER = "encoder.safetensors"  # of priors that have one: a picture → its latent (priors.encoder)
# All that may lie in a folder that is replaced: a prior, a person's latents, which fit no other generator, and what
# file managers leave.
FILES = (
    CONFIG,
    PARAMS,
    CARD,
    EXPRESSIONS,
    ENCODER,
    "person.safetensors",
    "anchor.safetensors",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
)


def load(path_or_name: str | Path, *, compute: str = "float32") -> tuple[Prior, Variables]:
    """The prior in a folder, or a bundled one by its name (``small``). Arrays are float32 whatever they are stored in.

    ``compute`` is how its heavy layers are evaluated: float32 (exact), tf32 or bfloat16. UserError when the folder
    is absent, damaged or of another version.
    """
    folder = find(path_or_name)
    prior = read_config(folder, compute=compute)
    path = folder / PARAMS
    wanted = {name: leaf.shape for name, leaf in leaves(prior.shapes()).items()}
    try:
        stored = safetensors.numpy.load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; convert or train the prior again") from None
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); convert or train the prior again") from None
    if wrong := sorted(set(wanted) ^ set(stored)):
        raise UserError(f"{path}: {len(wrong)} arrays do not fit {CONFIG}, the first is {wrong[0]}; write it again")
    for name, shape in wanted.items():
        array = stored[name]
        if array.shape != shape or str(array.dtype) not in DTYPES:
            raise UserError(f"{path}: {name} is {array.dtype} {array.shape}, {CONFIG} asks for float {shape}")
        if not np.isfinite(array).all():
            raise UserError(f"{path}: {name} holds values that are not finite")
    return prior, unflatten_dict({name: jnp.asarray(stored[name], jnp.float32) for name in wanted}, sep="/")


def expressions(path_or_name: str | Path, prior: Prior) -> dict[str, np.ndarray]:
    """ARKit unit → direction [L, D] of W+ that raises it by 1; empty for priors that know none."""
    path = find(path_or_name) / EXPRESSIONS
    if not path.is_file():
        return {}
    try:
        stored = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); convert or train the prior again") from None
    for name, array in stored.items():
        if array.shape != (prior.num_ws, prior.w_dim) or not np.isfinite(array).all():
            raise UserError(f"{path}: {name} is no finite {prior.num_ws} × {prior.w_dim} direction of this prior")
    return {name: array.astype(np.float32) for name, array in stored.items()}


def load_encoder(path_or_name: str | Path, prior: Prior) -> tuple[Encoder, dict[str, Any]] | None:
    """The encoder of a prior and its parameters; None for priors that have none."""
    path, made = find(path_or_name) / ENCODER, Encoder(prior)
    if not path.is_file():
        return None
    try:
        stored = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); train the encoder again, or remove it") from None
    fresh = jax.eval_shape(made.init, jax.random.key(0), jnp.zeros(prior.w_dim))
    wanted = {name: leaf.shape for name, leaf in leaves(fresh).items()}
    if wanted != {name: array.shape for name, array in stored.items()}:
        raise UserError(f"{path}: is no encoder of this prior; train it again, or remove it")
    if not all(np.isfinite(array).all() for array in stored.values()):
        raise UserError(f"{path}: holds values that are not finite; train the encoder again, or remove it")
    return made, unflatten_dict({name: jnp.asarray(array, jnp.float32) for name, array in stored.items()}, sep="/")


def save_encoder(folder: Path, params: Mapping[str, Any]) -> None:
    """Write an encoder's parameters, in float16."""
    write_arrays(folder / ENCODER, {name: _stored(name, x, "float16") for name, x in leaves(params).items()}, {})


def find(path_or_name: str | Path) -> Path:
    """The folder of a bundled prior's name or of a path."""
    for folder in (ASSETS / path_or_name, Path(path_or_name)):
        if (folder / CONFIG).is_file():
            return folder
    bundled = sorted(p.parent.name for p in ASSETS.glob(f"*/{CONFIG}"))
    raise UserError(
        f"{path_or_name}: no prior there (no {CONFIG}); give a folder that python -m converters wrote, "
        f"or one of the bundled priors: {', '.join(bundled) or 'none in this installation'}"
    )


def read_config(folder: Path, *, compute: str = "float32") -> Prior:
    """The prior that a folder describes, without its arrays."""
    path = folder / CONFIG
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); convert or train the prior again") from None
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        found = stored.get("format") if isinstance(stored, dict) else None
        raise UserError(
            f"{path}: prior format {reprlib.repr(found)}, this version reads {FORMAT}; convert the checkpoint again"
        )
    if (
        not isinstance(stored.get("kind"), str)
        or stored["kind"] not in KINDS
        or not isinstance(stored.get("options"), dict)
    ):
        raise UserError(
            f"{path}: kind {reprlib.repr(stored.get('kind'))} with its options expected, one of {sorted(KINDS)}"
        )
    make, config = KINDS[stored["kind"]]
    try:
        options = config.from_json(stored["options"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return make(options, compute)


def save(
    folder: str | Path,
    prior: Prior,
    variables: Variables,
    *,
    card: str,
    dtype: str = "float32",
    overwrite: bool = False,
) -> None:
    """Write a prior; ``card`` is the text of its model card (Markdown). On any error ``folder`` is as it was.

    ``overwrite`` replaces a prior by renaming; a folder that holds anything else is refused (:func:`check_target`).

    float16 halves the size of what is stored; UV points and base positions keep float32, because half precision would
    move Gaussians by a tenth of a millimetre at a head's size, and indices, because it has no 2049.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
    folder = check_target(folder, overwrite=overwrite)
    arrays = {name: _stored(name, array, dtype) for name, array in leaves(variables).items()}
    wanted = {name: leaf.shape for name, leaf in leaves(prior.shapes()).items()}
    if {name: array.shape for name, array in arrays.items()} != wanted:
        raise ValueError("variables do not have the structure of this prior")
    config = {"format": FORMAT, "kind": prior.kind, "dtype": dtype, "options": prior.config.to_json()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.partial"
    work.mkdir()
    try:
        write_arrays(work / PARAMS, arrays, {"format": str(FORMAT), "kind": prior.kind})
        (work / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        (work / CARD).write_text(card, encoding="utf-8")
        _exchange(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """A .safetensors file; OSError where the disk refuses it (safetensors' own function raises another, and lets nobody
    but the owner read)."""
    path.write_bytes(safetensors.numpy.save(dict(arrays), metadata=dict(metadata)))


def check_target(folder: str | Path, *, overwrite: bool) -> Path:
    """Where a prior asked for at ``folder`` will lie: links are followed. UserError when something is in the way.

    Only a folder that holds a prior and nothing else may be replaced: what is not ours is never deleted.
    """
    asked = Path(folder)
    try:
        folder = asked.resolve()
        if not folder.exists():
            return folder
        if not folder.is_dir():
            raise UserError(f"{asked}: is a file, a prior needs a folder; choose another one")
        if not overwrite:
            raise UserError(f"{asked}: exists already; remove it, choose another folder, or ask to overwrite it")
        held = sorted(entry.name for entry in folder.iterdir())
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        raise UserError(f"{asked}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    if held and CONFIG not in held:
        raise UserError(f"{asked}: is no prior (no {CONFIG} in it), so it is not overwritten; choose another folder")
    if held and not _is_ours(folder / CONFIG):
        raise UserError(
            f"{asked}: its {CONFIG} is not that of a prior, so it is not overwritten; choose another folder"
        )
    if others := [name for name in held if name not in FILES or not (folder / name).is_file()]:
        raise UserError(f"{asked}: holds {others[0]:.60} as well, which would be lost; choose another folder")
    return folder


def _is_ours(path: Path) -> bool:
    """Whether a config.json is a prior's, of this version or another."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(stored, dict) and "format" in stored and str(stored.get("kind")) in KINDS


def _exchange(new: Path, folder: Path) -> None:
    """Put ``new`` in the place of ``folder`` by renaming; the old one comes back if that fails, and goes when it is
    over."""
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_suffix(".old")
    folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    for name in FILES:
        (old / name).unlink(missing_ok=True)
    old.rmdir()


def _stored(name: str, array: Any, dtype: str) -> np.ndarray:
    array = np.asarray(array)
    if not np.isfinite(array).all():
        raise UserError(f"{name}: holds values that are not finite; a prior with them is not saved")
    stored = np.array(array, np.float32 if name in EXACT else dtype, order="C")
    if not np.isfinite(stored).all():
        raise UserError(f"{name}: has values beyond float16's range; save it as float32")
    return stored
