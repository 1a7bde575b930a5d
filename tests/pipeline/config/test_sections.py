"""Settings go by section: below the commands nobody takes, or can reach, the whole config."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipeline.config.load import load_config
from pipeline.config.photo_urls import PhotoUrls
from pipeline.config.sections import CatalogConfig, RunSettings
from pipeline.publish.snapshot import READING

ROOT = Path(__file__).parents[3]
ABOVE = ("config", "commands", "run.py")  # of pipeline: where a config is made, and what is asked for by it
MOST = 14

# What may differ between a snapshot and a category that is run into it: where the catalog is, what is encoded again,
# what is refused, and columns that are compared by what came of them.
MAY_DIFFER = {
    *("path", "table", "version", "image_root", "attributes", "image_identity", "version_column"),
    *("max_photo_bytes", "max_photo_pixels", "max_photo_seconds", "max_row_bytes", "max_partitions"),
    *PhotoUrls.model_fields,
}


def config_annotations(tree: ast.AST) -> list[int]:
    """The lines of arguments, results and fields of the type Config."""
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node.returns)
        if isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
    names = (one for each in found if each is not None for one in ast.walk(each) if isinstance(one, ast.Name))
    return [one.lineno for one in names if one.id == "Config"]


def test_nobody_below_the_commands_takes_the_whole_config() -> None:
    """A function takes the sections that it reads, so that its signature says what decides its result."""
    taking = {}
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        tree = ast.parse(path.read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        taking[path.relative_to(ROOT / "pipeline")] = config_annotations(tree)
        if path.relative_to(ROOT / "pipeline").parts[0] not in ABOVE:
            assert not [one for one in imports if any(alias.name == "Config" for alias in one.names)], path
    below = [str(path) for path, lines in taking.items() if lines and path.parts[0] not in ABOVE]
    assert not below
    assert 1 <= sum(map(len, taking.values())) <= MOST
    assert config_annotations(ast.parse("def f(config: Config) -> Config | None: ...")) == [1, 1]


def test_sections_are_those_of_the_config() -> None:
    """Nothing is copied or parsed on the way: a section is the object that the config has."""
    config = load_config(None, ["catalog.path=a", "store.path=b"], {}).config
    settings = config.settings
    assert isinstance(settings, RunSettings)
    assert settings.embedding.catalog is config.catalog
    assert settings.embedding.encoders.text is config.encoders.text is not None
    assert (settings.embedding.fusion, settings.indexing.index) == (config.fusion, config.index)
    assert (settings.gates, settings.limits, settings.store) == (config.gates, config.run, "b")


@pytest.mark.parametrize("key", ["encoders.text", "fusion"])
def test_a_spec_is_written_as_its_fields(key: str) -> None:
    """Parsed once, a spec is dumped as a config wrote it, and read back to an equal one."""
    config = load_config(None, ["catalog.path=a", "store.path=b"], {}).config
    dumped = config.model_dump(mode="json")
    for part in key.split("."):
        dumped = dumped[part]
    assert dumped["type"] in ("hashed_text", "concat")
    assert config.model_validate(config.model_dump()) == config


def test_every_key_of_the_catalog_is_compared_or_may_differ() -> None:
    """A new key of how a catalog is read must not let one category be read otherwise than those beside it."""
    assert set(CatalogConfig.model_fields) == {*READING, *MAY_DIFFER}
    assert not MAY_DIFFER & {*READING}
