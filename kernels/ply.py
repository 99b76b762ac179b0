"""Gaussians in the .ply files of 3D Gaussian Splatting, which SuperSplat, antimatter15/splat, gsplat and others open.

A file holds, for each Gaussian, little-endian float32: x y z, nx ny nz (unused, zero), f_dc_0…2 and f_rest_* (spherical
harmonics; f_rest lists all higher coefficients of red, then of green, then of blue), opacity (as a logit), scale_0…2
(natural logarithms) and rot_0…3 (wxyz).
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kernels.spherical_harmonics import C0, COEFFICIENTS
from kernels.types import Gaussians

# Logits that stand for opacities of exactly 0 and 1: finite, because viewers sort and cull by them.
_CLEAR, _SOLID = -120.0, 40.0
_MAX_HEADER = 1 << 16  # bytes
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}


def write_ply(path: str | Path, gaussians: Gaussians, *, exact: bool = False) -> None:
    """Write one scene (no batch axis). RGB becomes the constant band of spherical harmonics.

    Means, quaternions and coefficients are stored as they are. Logarithms and logits in float32 hold scales and
    opacities to a few units in their last place; ``exact`` adds what is missing, as properties (scale_low_*,
    opacity_low) that viewers ignore and ``read_ply`` adds on again: then every number comes back bit for bit.

    Raises:
      ValueError: numbers that the format cannot hold, shapes that do not fit.
    """
    leaves = {name: None if leaf is None else np.asarray(leaf) for name, leaf in gaussians._asdict().items()}
    columns = _columns(leaves, exact)
    count = len(columns["x"])
    names = list(columns)
    table = np.empty(count, np.dtype([(name, "<f4") for name in names]))
    for name, column in columns.items():
        table[name] = column
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    header += [f"property float {name}" for name in names] + ["end_header", ""]
    Path(path).write_bytes("\n".join(header).encode() + table.tobytes())


def read_ply(path: str | Path, *, dtype: Any = np.float32) -> Gaussians:
    """Read one scene, after activation: NumPy arrays, colours as ``sh`` of the file's degree.

    With ``dtype=np.float64`` nothing that the file says is rounded: written again it gives the same bytes (normals are
    written as zeros, and opacities within 1e-9 of 1 have no room in a float64 either).

    Raises:
      ValueError: not such a file, or a damaged one; the message says what is wrong with it.
      FileNotFoundError: there is none.
    """
    data = Path(path).read_bytes()
    try:
        return _gaussians(_table(data), np.dtype(dtype))
    except _Damaged as problem:
        raise ValueError(f"{path}: {problem}") from None


class _Damaged(Exception):
    """What is wrong with a file, in words."""


def _columns(leaves: dict[str, Any], exact: bool) -> dict[str, np.ndarray]:
    means, quats, scales, opacities = (leaves[name] for name in ("means", "quats", "scales", "opacities"))
    if means.ndim != 2:
        raise ValueError(f"write_ply: one scene at a time, means [N, 3], got {means.shape}")
    if (leaves["colors"] is None) == (leaves["sh"] is None):
        raise ValueError("write_ply: give exactly one of colors and sh")
    count = means.shape[0]
    sh = leaves["sh"] if leaves["sh"] is not None else (leaves["colors"][:, None].astype(np.float64) - 0.5) / C0
    wanted = {"means": (count, 3), "quats": (count, 4), "scales": (count, 3), "opacities": (count,)}
    for name, shape in wanted.items():
        if leaves[name].shape != shape:
            raise ValueError(f"write_ply: {name} must be {shape}, got {leaves[name].shape}")
    if sh.ndim != 3 or sh.shape[0] != count or sh.shape[2] != 3 or sh.shape[1] not in COEFFICIENTS:
        raise ValueError(f"write_ply: sh must be [{count}, K, 3] with K in {COEFFICIENTS}, got {sh.shape}")
    can = {
        "means must be finite": np.isfinite(means).all(-1),
        "quats must be finite": np.isfinite(quats).all(-1),
        "sh (or colors) must be finite": np.isfinite(sh).all((-2, -1)),
        "scales must be positive and finite, or they have no logarithm": ((scales > 0) & np.isfinite(scales)).all(-1),
        "opacities must be within [0, 1], or they have no logit": (opacities >= 0) & (opacities <= 1),
    }
    for rule, fine in can.items():
        if not fine.all():
            raise ValueError(f"write_ply: {rule}; Gaussian {int(np.argmin(fine))} is not")
    opacity = opacities.astype(np.float64)
    with np.errstate(divide="ignore"):
        logits = np.clip(np.log(opacity) - np.log1p(-opacity), _CLEAR, _SOLID)
    logs = np.log(scales.astype(np.float64))
    rest = np.swapaxes(sh[:, 1:], 1, 2).reshape(count, 3 * (sh.shape[1] - 1))
    columns = dict(zip("xyz", means.T, strict=True)) | {name: np.zeros(count) for name in ("nx", "ny", "nz")}
    columns |= _numbered("f_dc_", sh[:, 0]) | _numbered("f_rest_", rest) | {"opacity": logits}
    columns |= _numbered("scale_", logs) | _numbered("rot_", quats)
    if exact:
        columns |= _numbered("scale_low_", logs - logs.astype(np.float32))
        columns["opacity_low"] = logits - logits.astype(np.float32)
    return columns


def _numbered(name: str, leaf: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}{i}": leaf[:, i] for i in range(leaf.shape[1])}


class _Header(NamedTuple):
    count: int
    row: np.dtype
    begin: int  # of the data, bytes
    more: bool  # other elements follow


def _header(data: bytes) -> _Header:
    if not data.startswith((b"ply\n", b"ply\r\n")):
        raise _Damaged("not a .ply file (it does not begin with 'ply')")
    mark = data.find(b"end_header", 0, _MAX_HEADER)
    begin = data.find(b"\n", mark) + 1
    if mark < 0 or begin == 0:
        raise _Damaged("its header does not end; the file is cut off or is something else")
    order, elements, fields = "", [], []
    for line in data[:mark].decode("ascii", "replace").splitlines()[1:]:
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", kind, _]:
                order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(kind, "")
                if not order:
                    raise _Damaged(f"its format is {kind!r}; only binary files are read, so convert it first")
            case ["element", name, number] if number.isdigit():
                elements.append((name, int(number)))
            case ["property", kind, name] if kind in _TYPES and elements:
                if len(elements) == 1:
                    fields.append((name, kind))
            case ["property", "list", *_] if len(elements) > 1:
                pass
            case _:
                raise _Damaged(f"cannot understand its header's line {line!r}")
    names = [name for name, _ in elements]
    if names[:1] == ["chunk"]:
        raise _Damaged("a compressed .ply; export it uncompressed (SuperSplat: 'PLY')")
    if names[:1] != ["vertex"]:
        raise _Damaged(f"its first element must be 'vertex', found {names[:1]}")
    if not order:
        raise _Damaged("its header names no format")
    if len({name for name, _ in fields}) != len(fields):
        raise _Damaged("its header names a property twice")
    row = np.dtype([(name, order + _TYPES[kind]) for name, kind in fields])
    return _Header(elements[0][1], row, begin, len(elements) > 1)


def _table(data: bytes) -> np.ndarray:
    header = _header(data)
    has, needs = len(data) - header.begin, header.count * header.row.itemsize
    if has < needs:
        raise _Damaged(f"cut off: {header.count} Gaussians need {needs} bytes, {has} are there")
    if has > needs and not header.more:
        raise _Damaged(f"{has - needs} bytes more than its {header.count} Gaussians need")
    return np.frombuffer(data, header.row, header.count, header.begin)


def _gaussians(table: np.ndarray, dtype: np.dtype) -> Gaussians:
    present = table.dtype.names or ()
    needed = ["x", "y", "z", "opacity", *(f"{name}_{i}" for name in ("f_dc", "scale") for i in range(3))]
    needed += [f"rot_{i}" for i in range(4)]
    if missing := [name for name in needed if name not in present]:
        raise _Damaged(f"not a file of Gaussians: it has no {', '.join(missing)}")
    rest = sum(name.startswith("f_rest_") for name in present)
    higher = {3 * (known - 1): known - 1 for known in COEFFICIENTS}
    if rest not in higher or any(f"f_rest_{i}" not in present for i in range(rest)):
        raise _Damaged(f"{rest} properties f_rest_*; spherical harmonics of degree 0 to 3 have {sorted(higher)}")

    def take(*names: str) -> np.ndarray:
        return np.stack([table[name].astype(np.float64) for name in names], -1)

    def numbered(name: str, number: int) -> np.ndarray:
        return take(*(f"{name}{i}" for i in range(number)))

    logs, logits = numbered("scale_", 3), table["opacity"].astype(np.float64)
    if "opacity_low" in present and all(f"scale_low_{i}" in present for i in range(3)):
        logs, logits = logs + numbered("scale_low_", 3), logits + table["opacity_low"]
    dc = numbered("f_dc_", 3)[:, None]
    if rest:
        bands = numbered("f_rest_", rest).reshape(len(table), 3, higher[rest])
        dc = np.concatenate([dc, np.swapaxes(bands, 1, 2)], 1)
    with np.errstate(over="ignore"):  # a scale beyond float32 is infinite, and will be skipped and counted
        opacities = np.where(logits < 0, np.exp(np.minimum(logits, 0)), 1) / (1 + np.exp(-np.abs(logits)))
        leaves: Any = (take("x", "y", "z"), numbered("rot_", 4), np.exp(logs), opacities, dc)
        means, quats, scales, opacities, sh = (leaf.astype(dtype) for leaf in leaves)
    return Gaussians(means, quats, scales, opacities, sh=sh)
