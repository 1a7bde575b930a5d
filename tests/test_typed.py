"""Who imports Vitrine has its types: every package says that it is typed, and a consumer is checked strictly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("foundation", "encoders", "lookup", "index_builders", "pipeline")
CONSUMER = """
import lookup
from foundation.errors import InputError
from lookup.hit import Hit

def best(store: str, text: str) -> list[str]:
    try:
        hits: list[Hit] = lookup.open(store).search(text=text, k=3, where=["price < 20"])
    except InputError as err:
        return [err.fix]
    return [hit.id for hit in hits]

wrong: int = best("store", "red dress")
"""


def test_every_package_says_that_it_is_typed() -> None:
    """Without the mark, type checkers take all of it for Any."""
    assert {path.name for path in ROOT.iterdir() if (path / "py.typed").is_file()} == set(PACKAGES)


@pytest.mark.nightly
def test_a_consumer_is_checked(tmp_path: Path) -> None:
    """Outside of the checkout, `mypy --strict` follows the imports and finds the one mistake."""
    (tmp_path / "consumer.py").write_text(CONSUMER)
    words = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "consumer.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    assert len(errors) == 1, done.stdout + done.stderr
    assert 'variable has type "int"' in errors[0]
