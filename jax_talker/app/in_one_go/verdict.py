"""What the doctor found in a video, in words for the person who filmed it."""

from collections.abc import Iterable
from pathlib import Path

from jax_talker.data.clip.findings import Finding, Severity, time_code

MOST = 4  # findings that are told; the report has all


def verdict(findings: Iterable[Finding], report: Path) -> list[str]:
    """A sentence, and a line for each of the worst things."""
    found = list(findings)
    errors, warnings = ([f for f in found if f.severity == s] for s in (Severity.ERROR, Severity.WARNING))
    notes = len(found) - len(errors) - len(warnings)
    if errors:
        lines = ["This video will not make a good head:"]
    elif warnings:
        lines = ["The video can be used; this will show in the head:"]
    else:
        lines = ["The video is fine."]
    worst = [*errors, *warnings]
    lines += [f"  – {_told(finding)}" for finding in worst[:MOST]]
    more = [f"{len(worst) - MOST} more like these"] if len(worst) > MOST else []
    more += [f"{notes} remark{'s' if notes > 1 else ''}"] if notes else []
    return [*lines, f"  {' and '.join([*more, 'pictures'])} in {report}"]


def hopeless(findings: Iterable[Finding]) -> bool:
    """Whether training on it would waste time."""
    return any(finding.severity == Severity.ERROR for finding in findings)


def _told(finding: Finding) -> str:
    message = finding.message[:1].upper() + finding.message[1:]
    at = "" if finding.begin == 0 else f" (at {time_code(finding.begin)})"
    return f"{message}{at}. {finding.advice[:1].upper()}{finding.advice[1:]}".rstrip(" .") + "."
