"""Machine code for the procedural head's loops."""

from collections.abc import Callable
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """numba.njit, its code kept on disk where there is a place for it.

    Where neither the package, nor the user's cache, nor NUMBA_CACHE_DIR can be written (a container), Numba refuses
    ``cache=True``; the code is then compiled anew by each process, which takes seconds.
    """

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache function" not in str(error):
                raise
            return numba.njit(**options)(function)

    return compiled
