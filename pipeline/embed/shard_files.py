"""A unit's files in the store: the shard, its rejects, and the record that is written last and makes them whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foundation.errors import VitrineError
from foundation.identity import identity_of
from index_builders.rows.shards import shard_schema, write_shard
from index_builders.rows.texts import texts_digest
from lookup.filters.prices import PRICE
from lookup.store.fields import FileRef, NamedRecord
from lookup.store.manifest import Manifest
from lookup.store.records import lost_record, read_record, write_record
from lookup.store.shard_record import RejectCount, Segment, ShardRecord
from lookup.store.shards import ShardEntry
from lookup.store.store import Store
from pipeline.catalog import stage_columns as col
from pipeline.catalog.price_columns import unread
from pipeline.config.encoding import photo_limits, tower_dims
from pipeline.config.sections import Embedding
from pipeline.embed.fuse import count_pairs, split
from pipeline.embed.loss_details import detail_counts
from pipeline.embed.tally import NOTHING_DONE, Tally

_REJECT_COLUMNS = {col.ROW: "row", col.ID: "id", col.PARTITION: "partition", col.REJECT: "reason", col.DETAIL: "detail"}
_MOST_RUNS = 10  # that published nothing, of which shards are looked for
_MOST_LOOKED_AT = 30  # runs, for these


def reusable_shard(store: Store, name: str) -> ShardRecord | None:
    """The record of shard `name` when it and its files are whole; None when the shard has to be written (again)."""
    record = own_record(store, name)
    if record is None:
        return None
    files = [file for file in (record.file, record.rejects) if file is not None]
    return record if all(store.stands(file) for file in files) else None


def own_record(store: Store, name: str) -> ShardRecord | None:
    """The record of shard `name`, whatever became of its files; None when there is none of that name."""
    return read_record(store, _record_path(name), ShardRecord, name)


def shard_record(store: Store, name: str) -> ShardRecord:
    """The record of a shard that this run wrote or found whole."""
    record = own_record(store, name)
    if record is None:
        raise lost_record(f"the record of shard {name}", _record_path(name), "shard")
    return record


def write_unit(store: Store, inputs: str, fused: pa.Table, embedding: Embedding, photo_state: str = "") -> ShardRecord:
    """Write a fused unit made of `inputs` as a shard: rows that are good, rows that are not, and then the record.

    Each is named by its content: equal inputs may give vectors of other last bits, and no name ever has two contents.
    """
    good, bad = split(fused)
    with store.scratch() as folder:
        segments = _write_good(good, embedding, folder / "shard.parquet") if good.num_rows else ()
        if bad.num_rows:
            _write_rejects(bad, folder / "rejects.parquet")
        file = _put(store, folder / "shard.parquet", ".parquet", good.num_rows)
        rejects = _put(store, folder / "rejects.parquet", ".rejects.parquet", bad.num_rows)
    rejected = count_pairs(bad, col.PARTITION, col.REJECT)
    record = ShardRecord(
        name="",
        inputs=inputs,
        rows_in=fused.num_rows,
        file=file,
        rejects=rejects,
        segments=segments,
        rejected=tuple(RejectCount(partition=p, reason=r, rows=n) for p, r, n in rejected),
        photo_state=photo_state,
        details=detail_counts(good, bad),
    )
    record = record.model_copy(update={"name": identity_of(record.model_dump(mode="json"))[:32]})
    embedded = sum(segment.rows for segment in segments) + sum(count.rows for count in record.rejected)
    if embedded != record.rows_in:
        raise VitrineError(
            f"{record.rows_in} rows embedded or rejected",
            f"{embedded} rows in shard {record.name}",
            "report this: rows were lost",
        )
    if own_record(store, record.name) is None:
        write_record(store, _record_path(record.name), record)
    return record


class Mark(NamedRecord):
    """What a run notes of a finished unit: its shard, whether that stood before, and how its vectors came to be. Its
    name is its path.
    """

    later: ClassVar[frozenset[str]] = frozenset({"tally"})

    shard: str
    reused: bool
    tally: Tally = NOTHING_DONE


def mark_unit(store: Store, run: str, unit: int, shard: str, reused: bool, tally: Tally = NOTHING_DONE) -> None:
    """Note in the run's folder that a unit is done. A runner that does a unit twice has not found it standing."""
    path = _mark_path(run, unit)
    done_before = read_record(store, path, Mark)
    if done_before is None or done_before.shard != shard:
        write_record(store, path, Mark(name=path, shard=shard, reused=reused, tally=tally))


