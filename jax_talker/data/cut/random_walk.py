"""Soft segmentation by a random walk with priors on a picture's grid (Grady, CVPR 2005).

Each pixel is pulled to 1 and to 0 with given strengths, and to its neighbours as strongly as their colours agree; the
solution of that linear system is the probability that a random walker ends at 1. It is soft where colours are, sharp
where they change, and has no parameters but the strengths.
"""

import numpy as np
from jaxtyping import Float32

WEAKEST = 2e-3  # neighbours that differ completely still talk a little, which keeps the system well conditioned
TOLERANCE = 1e-4  # of the residual's norm
MAX_STEPS = 80


def edge_weights(
    colour: Float32[np.ndarray, "H W C"], spread: float
) -> tuple[Float32[np.ndarray, "H W-1"], Float32[np.ndarray, "H-1 W"]]:
    """How strongly horizontal and vertical neighbours agree: exp(−|Δcolour|² / spread)."""
    across = np.exp(-((colour[:, 1:] - colour[:, :-1]) ** 2).sum(-1) / spread) + WEAKEST
    down = np.exp(-((colour[1:] - colour[:-1]) ** 2).sum(-1) / spread) + WEAKEST
    return across.astype(np.float32), down.astype(np.float32)


def random_walk(
    across: Float32[np.ndarray, "H W_less_one"],
    down: Float32[np.ndarray, "H_less_one W"],
    to_one: Float32[np.ndarray, "H W"],
    to_zero: Float32[np.ndarray, "H W"],
) -> Float32[np.ndarray, "H W"]:
    """Minimise Σ w (xᵢ − xⱼ)² + Σ to_one (x − 1)² + Σ to_zero x² by conjugate gradients (Jacobi preconditioner)."""
    pull = to_one + to_zero
    diagonal = pull.copy()
    for part, weight in (
        (diagonal[:, :-1], across),
        (diagonal[:, 1:], across),
        (diagonal[:-1], down),
        (diagonal[1:], down),
    ):
        part += weight

    def apply(x):
        y = pull * x
        flow = across * (x[:, 1:] - x[:, :-1])
        y[:, :-1] -= flow
        y[:, 1:] += flow
        flow = down * (x[1:] - x[:-1])
        y[:-1] -= flow
        y[1:] += flow
        return y

    x = to_one / np.maximum(pull, 1e-12)
    residual = to_one - apply(x)
    direction = conditioned = residual / diagonal
    energy = float((residual * conditioned).sum())
    enough = TOLERANCE**2 * float((to_one * to_one / diagonal).sum())
    for _ in range(MAX_STEPS):
        if energy <= enough:
            break
        applied = apply(direction)
        step = energy / float((direction * applied).sum())
        x = x + np.float32(step) * direction
        residual = residual - np.float32(step) * applied
        conditioned = residual / diagonal
        energy, before = float((residual * conditioned).sum()), energy
        direction = conditioned + np.float32(energy / before) * direction
    return np.clip(x, 0, 1)
