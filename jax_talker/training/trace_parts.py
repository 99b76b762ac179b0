"""Where a step's time goes, read off a profiler's trace: that of each part that the step names (jax.named_scope)."""

import re
from collections.abc import Iterable
from pathlib import Path

from jax.profiler import ProfileData

PARTS = ("prior", "deformation", "raster", "loss", "optimiser")
OTHER = "the rest"
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = ")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_NAMED = re.compile(r'op_name="([^"]*)"')
_CALLED = re.compile(r"calls=%?([\w.\-]+)")


def part_of(op_name: str) -> str:
    """The innermost of PARTS in an operation's name, forwards or backwards: "jit(step)/transpose(jvp(raster))/mul"."""
    found = [word for word in re.findall(r"\w+", op_name) if word in PARTS]
    return found[-1] if found else OTHER


def parts_of_program(hlo: str) -> dict[str, str]:
    """Instruction → part, of a compiled program's text. A fusion without a name has that of what it fuses."""
    names: dict[str, str] = {}
    inside: dict[str, str] = {}  # computation → the first name in it
    calls: dict[str, str] = {}
    computation = ""
    for line in hlo.splitlines():
        if begun := _COMPUTATION.match(line):
            computation = begun[1]
        elif instruction := _INSTRUCTION.match(line):
            if named := _NAMED.search(line):
                names[instruction[1]] = named[1]
                if part_of(named[1]) != OTHER:
                    inside.setdefault(computation, named[1])
            elif called := _CALLED.search(line):
                calls[instruction[1]] = called[1]
    names |= {name: inside[called] for name, called in calls.items() if called in inside}
    return {name: part_of(op_name) for name, op_name in names.items()}


def seconds_of_parts(folder: Path, module: str, parts: dict[str, str]) -> dict[str, float]:
    """Part → seconds spent in it, summed over what ran at the same time, of the traced runs of the program ``module``.

    What an operation calls (a loop's body) counts for its own part and not twice.
    """
    found: dict[str, float] = dict.fromkeys((*PARTS, OTHER), 0.0)
    for path in sorted(folder.rglob("*.xplane.pb")):
        for plane in ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                events = []
                for event in line.events:
                    told = dict(event.stats)
                    if told.get("hlo_module") == module:
                        events.append((event.start_ns, event.duration_ns, parts.get(str(told.get("hlo_op")), OTHER)))
                for part, seconds in own_times(events):
                    found[part] += seconds
    return found


def own_times(events: Iterable[tuple[float, float, str]]) -> Iterable[tuple[str, float]]:
    """(part, its own seconds) of one thread's events (start ns, duration ns, part), without those inside them."""
    open_ones: list[list] = []  # end, own ns, part
    for start, duration, part in sorted(events, key=lambda event: (event[0], -event[1])):
        while open_ones and open_ones[-1][0] <= start:
            _, own, name = open_ones.pop()
            yield name, own / 1e9
        if open_ones:
            open_ones[-1][1] -= duration
        open_ones.append([start + duration, duration, part])
    for _, own, name in open_ones:
        yield name, own / 1e9
