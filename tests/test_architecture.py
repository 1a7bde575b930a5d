"""The list of rooms in docs/explanation/architecture.md is that of the folders, in their own words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
PACKAGES = ("foundation", "encoders", "lookup", "index_builders", "pipeline")
ROOMS = re.compile(r"(?<=<!-- rooms -->\n).*?(?=<!-- /rooms -->)", re.DOTALL)


def rooms() -> Iterator[str]:
    """A line for each package, and for each folder in it that holds modules."""
    yield "| room | what for |"
    yield "|---|---|"
    for package in PACKAGES:
        for init in sorted((ROOT / package).rglob("__init__.py"), key=lambda path: path.parts):
            words = " ".join((ast.get_docstring(ast.parse(init.read_text())) or "").split("\n\n")[0].split())
            assert words, init
            yield f"| `{init.parent.relative_to(ROOT)}/` | {words} |"


def test_every_room_is_on_the_page() -> None:
    """A folder that is new, gone or renamed, or says something else of itself, is told on the page too."""
    found = ROOMS.search(PAGE.read_text())
    assert found is not None
    assert found.group().splitlines() == list(rooms())


if __name__ == "__main__":
    PAGE.write_text(ROOMS.sub("\n".join(rooms()) + "\n", PAGE.read_text()))
