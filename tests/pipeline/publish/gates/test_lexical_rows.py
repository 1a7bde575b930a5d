"""A lexical index of other rows than its partition's is never published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lookup.store.entries.lexical_record import LexicalRecord
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.sections import GatesConfig
from pipeline.publish.gates.base import Comparison
from pipeline.publish.gates.lexical_rows import Gate
from tests.support.command import run_titles, write_titles
from tests.support.stores import manifest_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Manifest]:
    """A snapshot of two partitions that is searched by words."""
    folder = tmp_path_factory.mktemp("lexical")
    catalog = write_titles(folder / "c.parquet", ["red dress", "oak chair"], kind=["a", "b"])
    assert run_titles(catalog, folder / "store", "catalog.partition=kind", "lexical={}").exit_code == 0
    return Store.open(str(folder / "store")), manifest_of(folder / "store")


def wrong(store: Store, manifest: Manifest) -> list[str]:
    """The partitions that the gate names."""
    return list(Gate().wrong(Comparison(store, manifest, None, None, GatesConfig())))


def test_one_of_its_rows_passes(made: tuple[Store, Manifest]) -> None:
    """As runs make them; and a snapshot that is not searched by words, without any."""
    store, manifest = made
    assert wrong(store, manifest) == []
    bare = tuple(one.model_copy(update={"lexical": None}) for one in manifest.partitions)
    assert wrong(store, manifest.model_copy(update={"partitions": bare, "lexical": None})) == []


@pytest.mark.parametrize(
    "broken",
    [
        lambda mine, other: other,
        lambda mine, other: None,
        lambda mine, other: mine.model_copy(update={"rows": 2}),
        lambda mine, other: mine.model_copy(update={"fields": ("brand",)}),
        lambda mine, other: mine.model_copy(update={"files": {}}),
        lambda mine, other: mine.model_copy(update={"analysis": "0" * 64}),
    ],
    ids=["of another partition", "none", "of more rows", "of another field", "without files", "of another stemmer"],
)
def test_any_other_is_named(
    made: tuple[Store, Manifest],
    broken: Callable[[LexicalRecord | None, LexicalRecord | None], LexicalRecord | None],
) -> None:
    """Of another partition, of other fields or rows, or none where the snapshot is searched by words."""
    store, manifest = made
    first, second = manifest.partitions
    bad = first.model_copy(update={"lexical": broken(first.lexical, second.lexical)})
    assert wrong(store, manifest.model_copy(update={"partitions": (bad, second)})) == [first.name]


def test_one_in_a_snapshot_that_is_not_searched_by_words_is_named(made: tuple[Store, Manifest]) -> None:
    """Nobody would know what its fields weigh."""
    store, manifest = made
    assert wrong(store, manifest.model_copy(update={"lexical": None})) == ["a", "b"]


def test_its_files_are_in_the_store(made: tuple[Store, Manifest]) -> None:
    """Under the name of the index, beside its record."""
    store, manifest = made
    for partition in manifest.partitions:
        assert partition.lexical is not None
        folder = Path(store.root) / "indexes" / partition.lexical.name
        assert {one.name for one in folder.iterdir()} == {
            "record.json", *(Path(file.path).name for file in partition.lexical.files.values())
        }  # fmt: skip
