"""Partitions of which some have groups of near-duplicates that others have not are never published."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lookup.store.entries.duplicates_record import ANY, DuplicatesRecord
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.sections import GatesConfig
from pipeline.publish.gates.base import Comparison
from pipeline.publish.gates.duplicates_kinds import Gate
from tests.support.command import run_titles, write_titles
from tests.support.stores import manifest_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Manifest]:
    """A snapshot of two partitions with groups of near vectors."""
    folder = tmp_path_factory.mktemp("duplicates")
    catalog = write_titles(folder / "c.parquet", ["red dress", "oak chair"], kind=["a", "b"])
    words = ("catalog.partition=kind", "duplicates={photo: false, near: 0.99}")
    assert run_titles(catalog, folder / "store", *words).exit_code == 0
    return Store.open(str(folder / "store")), manifest_of(folder / "store")


def wrong(store: Store, manifest: Manifest) -> list[str]:
    """The partitions that the gate names."""
    return list(Gate().wrong(Comparison(store, manifest, None, None, GatesConfig())))


def test_groups_as_the_config_says_pass(made: tuple[Store, Manifest]) -> None:
    """As runs make them; and a snapshot of which nothing was looked for, without any."""
    store, manifest = made
    assert wrong(store, manifest) == []
    bare = tuple(one.model_copy(update={"duplicates": None}) for one in manifest.partitions)
    config = {**manifest.config, "duplicates": None}
    assert wrong(store, manifest.model_copy(update={"partitions": bare, "config": config})) == []
    assert wrong(store, manifest.model_copy(update={"config": config})) == ["a", "b"]


@pytest.mark.parametrize(
    "broken",
    [
        lambda mine: None,
        lambda mine: mine.model_copy(update={"kinds": {ANY: mine.kinds[ANY]}}),
        lambda mine: mine.model_copy(update={"kinds": {**mine.kinds, "photo": mine.kinds[ANY]}}),
        lambda mine: mine.model_copy(update={"files": {}}),
        lambda mine: mine.model_copy(update={"rows": 2}),
    ],
    ids=["none", "fewer kinds", "more kinds", "without files", "of more rows"],
)
def test_any_other_is_named(
    made: tuple[Store, Manifest], broken: Callable[[DuplicatesRecord | None], DuplicatesRecord | None]
) -> None:
    """Of other kinds than the config has, of other rows, or none beside a partition that has some."""
    store, manifest = made
    first, second = manifest.partitions
    odd = second.model_copy(update={"duplicates": broken(second.duplicates)})
    assert wrong(store, manifest.model_copy(update={"partitions": (first, odd)})) == ["b"]
