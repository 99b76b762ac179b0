"""The byte offsets of ``kernels/cpu/ffi.py`` against the header that the installed jaxlib ships."""

import re
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from kernels import Unsupported, numba_cpu, rasterize
from kernels.cpu import ffi, handlers
from kernels.dispatch import platform
from tests.kernels.scenes import look, random_gaussians

# ffi.py's constant → what it is the offset of, (struct, path of members)
OFFSETS = {
    "_EXTENSION": ("XLA_FFI_CallFrame", "extension_start"),
    "_API": ("XLA_FFI_CallFrame", "api"),
    "_CONTEXT": ("XLA_FFI_CallFrame", "ctx"),
    "_ARGUMENTS": ("XLA_FFI_CallFrame", "args.args"),
    "_RESULTS": ("XLA_FFI_CallFrame", "rets.rets"),
    "_ATTRIBUTES": ("XLA_FFI_CallFrame", "attrs.attrs"),
    "_BUFFER_DATA": ("XLA_FFI_Buffer", "data"),
    "_BUFFER_RANK": ("XLA_FFI_Buffer", "rank"),
    "_BUFFER_DIMS": ("XLA_FFI_Buffer", "dims"),
    "_ARRAY_DATA": ("XLA_FFI_Array", "data"),
    "_EXTENSION_TYPE": ("XLA_FFI_Extension_Base", "type"),
    "_EXTENSION_METADATA": ("XLA_FFI_Metadata_Extension", "metadata"),
    "_METADATA_MAJOR": ("XLA_FFI_Metadata", "api_version.major_version"),
    "_METADATA_MINOR": ("XLA_FFI_Metadata", "api_version.minor_version"),
    "_METADATA_TRAITS": ("XLA_FFI_Metadata", "traits"),
    "_API_MAJOR": ("XLA_FFI_Api", "api_version.major_version"),
    "_API_MINOR": ("XLA_FFI_Api", "api_version.minor_version"),
    "_ERROR_CREATE": ("XLA_FFI_Api", "XLA_FFI_Error_Create"),
    "_ERROR_DESTROY": ("XLA_FFI_Api", "XLA_FFI_Error_Destroy"),
    "_SCHEDULE": ("XLA_FFI_Api", "XLA_FFI_ThreadPool_Schedule"),
    "_NUM_THREADS": ("XLA_FFI_Api", "XLA_FFI_ThreadPool_NumThreads"),
}
VALUES = {
    "_IS_METADATA": "XLA_FFI_Extension_Metadata",
    "_RESOURCE_EXHAUSTED": "XLA_FFI_Error_Code_RESOURCE_EXHAUSTED",
    "_UNIMPLEMENTED": "XLA_FFI_Error_Code_UNIMPLEMENTED",
}


def test_offsets_are_the_headers(tmp_path):
    """As a C compiler lays the structures out."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to lay out the structures of XLA's FFI with")
    text = (Path(jax.ffi.include_dir()) / "xla/ffi/api/c_api.h").read_text()
    renamed = {"XLA_FFI_Extension_Base": "XLA_FFI_InternalExtension"} if "XLA_FFI_InternalExtension" in text else {}
    layout = {name: (renamed.get(struct, struct), member) for name, (struct, member) in OFFSETS.items()}
    lines = [f'printf("{name} %zu\\n", offsetof({struct}, {member}));' for name, (struct, member) in layout.items()]
    lines += [f'printf("{name} %d\\n", (int){value});' for name, value in VALUES.items()]
    source = tmp_path / "offsets.c"
    header = '#include <stddef.h>\n#include <stdio.h>\n#include "xla/ffi/api/c_api.h"\n'
    source.write_text(f"{header}int main(void) {{ {' '.join(lines)} return 0; }}\n")
    command = [compiler, f"-I{jax.ffi.include_dir()}", str(source), "-o", str(tmp_path / "offsets")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    told = subprocess.run([tmp_path / "offsets"], check=True, capture_output=True, text=True).stdout
    theirs = {name: int(number) for name, number in (line.split() for line in told.splitlines())}
    assert {name: getattr(ffi, name) for name in theirs} == theirs
    known = re.findall(r"^(_[A-Z_]+(?:, _[A-Z_]+)*) = [\d, ]+$", Path(ffi.__file__).read_text(), re.MULTILINE)
    offsets = {name for line in known[:-1] for name in line.split(", ")}
    assert offsets <= {*OFFSETS, *VALUES}, "a constant that nothing compares"


def test_the_version_is_one_that_is_known():
    assert numba_cpu.ffi_version() in numba_cpu.FFI_VERSIONS
    assert [(ffi.MAJOR, minor) for minor in range(ffi.FIRST_MINOR, ffi.LAST_MINOR + 1)] == list(numba_cpu.FFI_VERSIONS)


@pytest.mark.skipif(platform() != "cpu", reason=f"numba runs on the CPU, found {platform()!r}")
def test_an_unknown_version_is_refused(monkeypatch):
    """By name with the reason; by default ``xla`` takes over."""
    monkeypatch.setattr(numba_cpu, "ffi_version", lambda: (0, 99))
    gaussians, camera = random_gaussians(jax.random.key(0), count=3), look()
    with pytest.raises(Unsupported, match=r"knows versions .* of XLA's FFI, this jaxlib has \(0, 99\)"):
        rasterize(gaussians, camera, width=9, height=8, implementation="numba")
    text = jax.jit(lambda g: rasterize(g, camera, width=9, height=8).image).lower(gaussians).as_text()
    assert "kernels_cpu_rasterize" not in text


def test_a_call_of_an_unknown_version_is_refused_too():
    """What XLA is told when it registers a handler whose offsets are not its own: nothing else has been touched."""
    if platform() != "cpu":
        pytest.skip(f"numba runs on the CPU, found {platform()!r}")
    import ctypes

    jax.block_until_ready(
        rasterize(random_gaussians(jax.random.key(0), count=3), look(), width=8, height=8, implementation="numba")
    )
    handler = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(numba_cpu._compiled[0][handlers.rasterize].address)
    codes: list[int] = []

    @ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    def create_error(arguments: int) -> int:
        codes.append(ctypes.c_int32.from_address(arguments + 24).value)
        return 4711

    def block(size: int) -> ctypes.Array:
        return ctypes.create_string_buffer(size)

    def put(where: ctypes.Array, offset: int, value: int, kind=ctypes.c_int64) -> None:
        kind.from_buffer(where, offset).value = value

    call, api, extension, metadata = block(256), block(512), block(64), block(64)
    put(call, ffi._EXTENSION, ctypes.addressof(extension))
    put(call, ffi._API, ctypes.addressof(api))
    put(extension, ffi._EXTENSION_TYPE, ffi._IS_METADATA, ctypes.c_int32)
    put(extension, ffi._EXTENSION_METADATA, ctypes.addressof(metadata))
    put(api, ffi._ERROR_CREATE, ctypes.cast(create_error, ctypes.c_void_p).value)
    for version, answer in (((0, 3), 0), ((0, 4), 0), ((0, 99), 4711), ((0, 2), 4711), ((1, 3), 4711)):
        put(api, ffi._API_MAJOR, version[0], ctypes.c_int32)
        put(api, ffi._API_MINOR, version[1], ctypes.c_int32)
        assert handler(ctypes.addressof(call)) == answer
    assert codes == [ffi._UNIMPLEMENTED] * 3
    assert jnp.isfinite(
        rasterize(random_gaussians(jax.random.key(0), count=3), look(), width=8, height=8, implementation="numba").image
    ).all()
