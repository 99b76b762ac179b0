"""Long sounds in parts that overlap, so that a network's memory does not grow with them."""

from collections.abc import Iterator


def segments(steps: int, size: int, margin: int) -> Iterator[tuple[int, slice]]:
    """(first step, steps to keep) of segments of ``size`` steps; together they keep every step once, none nearer than
    ``margin`` to the border of its segment, but at the sound's own ends."""
    start = kept = 0
    while kept < steps:
        last = start + size >= steps
        end = steps if last else start + size - margin
        yield start, slice(kept, end)
        start, kept = start + size - 2 * margin, end
