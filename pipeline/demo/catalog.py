"""The demo catalog: products with photos and texts in English and Chinese that agree, seeded and of any size.

A folder holds catalog/part-*.parquet, photos/, queries.parquet with query-photos/, with `dirty` also outcomes.parquet
(what must become of each faulty row; rows it does not name are clean), and demo.json with the options, written last.
The folder takes its name when all of it is written.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from foundation.arrays import Positions
from foundation.errors import InputError, LockedError
from pipeline.demo.dirt import dirty_row, faults_for, outcome_rows, write_file
from pipeline.demo.drawings import Look, photo
from pipeline.demo.products import PHOTO, ids, looks, product_rows, schema

VERSION = 1  # raised when the same options give another catalog
MARK = "demo.json"


@dataclass(frozen=True)
class DemoOptions:
    """What decides every byte of a demo catalog. `products` counts clean rows; `dirty` adds faulty ones among them."""

    products: int = 2000
    seed: int = 7
    dirty: bool = False
    photos: Literal["files", "bytes", "none"] = "files"
    row_group_rows: int = 1000
    file_rows: int = 100_000


def write_demo_catalog(folder: Path, options: DemoOptions, progress: Callable[[int], None] | None = None) -> Path:
    """Write the catalog that `options` describe to `folder` and return it; nothing is done where it stands.

    `progress` is called after each row group with the number of rows written so far. InputError for options that make
    no catalog and for a folder that holds anything else; LockedError when another process writes the same folder.
    """
    _check(options)
    folder = folder.absolute()
    if _stands(folder, options):
        return folder
    with _in_the_making(folder) as made:
        outcomes = _write_rows(made, _Plan(options), progress)
        if options.dirty:
            pq.write_table(pa.concat_tables(outcomes), made / "outcomes.parquet", **_PARQUET)
        _write_queries(made, options)
        (made / MARK).write_text(_mark(options), encoding="utf-8")
    return folder


def row_groups(options: DemoOptions) -> Iterator[pa.Table]:
    """The rows, one table of `schema(options.photos)` per row group, made as they are asked for.

    For photos="files" they only name the files; `write_demo_catalog` draws them.
    """
    plan = _Plan(options)
    return (_table(plan, span) for span in _spans(plan))


def _photo_path(row: int) -> str:
    return f"photos/{row // 1000:05d}/V-{row:08d}.jpg"


def _photo_column(options: DemoOptions, rows: Positions) -> pa.Array:
    if options.photos == "files":
        return pa.array([_photo_path(row) for row in rows.tolist()], pa.string())
    shown = zip(rows.tolist(), looks(options.seed, rows), strict=True)
    return pa.array([{"bytes": photo(look), "path": Path(_photo_path(row)).name} for row, look in shown], PHOTO)


# --- faulty rows among the clean ones ---


class _Plan:
    """Where the faulty rows stand. Row 0 is always clean, so that every duplicate has an original before it."""

    def __init__(self, options: DemoOptions) -> None:
        self.options = options
        self.faults = list(faults_for(options.photos)) if options.dirty else []
        random.Random(f"{options.seed}/faults").shuffle(self.faults)
        self.rows = options.products + len(self.faults)
        places = random.Random(f"{options.seed}/places").sample(range(1, self.rows), len(self.faults))
        self.places: Positions = np.array(sorted(places), dtype=np.int64)

    def clean(self, span: _Span) -> tuple[Positions, Positions]:
        """Of the clean rows of `span`: where they stand in it, and their product numbers; both (n,) int64."""
        rows = np.setdiff1d(np.arange(span.start, span.stop, dtype=np.int64), self.places)
        return rows - span.start, rows - np.searchsorted(self.places, rows)

    def dirty(self, span: _Span) -> list[int]:
        """The numbers, in self.faults and self.places, of the faults of `span`."""
        first, last = np.searchsorted(self.places, (span.start, span.stop)).tolist()
        return list(range(first, last))

    def look(self, fault: int) -> Look:
        """What the photo of a fault shows: that of a product past the last clean one."""
        return looks(self.options.seed, self._product(fault))[0]

    def row(self, fault: int) -> pa.Table:
        """The faulty row: a product past the last clean one, made faulty."""
        options, before = self.options, int(self.places[fault]) - fault
        nearest, first = ids(np.array([before - 1, 0], dtype=np.int64)).to_pylist()
        base = product_rows(options.seed, self._product(fault)).to_pylist()[0]
        originals = {"nearest": nearest, "first": first}
        return dirty_row(self.faults[fault], base, self.look(fault), originals, schema(options.photos))

    def _product(self, fault: int) -> Positions:
        return np.array([self.options.products + fault], dtype=np.int64)


@dataclass(frozen=True)
class _Span:
    """Rows start..stop-1 of the catalog: a row group of the file with this number, whose first row is `file_start`."""

    file: int
    file_start: int
    start: int
    stop: int


def _spans(plan: _Plan) -> Iterator[_Span]:
    options = plan.options
    for file, file_start in enumerate(range(0, plan.rows, options.file_rows)):
        file_stop = min(file_start + options.file_rows, plan.rows)
        for start in range(file_start, file_stop, options.row_group_rows):
            yield _Span(file, file_start, start, min(start + options.row_group_rows, file_stop))


def _table(plan: _Plan, span: _Span) -> pa.Table:
    places, products = plan.clean(span)
    table = product_rows(plan.options.seed, products)
    name = {"files": "image_link", "bytes": "image"}.get(plan.options.photos)
    if name is not None:
        table = table.append_column(name, _photo_column(plan.options, products))
    faults = plan.dirty(span)
    if not faults:
        return table
    order = np.argsort(np.concatenate([places, plan.places[faults] - span.start]))
    return pa.concat_tables([table, *(plan.row(fault) for fault in faults)]).take(pa.array(order))


# --- files ---

_PARQUET: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
_QUERY_TEXTS = (
    ("en", "dress", "red", "plain", "a red dress"),
    ("en", "mug", "blue", "striped", "blue striped mug"),
    ("en", "umbrella", "yellow", "dotted", "yellow polka-dot umbrella"),
    ("en", "chair", "green", "checked", "green checked chair"),
    ("zh", "dress", "red", "plain", "红色连衣裙"),
    ("zh", "teapot", "white", "dotted", "白色波点茶壶"),
    ("zh", "backpack", "black", "plain", "黑色双肩包"),
    ("zh", "hat", "brown", "striped", "棕色条纹帽子"),
)
_QUERY_PHOTOS = (("dress", "red", "plain"), ("teapot", "green", "dotted"), ("umbrella", "blue", "striped"))


def _write_rows(folder: Path, plan: _Plan, progress: Callable[[int], None] | None) -> list[pa.Table]:
    """Write all rows and photos; the rows of outcomes.parquet."""
    outcomes = []
    (folder / "catalog").mkdir()
    for file, spans in itertools.groupby(_spans(plan), key=lambda span: span.file):
        name = f"catalog/part-{file:05d}.parquet"
        with pq.ParquetWriter(folder / name, schema(plan.options.photos), **_PARQUET) as writer:
            for span in spans:
                table = _table(plan, span)
                writer.write_table(table, row_group_size=table.num_rows)
                if plan.options.photos == "files":
                    _write_photos(folder, plan, span)
                outcomes.append(_outcomes(plan, span, name, table))
                if progress is not None:
                    progress(span.stop)
    return outcomes


def _write_photos(folder: Path, plan: _Plan, span: _Span) -> None:
    products = plan.clean(span)[1]
    for number, look in zip(products.tolist(), looks(plan.options.seed, products), strict=True):
        path = folder / _photo_path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(look))
    for fault in plan.dirty(span):
        write_file(folder, plan.faults[fault], plan.look(fault))


def _outcomes(plan: _Plan, span: _Span, file: str, table: pa.Table) -> pa.Table:
    numbers = plan.dirty(span)
    places = plan.places[numbers].tolist()
    ids = table.column("id").take(pa.array([place - span.start for place in places], pa.int64())).to_pylist()
    return outcome_rows([plan.faults[number] for number in numbers], places, ids, file, span.file_start)


def _write_queries(folder: Path, options: DemoOptions) -> None:
    """queries.parquet, and photos whose seeds no product has."""
    (folder / "query-photos").mkdir()
    queries = [
        {"text": text, "image": None, "language": language, "kind": kind, "colour": colour, "pattern": pattern}
        for language, kind, colour, pattern, text in _QUERY_TEXTS
    ]
    for kind, colour, pattern in _QUERY_PHOTOS:
        name = f"query-photos/{colour}-{kind}.jpg"
        (folder / name).write_bytes(photo(Look(kind, colour, pattern, f"{options.seed}/query/{name}")))
        shown = {"kind": kind, "colour": colour, "pattern": pattern}
        queries.append({"text": None, "image": name, "language": None, **shown})
    rows = [{"query_id": f"q{number:02d}", **query} for number, query in enumerate(queries)]
    columns = ("query_id", "text", "image", "language", "kind", "colour", "pattern")
    fields = pa.schema([(name, pa.string()) for name in columns])
    pq.write_table(pa.Table.from_pylist(rows, schema=fields), folder / "queries.parquet", **_PARQUET)


# --- the folder: there when it is whole, else not ---


def _check(options: DemoOptions) -> None:
    for name in ("products", "row_group_rows", "file_rows"):
        if getattr(options, name) < 1:
            raise InputError(
                f"{name} of 1 or more", f"{name}={getattr(options, name)}", f"ask for at least one: {name}=1"
            )
    if options.photos not in ("files", "bytes", "none"):
        raise InputError("photos to be files, bytes or none", f"photos={options.photos!r}", "choose one of the three")


def _identity(options: DemoOptions) -> dict[str, Any]:
    """What two equal catalogs have in common; another Pillow draws or compresses other bytes."""
    return {"version": VERSION, "pillow": PIL.__version__, **asdict(options)}


def _stands(folder: Path, options: DemoOptions) -> bool:
    """Whether the catalog of `options` is there already; InputError when something else is."""
    mark = folder / MARK
    if mark.is_file():
        there = mark.read_text(encoding="utf-8")
        if there == _mark(options):
            return True
        raise InputError(
            f"no catalog, or one of {json.dumps(_identity(options))}, in {folder}",
            f"its {MARK} says {' '.join(there.split())}",
            "choose another folder, or delete this one first",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"a new or empty folder at {folder}", f"something else is there, without {MARK}", "choose another folder"
        )
    return False


def _mark(options: DemoOptions) -> str:
    return json.dumps(_identity(options), indent=1) + "\n"


@contextmanager
def _in_the_making(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` that takes its name at the end; what a killed run left of it is dropped first."""
    made = folder.parent / f".{folder.name}.partial"
    try:
        made.mkdir(parents=True, exist_ok=True)
        held = os.open(made, os.O_RDONLY)
    except OSError as err:
        raise InputError(f"a folder to write {folder} in", str(err), "choose a path that can be written") from err
    try:
        _hold(held, made)
        for left in made.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield made
        os.rename(made, folder)
    finally:
        os.close(held)


def _hold(held: int, folder: Path) -> None:
    """Lock the open folder `held`; the system lets go of it when its holder dies."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = folder.exists() and os.path.samestat(os.fstat(held), folder.stat())
    except BlockingIOError:
        mine = False
    if not mine:
        raise LockedError(
            f"{folder} to be free", "another demo-catalog writes there", "wait for it to end, then run again"
        )
