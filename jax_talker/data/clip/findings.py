"""What is found wrong or notable in a video: one form for all that look at it, one line for the person who reads it."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How much a finding matters for training on the clip."""

    NOTE = "note"  # good to know
    WARNING = "warning"  # look at it before training
    ERROR = "error"  # training on it would waste time


@dataclass(frozen=True)
class Finding:
    """One thing at one place of a video. Times are seconds of the source video, from its first picture."""

    kind: str  # short and stable, for programs: "two_faces", "cut", "blur", …
    severity: Severity
    begin: float
    end: float
    message: str  # what was seen
    advice: str = ""  # what to do about it

    def line(self) -> str:
        """For a terminal: ``warning 0:12.40–0:13.08 two_faces: …; advice``."""
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.severity} {time_code(self.begin)}–{time_code(self.end)} {self.kind}: {self.message}{advice}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Finding":
        return cls(**{**stored, "severity": Severity(stored["severity"])})


def time_code(seconds: float) -> str:
    """Minutes and seconds to a hundredth, with hours when there are any: 0:12.40, 1:02:03.00."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{clock}:{rest // 100:02d}.{rest % 100:02d}"
