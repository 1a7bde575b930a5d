"""Photos of a snapshot's products as pages show them: from where its run had them, so far as nothing is fetched by URL.

The catalog may be another by now. What cannot be shown says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
from pydantic import ValidationError

from encoders.names import clean_id
from encoders.photos.limits import PhotoError, PhotoLimits
from foundation.errors import VitrineError
from foundation.extras import absent
from lookup.hit import Hit
from lookup.page import NoPhoto
from lookup.query import photo_limits
from lookup.store.manifest import Manifest
from pipeline.catalog import stage_columns as col
from pipeline.catalog.rows import read_some
from pipeline.config.sections import CatalogConfig
from pipeline.files.discover import open_file
from pipeline.files.parts import PLAIN, Part
from pipeline.photos.photos import source_of
from pipeline.photos.root import Root, photo_root

_log = logging.getLogger(__name__)
_ANOTHER = NoPhoto("the catalog was written anew since")
_LONGEST = 200  # characters of a reason

Source = tuple[str, int, int]  # of a row, see Hit
Photo = bytes | NoPhoto | None  # None: the product has none
Shown = tuple[str, Photo]  # the title, empty where there is none, and the first photo
_T = TypeVar("_T")


@dataclass
class ShownPhotos:
    """The photos of one catalog, within the `limits` of its run. A place that failed as a whole is not asked again."""

    catalog: CatalogConfig
    root: Root | None
    limits: PhotoLimits
    part: Part  # how its files are read
    _failed: dict[object, NoPhoto] = field(default_factory=dict)  # by source or file

    @classmethod
    def of(cls, manifest: Manifest) -> ShownPhotos:
        """Those of a snapshot, whose settings may be of another version: of these what this one knows."""
        entry = manifest.catalog
        catalog = _settings(manifest)
        names = {name: keys[0] for name, keys in entry.fields.items()}
        more = {name: tuple(map(str, keys[1:])) for name, keys in entry.fields.items() if keys[1:]}
        root = None if entry.image_root is None else photo_root(entry.image_root, catalog, fetched=False)
        return cls(catalog, root, photo_limits(manifest), Part(fields=names, named=more) if names else PLAIN)

    def of_hits(self, hits: Sequence[Hit]) -> list[Photo]:
        """The first photo of each; rows of the catalog are read only of those that have it in the catalog itself."""
        if self.catalog.image is None:
            return [None] * len(hits)
        rows = self.rows({hit.source: hit.id for hit in hits if hit.photo is None})
        return [rows[hit.source][1] if hit.photo is None else self.of_path(hit.photo) for hit in hits]

    def of_path(self, path: str) -> bytes | NoPhoto:
        """The photo that the catalog calls `path`."""
        if self.root is None:
            return NoPhoto("the snapshot does not say where photos are")
        source = source_of(path, self.root)
        return self._tried(source, lambda: source.read(path, self.limits)[0])

    def rows(self, wanted: Mapping[Source, str | None]) -> dict[Source, Shown]:
        """Some rows, with the ids that they had; None: with none, or one that is not known."""
        units: dict[tuple[str, int], list[Source]] = {}
        for source in sorted(wanted):
            units.setdefault(source[:2], []).append(source)
        found: dict[Source, Shown] = {}
        for (path, group), sources in units.items():
            numbers = [row for _, _, row in sources]
            table = self._tried(path, lambda: _read(path, group, numbers, self._read_as(path)))  # noqa: B023 - at once
            for at, source in enumerate(sources):
                found[source] = self._shown(table, at, wanted[source])
        return found

    # --- inside ---

    def _read_as(self, path: str) -> CatalogConfig:
        """The settings that ids, titles and photos of a file are read by, and nothing else."""
        fewer: dict[str, Any] = {"text": self.catalog.text[:1], "attributes": (), "prices": (), "numbers": ()}
        fewer |= {"partition": None, "version_column": None}
        return self.catalog.model_copy(update=fewer).planned({path: self.part})

    def _shown(self, table: pa.Table | NoPhoto, at: int, name: str | None) -> Shown:
        if isinstance(table, NoPhoto):
            return "", table
        if at >= table.num_rows or (name is not None and table[col.ID][at].as_py() != clean_id(name)):
            return "", _ANOTHER
        title, photos = table["title"][at].as_py() or "", table[col.PHOTOS][at].as_py()
        if not photos:
            return title, None
        raw, path = photos[0]["bytes"], photos[0]["path"]
        return title, self.of_path(path) if raw is None else raw

    def _tried(self, place: object, read: Callable[[], _T]) -> _T | NoPhoto:
        """What `read` gives, or why it gives nothing."""
        if place in self._failed:
            return self._failed[place]
        try:
            return read()
        except PhotoError as err:
            return NoPhoto.of(err)
        except Exception as err:  # noqa: BLE001 - drivers of buckets raise whatever they do; the page is to be written
            _log.info("photos of a page: %s", err, exc_info=err)
            self._failed[place] = NoPhoto(_words(err)[:_LONGEST])
            return self._failed[place]


def fields_of(catalog: CatalogConfig, parts: Mapping[str, Part]) -> dict[str, tuple[int | str, ...]]:
    """What the files of a table call the columns that `ShownPhotos` reads, see CatalogEntry; empty where they call them
    as the table does, or where it is none.
    """
    part = next((one for one in parts.values() if one.fields is not None), None)
    columns = ("id", *catalog.text[:1], catalog.image, catalog.more_images)
    names = {catalog.columns.get(name, name).partition(".")[0] for name in columns if name is not None}
    if part is None or part.fields is None or all(part.fields.get(name, name) == name for name in names):
        return {}
    return {name: (part.fields[name], *part.named.get(name, ())) for name in sorted(names) if name in part.fields}


def _settings(manifest: Manifest) -> CatalogConfig:
    """The section `catalog` that the snapshot was made by, without what this version does not know or refuses."""
    known = {name: one for name, one in manifest.config["catalog"].items() if name in CatalogConfig.model_fields}
    try:
        return CatalogConfig.model_validate(known)
    except ValidationError as err:
        refused = {one["loc"][0] for one in err.errors()}
        return CatalogConfig.model_validate({name: one for name, one in known.items() if name not in refused})


def _read(path: str, group: int, rows: Sequence[int], settings: CatalogConfig) -> pa.Table:
    """Those of the rising `rows`, counted from the first of the row group `group`, that the file still has."""
    with open_file(path) as file:
        groups = range(group, file.num_row_groups)
        most = sum(file.metadata.row_group(one).num_rows for one in groups)
    there = [row for row in rows if row < most]
    return read_some(path, groups, there, ("title", "photo"), settings) if there else pa.table({})


def _words(err: Exception) -> str:
    lacking = absent(err) if isinstance(err, ModuleNotFoundError) else None
    if lacking is not None:
        return f"{lacking.expected} is {lacking.came}"
    return err.came if isinstance(err, VitrineError) else (str(err).splitlines() or [type(err).__name__])[0]
