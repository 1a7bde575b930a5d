"""Photos on the page of a run: of rejected rows and of hits, as small thumbnails, of which a page holds so many bytes
and no more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from encoders.photos.decode import PhotoLimits
from foundation.errors import VitrineError
from foundation.regular_files import read_regular
from lookup.page import catalog_row, first_bytes, photo_in_folder, thumbnail
from lookup.store.manifest import Manifest
from lookup.store.shard_record import OTHERS
from lookup.store.store import Store
from pipeline.report.run_report import Loss

_log = logging.getLogger(__name__)
_PIXELS = 84  # of the longer side: some 2 kB each
_MOST = 400  # photos that are decoded for a page
_MOST_BYTES = 4_000_000  # of all of them; a page stays under 6 MB
_MOST_KINDS = 12  # of losses that are shown with examples
_EXAMPLES = 4  # of each
_MOST_SHARDS = 60  # whose rejects are looked at
_LONGEST = 90  # characters of a title


@dataclass(frozen=True)
class Places:
    """Where the catalog's photos are, and what it calls titles and photos; all None: not known."""

    image_root: str | None = None
    title: str | None = None
    image: str | None = None


@dataclass(frozen=True)
class Example:
    """A row that was rejected: id and title as the catalog has them, and its photo as a data URI."""

    id: str
    title: str
    photo: str | None


@dataclass
class Thumbnails:
    """Makes data URIs of photos while the page has room: None where there is none, or no room."""

    places: Places
    limits: PhotoLimits
    count: int = 0
    size: int = 0
    known: dict[str, str | None] = field(default_factory=dict)

    def of_path(self, path: str | None) -> str | None:
        """Of the photo that the catalog calls `path`."""
        root = self.places.image_root
        if path is None or root is None:
            return None
        if path not in self.known:
            self.known[path] = self._made(photo_in_folder(Path(root), path, self.limits), path)
        elif (again := self.known[path]) is not None:
            self.size += len(again)
        return self.known[path] if self.size <= _MOST_BYTES else None

    def of_file(self, path: str | None) -> str | None:
        """Of a photo that the user named, wherever it lies."""
        if path is None:
            return None
        try:
            return self._made(read_regular(Path(path), self.limits.max_bytes), path)
        except (OSError, ValueError):
            return None

    def of_cell(self, value: Any) -> str | None:
        """Of the first photo in a cell of the catalog."""
        raw = first_bytes(value)
        if raw is not None:
            return self._made(raw, "a row")
        first = value[0] if isinstance(value, list) and value else value
        path = first.get("path") if isinstance(first, dict) else first
        return self.of_path(path) if isinstance(path, str) else None

    def _made(self, raw: bytes | None, of: str) -> str | None:
        if raw is None or self.count >= _MOST or self.size >= _MOST_BYTES:
            return None
        self.count += 1
        made = thumbnail(raw, of, self.limits, _PIXELS)
        self.size += len(made or "")
        return made


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
    places = photos.places
    columns = [name for name in (places.title, places.image) if name is not None]
    try:
        cells = catalog_row((*source, row["row"]), columns) or {}
    except VitrineError:  # a file that is not regular
        cells = {}
    title = cells.get(places.title or "")
    shown = title if isinstance(title, str) else ""
    return Example(
        str(row["id"] or "no id")[:_LONGEST], shown[:_LONGEST], photos.of_cell(cells.get(places.image or ""))
    )
