"""A small shop of three kinds of products, and what its runs leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import lookup
from lookup.store.manifest import Manifest
from pipeline.config.load import Config
from tests.support.command import ANY_NIGHT
from tests.support.stores import manifest_of

KINDS = ["fruit", "shoes", "toys"]
LOOSE = ["gates.max_reject_share=1", "gates.max_degraded_share=1", *ANY_NIGHT]
Rows = list[dict[str, Any]]


def write(folder: Path, rows: Rows) -> None:
    """The catalog, in row groups of ten."""
    schema = pa.schema([(name, pa.string()) for name in ("id", "title", "kind", "photo")])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "catalog.parquet", row_group_size=10)


def texts_only(config: Callable[..., Config], *more: str) -> Config:
    """The same without photos."""
    return config("catalog.image=null", "encoders.image=null", *more)


def accounted(manifest: Manifest, rows: int) -> bool:
    """Whether live rows and live rejects make up `rows`, in the shards and in the partitions."""
    live = manifest.shards.segments.rows_of().total()
    return live == manifest.rows and live + sum(manifest.rejects().values()) == rows


def answers(store: Path, category: str | None = None) -> list[list[tuple[str, float, str]]]:
    """Ids, scores and partitions of the hits of some texts."""
    reader = lookup.open(str(store))
    asked = ["fruit number 3", "shoes", "toys number 17"]
    return [[(h.id, h.score, h.partition) for h in reader.search(text, category=category, k=12)] for text in asked]


def entries(store: Path) -> dict[str, Any]:
    """The partition entries of the published manifest, by name, but for the run that read them last."""
    each = manifest_of(store).partitions
    return {partition.name: partition.model_copy(update={"provenance": None}) for partition in each}
