"""Rates, sizes and weights of one actor of MEAD, for configs/mead.py on a GPU.

    python -m jax_talker.sweep --config configs/mead.py --space configs/sweeps/mead.py --out runs/sweep_m003 \\
        --trials 32 --gpus_per_trial 1

For several actors at once: --clips data/m003,data/w009 (each setting for each of them, and their means).
Not run by us on MEAD: neither it nor GGHead's weights can be had on our machines.
"""


def get_space() -> dict:
    return {
        "train.rate": {"log_uniform": (3e-4, 3e-3)},
        "personalize.tune_rate": {"log_uniform": (1e-4, 1e-3)},
        "personalize.detail": {"log_uniform": (1e-3, 3e-2)},
        "model.expressions": {"choice": (20, 30, 40)},
        "model.lips": {"integer": (20, 40)},
        "train.lower": {"uniform": (1.0, 5.0)},
    }
