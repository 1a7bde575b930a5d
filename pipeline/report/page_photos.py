"""Photos on the page of a run: of rejected rows and of hits, as small thumbnails, of which a page holds so many bytes
and no more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from encoders.photos.decode import PhotoLimits
from foundation.errors import VitrineError
from foundation.regular_files import read_regular
from lookup.page import NoPhoto, thumbnail
from lookup.store.manifest import Manifest
from lookup.store.shard_record import OTHERS
from lookup.store.store import Store
from pipeline.report.run_report import Loss

_log = logging.getLogger(__name__)
_PIXELS = 84  # of the longer side: some 2 kB each
_MOST = 400  # photos that are decoded for a page
_MOST_BYTES = 4_000_000  # of all of them; a page stays under 6 MB
_MOST_ROWS = 100  # of the catalog that are read, a row group decoded up to each
_MOST_KINDS = 12  # of losses that are shown with examples
_EXAMPLES = 4  # of each
_MOST_SHARDS = 60  # whose rejects are looked at
_LONGEST = 90  # characters of a title
_FULL = NoPhoto("the page has room for no more")

Source = tuple[str, int, int]  # of a row, see lookup.hit.Hit


class Products(Protocol):
    """The catalog of a snapshot, as pages show something of it: see catalog/shown_photos.py."""

    def of_path(self, path: str) -> bytes | NoPhoto:
        """The photo that the catalog calls `path`."""

    def rows(self, wanted: Mapping[Source, str | None]) -> Mapping[Source, tuple[str, bytes | NoPhoto | None]]:
        """(title, first photo) of some rows, which have these ids where they are known."""


@dataclass(frozen=True)
class Example:
    """A row that was rejected: its id and title, and its photo as a data URI."""

    id: str
    title: str
    photo: str | NoPhoto | None


@dataclass
class Thumbnails:
    """Makes data URIs of photos while the page has room."""

    products: Products
    limits: PhotoLimits
    count: int = 0
    rows: int = 0  # that were looked up in the catalog
    size: int = 0
    known: dict[str | Source, tuple[str, str | NoPhoto | None]] = field(default_factory=dict)

    def of_hit(self, hit: Mapping[str, Any]) -> str | NoPhoto | None:
        """Of the first photo of a hit of golden.json."""
        path, source = hit["photo"], hit.get("source")
        if path is not None:
            return self._shown(path, lambda: ("", self.products.of_path(path)))[1]
        return None if source is None else self.of_row((source[0], source[1], source[2]), hit["id"])[1]

    def of_row(self, source: Source, name: str | None) -> tuple[str, str | NoPhoto | None]:
        """(title, first photo) of a row of the catalog, which had this id."""
        if source not in self.known:
            if self.rows >= _MOST_ROWS:
                return "", _FULL
            self.rows += 1
        return self._shown(source, lambda: self.products.rows({source: name})[source])

    def of_file(self, path: str | None) -> str | NoPhoto | None:
        """Of a photo that the user named, wherever it lies."""
        if path is None:
            return None
        try:
            raw = read_regular(Path(path), self.limits.max_bytes)
        except (OSError, ValueError) as err:
            return NoPhoto(str(err))
        return self._shown(path, lambda: ("", raw))[1]

    def _shown(
        self, key: str | Source, read: Callable[[], tuple[str, bytes | NoPhoto | None]]
    ) -> tuple[str, str | NoPhoto | None]:
        if key not in self.known:
            if self.count >= _MOST or self.size >= _MOST_BYTES:
                return "", _FULL
            self.count += 1
            title, photo = read()
            self.known[key] = title, thumbnail(photo, str(key), self.limits, _PIXELS)
        title, made = self.known[key]
        self.size += len(made) if isinstance(made, str) else 0
        return title, made if self.size <= _MOST_BYTES else _FULL


def reject_examples(
    store: Store, manifest: Manifest, kinds: Sequence[Loss], photos: Thumbnails
) -> dict[tuple[str, str], list[Example]]:
    """(reason, detail) -> some rows of the snapshot's that were rejected for it, of the most frequent of `kinds`."""
    wanted = [(one.reason, one.detail) for one in kinds if one.outcome == "rejected" and one.detail != OTHERS]
    found: dict[tuple[str, str], list[Example]] = {kind: [] for kind in wanted[:_MOST_KINDS]}
    for source, row in _rejects(store, manifest):
        if all(len(examples) == _EXAMPLES for examples in found.values()):
            break
        kind = row["reason"], (row["detail"] or "").partition(": ")[0]
        if kind in found and len(found[kind]) < _EXAMPLES:
            found[kind].append(_example(source, row, photos))
    return {kind: examples for kind, examples in found.items() if examples}


def _rejects(store: Store, manifest: Manifest) -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
    """((catalog file, first row group), a rejected row) of the first shards that have some."""
    shards = [shard for shard in manifest.shards.entries if shard.rejects is not None]
    for shard in shards[:_MOST_SHARDS]:
        assert shard.rejects is not None
        try:
            with store.reading(shard.rejects) as opened:
                rows = pq.read_table(opened, page_checksum_verification=True).to_pylist()
        except (OSError, ValueError, pa.ArrowException, VitrineError) as err:
            _log.info("no examples of the rejects in %s: %s", shard.rejects.path, err)
            continue
        for row in rows:
            yield (shard.source, shard.row_groups[0]), row


def _example(source: tuple[str, int], row: dict[str, Any], photos: Thumbnails) -> Example:
    title, photo = photos.of_row((*source, row["row"]), row["id"])
    return Example(str(row["id"] or "no id")[:_LONGEST], title[:_LONGEST], photo)
