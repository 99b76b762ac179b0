"""Fixed networks for losses and metrics. Weights are the user's; a missing one is said, never replaced."""
