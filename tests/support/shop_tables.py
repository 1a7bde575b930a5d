"""Tables of products in several systems' formats, and what a store has of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lookup
from pipeline.config.load import load_config
from pipeline.plan.units import make_plan
from tests.support.command import TITLES_ONLY, words_of_titles


def found_in(store: Path, text: str = "red", where: str | tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Id -> attributes of every hit."""
    return {hit.id: dict(hit.attributes) for hit in lookup.open(str(store)).search(text, k=100, where=where)}


def rows_read(catalog: Path | str, *more: str) -> list[dict[str, Any]]:
    """The rows that a run would read: ids with their attributes and partition, in no order that matters."""
    from pipeline.plan.unit_rows import duplicates_of, rows_of

    words = words_of_titles(catalog, Path("unused"), *more)[3:]
    assert set(TITLES_ONLY) <= set(words)
    config = load_config("configs/weightless.yaml", words, {}).config
    plan = make_plan(config.settings.embedding, config.gates)
    embedding = plan.reading(config.settings.embedding)
    rows: list[dict[str, Any]] = []
    for unit in plan.units:
        table = rows_of(unit, embedding.catalog, embedding.shards, duplicates_of(unit))
        assert table.num_rows == unit.rows
        rows += [
            {"id": one["id"], "partition": one["partition"], "reject": one["reject"], **one["attributes"]}
            for one in table.to_pylist()
        ]
    return sorted(rows, key=lambda one: str(one["id"]))
