"""Bundle adjustment: unknowns of all frames, and every frame's own, fitted together to what may be wrong in part.

The face with all poses (``pose_face``) and the cameras around a head (``cameras``) are both solved by these steps.

``scipy.optimize.least_squares`` knows neither this loss nor that frames are independent given what they share: one
linearised step of five cameras and 120 frames (2210 unknowns; sparse, ``trf`` with ``lsmr``) took it 0.86 s, and takes
``normal_equations`` and ``solve`` 0.02 s.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

LETS_GO = 3.0  # σ; beyond this an error's pull falls instead of growing
MEDIAN_RAYLEIGH = 1.1774  # median length of a 2D error whose coordinates have standard deviation 1


def geman_mcclure(
    squared: Float64[np.ndarray, "*n"],
) -> tuple[Float64[np.ndarray, "*n"], Float64[np.ndarray, "*n"]]:
    """(weight of iteratively reweighted least squares, cost) of squared errors in units of σ².

    Geman and McClure (1987): the cost grows to LETS_GO² and no further, so what does not fit has no say.
    """
    let_go = 1 / (1 + squared / LETS_GO**2)
    return let_go**2, squared * let_go


class NormalEquations(NamedTuple):
    """Blocks of JᵀWJ and of JᵀWr: S shared unknowns, O of each of T frames."""

    shared: Float64[np.ndarray, "S S"]
    cross: Float64[np.ndarray, "T S O"]
    own: Float64[np.ndarray, "T O O"]
    shared_pull: Float64[np.ndarray, " S"]
    own_pull: Float64[np.ndarray, "T O"]


def normal_equations(
    by_shared: Float64[np.ndarray, "T R S"],
    by_own: Float64[np.ndarray, "T R O"],
    residual: Float64[np.ndarray, "T R"],
    weight: Float64[np.ndarray, "T R"],
) -> NormalEquations:
    """Those of R weighted residuals (seen − expected) in each frame, and the derivatives of what is expected."""
    weighted_shared, weighted_own = by_shared * weight[..., None], by_own * weight[..., None]
    return NormalEquations(
        np.einsum("tra,trb->ab", weighted_shared, by_shared, optimize=True),
        weighted_shared.swapaxes(1, 2) @ by_own,
        weighted_own.swapaxes(1, 2) @ by_own,
        np.einsum("tra,tr->a", weighted_shared, residual),
        np.einsum("tra,tr->ta", weighted_own, residual),
    )


def solve(
    equations: NormalEquations, *, damping: float = 0.0
) -> tuple[Float64[np.ndarray, " S"], Float64[np.ndarray, "T O"]]:
    """The step of shared and own unknowns; the own ones are eliminated (Schur's complement), so that time and memory
    are linear in the number of frames. ``damping`` is Levenberg and Marquardt's, relative to the diagonal."""
    shared, cross, own, shared_pull, own_pull = equations
    own = own + damping * own * np.eye(own.shape[1])
    shared = shared + damping * np.diag(np.diag(shared))
    followed = np.linalg.solve(own, np.concatenate([cross.swapaxes(1, 2), own_pull[..., None]], -1))
    by_shared, at_rest = followed[..., :-1], followed[..., -1]  # how the own unknowns follow the shared ones
    reduced = shared - np.tensordot(cross, by_shared, ((0, 2), (0, 1)))
    step = np.linalg.solve(reduced, shared_pull - np.einsum("tao,to->a", cross, at_rest))
    return step, at_rest - by_shared @ step
