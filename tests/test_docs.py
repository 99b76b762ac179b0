"""What documentation and messages point to is there: pages, their sections, pictures, programs."""

import re
from pathlib import Path

import pytest

from jax_talker.__main__ import PROGRAMS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [
    path
    for room in ("jax_talker", "kernels", "converters", "configs", "benchmarks", "tests")
    for path in (ROOT / room).rglob("*.py")
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)|src=\"([^\"]+)\"")
NAMED = re.compile(r"\bdocs/[\w/-]+\.(?:md|ipynb)\b")


def anchors(page):
    """What a section is linked to by, as GitHub makes it of its heading."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for name, section, picture in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / (name or picture)).resolve() if name or picture else page
        assert target.exists(), f"{page.name}: {target}"
        assert not section or section in anchors(target), f"{page.name}: {target.name} has no section {section!r}"


def test_pages_that_are_named_exist():
    named = {(path, name) for path in [*PAGES, *SOURCES] for name in NAMED.findall(path.read_text(encoding="utf-8"))}
    assert {f"{path.relative_to(ROOT)}: {name}" for path, name in named if not (ROOT / name).is_file()} == set()


def test_every_program_is_in_the_readme():
    listed = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert {*PROGRAMS} - listed <= {"demo", "convert"}  # `make demo`, and `python -m converters`