class PlanKey(NamedRecord):
    """Which plan the units of a run are numbered by: its marks mean nothing under another one. Its name is its path."""

    key: str


def note_key(store: Store, run: str, key: str) -> None:
    """Note the key of a run's plan, for a run that goes on where this one is stopped."""
    path = _key_path(run)
    write_record(store, path, PlanKey(name=path, key=key))


def noted_key(store: Store, run: str) -> str | None:
    """The key of a run's plan; None where it is not known."""
    note = read_record(store, _key_path(run), PlanKey)
    return None if note is None else note.key


def finished_units(store: Store, run: str) -> set[int]:
    """The numbers of the units that a run has done; the marks are not read."""
    stems = (Path(name).stem for name in store.names(f"runs/{run}/units"))
    return {int(stem) for stem in stems if stem.isdigit()}


def same_plan(store: Store, key: str, run: str) -> str | None:
    """The last of the runs before this one that had the same plan; others may have been at work since. None where it is
    not among the last few.
    """
    earlier = [name for name in store.names("runs") if name != run]
    return next((name for name in earlier[: -_MOST_RUNS - 1 : -1] if noted_key(store, name) == key), None)


def unfinished(store: Store, key: str, run: str) -> str | None:
    """That run, when it published nothing."""
    earlier = same_plan(store, key, run)
    return None if earlier is None or ended_well(store, earlier) else earlier


def earlier_shards(store: Store, parent: Manifest | None, run: str) -> list[ShardEntry | ShardRecord]:
    """The shards that `run` may use: those of `parent`, and of runs since that published nothing. Without a parent, all
    that the store has.
    """
    if parent is None:
        stems = (name.removesuffix(".json") for name in store.names("shards") if name.endswith(".json"))
        named = (own_record(store, stem) for stem in stems)
    else:
        marks = [mark for other in _since(store, run) for mark in marked_units(store, other).values()]
        known = {entry.name for entry in parent.shards.entries}
        named = (own_record(store, name) for name in dict.fromkeys(mark.shard for mark in marks) if name not in known)
    published = parent.shards.entries if parent is not None else ()
    return [*published, *(one for one in named if one is not None)]


def _since(store: Store, run: str) -> list[str]:
    """Runs beside `run` that published nothing, back to the last of the whole catalog that ended well, the oldest
    first.
    """
    found: list[str] = []
    for name in [name for name in store.names("runs") if name != run][: -_MOST_LOOKED_AT - 1 : -1]:
        ended = ended_well(store, name)
        if len(found) == _MOST_RUNS or (ended and noted(store, f"runs/{name}/run.json", "category") is None):
            break
        if not ended:
            found.append(name)
    return found[::-1]


def ended_well(store: Store, run: str) -> bool:
    """Whether a run published, or had nothing to publish: no run goes on from its marks."""
    return noted(store, f"runs/{run}/run.json", "status") in ("published", "unchanged")


def noted(store: Store, name: str, key: str) -> object:
    """The value of `key` in a run's JSON note; None where the note is absent or damaged, as if never written."""
    try:
        note = json.loads(store.read(name))
    except (FileNotFoundError, ValueError):
        return None
    return note.get(key) if isinstance(note, dict) else None


def marked_units(store: Store, run: str) -> dict[int, Mark]:
    """Unit number -> what became of it, of the units that a run has done."""
    folder = f"runs/{run}/units"
    marks = {int(Path(name).stem): read_record(store, f"{folder}/{name}", Mark) for name in store.names(folder)}
    return {unit: mark for unit, mark in marks.items() if mark is not None}


