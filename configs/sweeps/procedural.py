"""What 2 cores can sweep: three rates of a made-up person's head (docs/sweeps.md has the commands and a report)."""


def get_space() -> dict:
    return {
        "personalize.detail_rate": {"log_uniform": (2e-3, 3e-2)},
        "personalize.deformation_rate": {"log_uniform": (3e-4, 1e-2)},
        "train.rate": {"log_uniform": (2e-4, 5e-3)},
    }
