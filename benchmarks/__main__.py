"""``python -m benchmarks KIND …``, KIND one of ``KINDS``: see the modules of these names."""

import importlib
import sys

KINDS = ("splats", "priors", "convolutions", "features", "hearing", "lips", "scaling", "strangers")


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in KINDS:
        print(f"usage: python -m benchmarks {{{','.join(KINDS)}}} [--help]", file=sys.stderr)
        return 2
    return importlib.import_module(f"benchmarks.{argv[0]}").main(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