def _put(store: Store, source: Path, suffix: str, rows: int) -> FileRef | None:
    return store.put_content(source, "shards", suffix, rows) if rows else None


def _write_good(good: pa.Table, embedding: Embedding, path: Path) -> tuple[Segment, ...]:
    text_dim, image_dim = tower_dims(embedding) if embedding.shards.towers else (None, None)
    attributes = pa.schema(list(good.schema.field(col.ATTRIBUTES).type))
    dim = good.schema.field(col.EMBEDDING).type.list_size
    identities = {"text": embedding.encoders.text, "image": embedding.encoders.image, "fusion": embedding.fusion}
    metadata: dict[str, Any] = {name: spec and spec.identity for name, spec in identities.items()}
    metadata["photo_limits"] = asdict(photo_limits(embedding.catalog))
    searched = embedding.catalog.searched
    if searched:
        metadata["searched"] = searched
    schema = shard_schema(dim, text_dim, image_dim, attributes, metadata, searched)
    table = good.select(schema.names).cast(schema).combine_chunks()
    names = good.column(col.PARTITION).combine_chunks().dictionary_encode()
    changes = np.flatnonzero(np.diff(names.indices.to_numpy())) + 1  # rows are sorted by partition
    bounds = [0, *changes.tolist(), good.num_rows]
    digests = write_shard(path, table, bounds)
    degraded: dict[str, list[tuple[str, int]]] = {}
    for partition, reason, rows in count_pairs(
        good.filter(good.column(col.DEGRADED).is_valid()), col.PARTITION, col.DEGRADED
    ):
        degraded.setdefault(partition, []).append((reason, rows))
    not_read, texts = _unread(good), good.column(col.TEXTS).combine_chunks()
    photos, lost = (good.column(name).to_numpy() for name in (col.PHOTO_COUNT, col.PHOTOS_LOST))
    return tuple(
        Segment(
            partition=(partition := names[bounds[group]].as_py()),
            row_group=group,
            rows=bounds[group + 1] - bounds[group],
            digest=digest,
            degraded=tuple(degraded.get(partition, ())),
            unread=tuple((name, int(rows[bounds[group] : bounds[group + 1]].sum())) for name, rows in not_read),
            photos=int(photos[bounds[group] : bounds[group + 1]].sum()),
            photos_lost=int(lost[bounds[group] : bounds[group + 1]].sum()),
            texts=texts_digest(texts[bounds[group] : bounds[group + 1]]) if searched else "",
        )
        for group, digest in enumerate(digests)
    )


def _unread(good: pa.Table) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Declared price -> which rows have a text that is none, other attribute -> which are not UTF-8; only such as have
    some.
    """
    attributes = good.column(col.ATTRIBUTES).combine_chunks()
    prices = [field.name for field in attributes.type if field.type == PRICE]
    each = [(name, unread(pc.struct_field(attributes, name))) for name in prices]
    lists = good.column(col.NOT_UTF8).combine_chunks()
    names, rows = lists.flatten(), pc.list_parent_indices(lists).to_numpy()
    for name in sorted(pc.unique(names).to_pylist()):
        mask = np.zeros(good.num_rows, np.bool_)
        mask[rows[pc.equal(names, name).to_numpy(zero_copy_only=False)]] = True
        each.append((name, mask))
    return [(name, rows) for name, rows in each if rows.any()]


def _write_rejects(bad: pa.Table, path: Path) -> None:
    rejects = bad.select(list(_REJECT_COLUMNS)).rename_columns(_REJECT_COLUMNS)
    pq.write_table(rejects, path, compression="zstd", write_page_checksum=True)


def _record_path(name: str) -> str:
    return f"shards/{name}.json"


def _key_path(run: str) -> str:
    return f"runs/{run}/key.json"


def _mark_path(run: str, unit: int) -> str:
    return f"runs/{run}/units/{unit:06d}.json"
