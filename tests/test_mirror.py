"""Tests lie as the tree lies, so that whoever changes a module finds its tests by its path."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.places import ROOT

OWN = {"contract", "runs", "support"}  # folders of tests that no folder of the tree has
TESTS = ROOT / "tests"
FILES = sorted(path for path in TESTS.rglob("*.py") if "__pycache__" not in path.parts)


def test_each_folder_of_tests_is_one_of_the_tree() -> None:
    """Where a folder moves, its tests move with it."""
    folders = {path.parent.relative_to(TESTS) for path in FILES}
    assert len(folders) > 20
    missing = {str(one) for one in folders if one.parts and one.parts[0] not in OWN and not (ROOT / one).is_dir()}
    assert not missing


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_file_imports_another(path: Path) -> None:
    """What several share is in tests/support, where it is looked for."""
    modules = [node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert not [one for one in modules if one.startswith("tests.") and one.rsplit(".", 1)[-1].startswith("test_")]
