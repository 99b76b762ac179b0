"""What every program shares at its very edge: flags in, one clear line out."""

import ctypes
import errno
import io
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import scipy.linalg  # noqa: F401  (brings the BLAS that JAX factorises with, before it is told about threads)
from absl import app, flags
from threadpoolctl import threadpool_limits

from jax_talker.errors import UserError

EXIT_USER_ERROR = 2  # bad input or bad flags
EXIT_INTERRUPTED = 130  # the shell's number for Ctrl-C
CACHED_BYTES = 2**30  # of compiled programs that are kept; the least used go first
WORTH_KEEPING = 1.0  # s of compilation
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def run(main: Callable[[], None], argv: Sequence[str] | None = None, *, given: Sequence[str] = ()) -> None:
    """Parse flags and call ``main()``. What the user can put right is printed as one line, with exit code 2.

    Anything else is our bug and keeps its traceback. Arguments without a name are the flags ``given``, in their order.
    """
    argv = list(sys.argv if argv is None else argv)
    _print_anything()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    for noisy in ("absl", "orbax", "jax", "matplotlib", "numba"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        rest = _parse(argv)[1:]
        if len(rest) > len(given):
            raise UserError(f"unexpected argument {rest[len(given)]!r}; flags look like --name=value (see --help)")
        for name, value in zip(given, rest, strict=False):  # fewer may be given
            if flags.FLAGS[name].present:
                raise UserError(f"--{name}={flags.FLAGS[name].value} and {value!r}: give one of them (see --help)")
            flags.FLAGS[name].value = value
        _keep_compiled_programs()
        _keep_freed_memory()
        _leave_cores_to_xla()
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except OSError as error:
        where = error.filename or "the disk"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            print(f"error: {where}: no space left; free some and start it again", file=sys.stderr)
        elif error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            print(f"error: {str(where)[:60]}…: not the name of a file ({error.strerror})", file=sys.stderr)
        elif error.errno == errno.EROFS:
            print(f"error: {where}: cannot write there ({error.strerror})", file=sys.stderr)
        elif error.errno in (errno.EACCES, errno.EPERM) and error.filename:
            print(f"error: {where}: not allowed to read or write it ({error.strerror})", file=sys.stderr)
        else:
            raise
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _parse(argv: list[str]) -> list[str]:
    app.define_help_flags()
    flags.FLAGS.set_gnu_getopt(True)  # arguments without a name may stand before flags
    try:
        return flags.FLAGS([argv[0], *map(_underscored, argv[1:])])
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        # ml_collections raises the plain ones: an unknown field, a value of the wrong type, an absent config file.
        raise UserError(f"{_what_is_wrong(error, argv)} (see --help)") from None


def _what_is_wrong(error: Exception, argv: list[str]) -> str:
    cause = error.args[0] if error.args else error
    if isinstance(cause, KeyError):
        cause = cause.args[0]
    text = " ".join(str(cause).split())
    if not isinstance(error, AttributeError | KeyError):
        return text
    given = [argument.partition("=")[0] for argument in argv]  # ml_collections says the last part of a name only
    wrong = [name for name in given if name.startswith("--config.") and {*name.split(".")[1:]} & {*text.split("'")}]
    return f"{', '.join(wrong) or 'the configuration'}: has no field {text}"


def _print_anything() -> None:
    """What a terminal cannot show (²,  – or half a file name, in any locale but UTF-8) becomes a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tests and notebooks put others there
            stream.reconfigure(errors="replace")


def _keep_freed_memory() -> None:
    """XLA asks for its buffers anew in every step. The C library hands large ones back to the system when they are
    freed, and up to a quarter of a step goes into getting them page by page; kept, they are there. Only the main
    arena keeps what is large, so XLA's threads must share it. For glibc alone.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _leave_cores_to_xla() -> None:
    """One thread for BLAS. XLA's CPU programs call it for factorisations (the bases' QR, in every step), while their
    own threads hold all cores: BLAS's others then wait for a core, and what takes half a millisecond took 28.
    """
    threadpool_limits(1, user_api="blas")


def _keep_compiled_programs() -> None:
    """What was compiled is found again by the next run on this machine, where there is a place to keep it.

    The place is JAX_COMPILATION_CACHE_DIR if that is set, else the user's cache folder; without one nothing is kept.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        # Programs are made for a processor, so machines that share a home keep theirs apart.
        folder = cache / "jax_talker" / f"compiled-{platform.node()}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # no home, or a read-only one
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", CACHED_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)


def _underscored(argument: str) -> str:
    """--landmark-model=x as --landmark_model=x: both spellings of every flag are understood."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value
