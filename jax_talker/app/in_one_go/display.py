"""One bar for the whole of the work, whatever part of it is being done, with the time that is left of all of it."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jax_talker.app.in_one_go.times import Part, Times, in_words
from jax_talker.training.log import Bar, Log

Watch = Callable[[float, str], None]  # told the share that is done, in [0, 1], and what is being done

LOOK, LOOK_IN_A_FILE = 0.2, 10.0  # s between two drawings, in a terminal and where each stays
SURE = 5  # units from which on a part's own pace says more than what was expected
TRUSTED = 20.0  # s of finished parts from which on they correct what is expected of the others


class Display:
    """Parts come in their order; those that turn out to be done already are passed over."""

    def __init__(self, parts: Sequence[Part], times: Times, watch: Watch | None = None):
        self._parts = {part.name: part for part in parts if part.units > 0}
        self._expected, self.measured_here = times.expected(parts)
        self._times, self._order = times, list(self._parts)
        self._begun = self._part_begun = self._drawn = self._watched = time.monotonic()
        self._watch = watch
        self._now, self._done, self._total, self._first = "", 0, 0, 0.0
        self._began_at, self._spent, self._foreseen = 0, 0.0, 0.0
        self._note = ""
        self._look = LOOK if sys.stderr.isatty() else LOOK_IN_A_FILE

    @property
    def expected(self) -> float:
        """Seconds that all of it will take."""
        return sum(self._expected.values())

    def expected_of(self, names: Iterable[str]) -> float:
        return sum(self._expected.get(name, 0.0) for name in names)

    def __enter__(self) -> "Display":
        self._bar = tqdm(
            total=max(self.expected, 1.0),
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}",
            dynamic_ncols=True,
        )
        self._draw(at_once=True)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._bar.total = self._bar.n = max(self._bar.n, 1e-3)
            self._bar.set_description_str("done", refresh=False)
            self._bar.set_postfix_str("", refresh=False)
            self._bar.refresh()
        self._bar.close()

    def things(self, things: Iterable[Any], label: str, total: int | None, done: int) -> Iterator[Any]:
        """``things`` as they are, counted: preparation.Bars."""
        self.begin(label, total or 0, done)
        for thing in things:
            yield thing
            self.update()
        self.end()

    def begin(self, name: str, total: int, done: int) -> None:
        """A part begins at unit ``done``. What was computed since the last one ended is its own preparation."""
        if self._now:  # somebody stopped looking at its things before they ended
            self.end()
        self._now, self._total, self._done, self._began_at, self._note = name, total, done, done, ""
        if name in self._order:  # those before it need no more time
            del self._order[: self._order.index(name) + 1]
        self._draw(at_once=True)

    def update(self, note: str = "") -> None:
        """One unit more is done."""
        self._done += 1
        self._note = note or self._note
        if self._done == self._began_at + 1:
            self._first = time.monotonic() - self._part_begun
        self._draw()

    def end(self) -> None:
        """The part is done, as far as it goes."""
        took, units = time.monotonic() - self._part_begun, self._done - self._began_at
        if self._now in self._parts:
            part = self._parts[self._now]
            if self._began_at == 0 and units:  # a part that was gone on with says nothing about a whole one
                self._times.measured(part, self._first, took - self._first, units)
            self._spent += took
            self._foreseen += self._expected[self._now] * min(1.0, units / part.units)
        self._part_begun = time.monotonic()
        self._now = ""

    def left(self) -> float:
        """Seconds that the rest will take."""
        correction = self._spent / self._foreseen if self._foreseen > TRUSTED else 1.0
        coming = sum(self._expected[name] for name in self._order) * correction
        if not self._now:
            return coming
        units, since = self._done - self._began_at, time.monotonic() - self._part_begun
        if units >= SURE and self._total:
            return coming + (since - self._first) / (units - 1) * max(0, self._total - self._done)
        return coming + max(0.0, self._expected.get(self._now, 0.0) * correction - since)

    def _draw(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._watch is not None and (at_once or now - self._watched >= LOOK):
            self._watched, left = now, self.left()
            share = (now - self._begun) / max(now - self._begun + left, 1e-3)
            self._watch(min(share, 1.0), f"{self._now or 'getting ready'}, about {in_words(left)} left")
        if not at_once and now - self._drawn < self._look:
            return
        self._drawn, left = now, self.left()
        elapsed = now - self._begun
        self._bar.total, self._bar.n = max(elapsed + left, 1e-3), elapsed
        count = f" {self._done}/{self._total}" if self._total else ""
        self._bar.set_description_str(f"{self._now or 'getting ready'}{count}", refresh=False)
        note = f", {self._note}" if self._note else ""
        self._bar.set_postfix_str(f"about {in_words(left)} left{note}", refresh=False)
        self._bar.refresh()


class _StageBar:
    """A stage's bar that only counts on the display."""

    def __init__(self, display: Display):
        self._display, self._note = display, ""

    def __enter__(self) -> "_StageBar":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._display.end()

    def set_postfix(self, ordered_dict: Mapping[str, object]) -> None:
        self._note = ", ".join(f"{name} {value}" for name, value in ordered_dict.items() if name == "psnr")

    def update(self) -> None:
        self._display.update(self._note)


class QuietLog(Log):
    """A run's log whose lines go to a file in its folder, and whose bars are parts of one display."""

    def __init__(self, workdir: Path, display: Display):
        super().__init__(workdir)
        self._display, self.path = display, workdir / "talk.log"

    def say(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def bar(self, stage: str, first: int, steps: int, unit: str = "step") -> Bar:
        self._display.begin(stage, steps, first)
        return _StageBar(self._display)
