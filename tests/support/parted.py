"""A partition that is built as parts: its catalog, its settings, and what must come of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from index_builders.fill.threads import threads
from index_builders.rows import vectors_file
from index_builders.settings import IndexSettings
from lookup.store.entries.index_record import IndexRecord
from lookup.store.store import Store
from pipeline.build import transforms
from pipeline.build.part_files import Part, PartFile
from tests.support.command import write_titles
from tests.support.nights import titles
from tests.support.stores import manifest_of

ROWS, BLOCK = 2500, 350
SMALL = ("index.exact_below=512", "index.held_out_queries=60", "gates.min_recall=0", "shards.unit_rows=900")
RABITQ, SQ8 = "index.large={type: ivf_rabitq}", "index.large={type: ivf_sq8}"
PARTS = ("run.part_rows=700",)
TIMES = {"p50_ms", "p99_ms", "build_seconds", "curve"}


@contextmanager
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of 350 rows, so that parts of 700 are whole blocks: real ones take longer. And FAISS on one thread."""
    monkeypatch.setattr(vectors_file, "ROWS", BLOCK)
    with threads(1):
        yield


def write_catalog(folder: Path) -> Path:
    """2,500 titles, which become segments of 1,000, 1,000 and 500 rows: parts begin and end inside of them."""
    return write_titles(folder / "catalog.parquet", titles(ROWS))


def index_of(store: Path) -> IndexRecord:
    """The index of the only partition."""
    return manifest_of(store).partitions[0].index


def proved(store: Path) -> dict[str, Any]:
    """All that the record says, but what a clock said: file digests, settings, figures, and what was considered."""
    return index_of(store).model_dump(mode="json", exclude=TIMES)


def watched_parts(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """The rows of each part that gets filled, growing while the test runs."""
    seen, real = list[range](), transforms.filled_part

    def watched(store: Store, part: Part, settings: IndexSettings) -> PartFile:
        seen.append(range(part.first, part.end))
        return real(store, part, settings)

    monkeypatch.setattr(transforms, "filled_part", watched)
    return seen


def check_ended_well(done: Result, store: Path) -> None:
    """Exit 0, and no part is left."""
    assert done.exit_code == 0, done.stderr
    assert not (store / "parts").exists()
    assert list((store / "tmp").iterdir()) == []
