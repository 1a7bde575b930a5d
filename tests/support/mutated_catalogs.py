"""Seeded mutations of a catalog file: what writers of Parquet do differently, what exports get wrong, and damage."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Random = np.random.Generator

_TYPES: tuple[pa.DataType, ...] = (
    *(pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary(3), pa.null()),
    *(pa.decimal128(10, 2), pa.decimal128(38, 0), pa.decimal256(50, 3), pa.date32(), pa.time64("us")),
    *(pa.timestamp("ms"), pa.timestamp("ns", "Europe/Berlin"), pa.duration("s")),
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_string())),
    *(pa.list_(pa.string()), pa.large_list(pa.int64()), pa.list_(pa.string(), 2), pa.map_(pa.string(), pa.int32())),
    *(pa.struct([("bytes", pa.binary()), ("path", pa.string())]), pa.struct([("x", pa.list_(pa.float32()))])),
)
_WORDS = (
    *("", " ", "\x00", "nan", "NULL", "None", "N/A", "-", "0", "1e9", "12,99 €", "1.299,00", "＄１２", "<b>red</b>"),
    *(
        "Cafe\u0301",
        "\u200b",
        "\ufeffred",
        "&amp;amp;",
        "a > b > c",
        ">",
        "/",
        "|",
        "../../etc/passwd",
        "file:///etc/passwd",
    ),
    *(
        "https://shop.example/a.jpg",
        "photos",
        "red\ndress",
        "连衣裙",
        "\U0001f457" * 50,
        "\u202ered",
        "red dress " * 2_000,
    ),
)
_NAMES = ("", "id", "ID", "title", "Title ", "tïtle", "price.x", "embedding", "row", "__index_level_0__", "x" * 300)


@dataclass
class Draft:
    """A catalog on its way to a file: the rows, and how they will be written; `told` names what was done to it."""

    table: pa.Table
    options: dict[str, Any] = field(default_factory=dict)
    damage: list[Callable[[bytearray], bytearray]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def mutated(table: pa.Table, seed: int) -> tuple[bytes, list[str]]:
    """A Parquet file of `table` after one to four mutations, and their names; the same for the same `seed`."""
    rng = np.random.default_rng(seed)
    draft = Draft(table)
    for number in rng.integers(len(MUTATIONS), size=int(rng.integers(1, 5))):
        mutate = MUTATIONS[number]
        mutate(draft, rng)
        draft.told.append(mutate.__name__)
    raw = bytearray(_written(draft))
    for hurt in draft.damage:
        raw = hurt(raw)
    return bytes(raw), draft.told


def _written(draft: Draft) -> bytes:
    """The file; options that do not fit the types are dropped, as they would be by whoever wrote it."""
    for options in (draft.options, {}):
        out = io.BytesIO()
        try:
            pq.write_table(draft.table, out, **options)
        except (pa.ArrowException, OSError, ValueError, TypeError):
            continue
        return out.getvalue()
    out = io.BytesIO()
    pq.write_table(draft.table.slice(0, 0).select([]), out)
    return out.getvalue()


# --- columns ---


def retyped(draft: Draft, rng: Random) -> None:
    at, kind = _column(draft, rng), _TYPES[rng.integers(len(_TYPES))]
    _replace(draft, at, _of_type(draft.table.column(at), kind, rng))


def nulls(draft: Draft, rng: Random) -> None:
    at, share = _column(draft, rng), float(rng.choice([0.05, 0.5, 1.0]))
    lost = pa.array(rng.random(len(draft.table)) < share)
    column = draft.table.column(at)
    _replace(draft, at, pc.if_else(lost, pa.scalar(None, column.type), column) if len(column) else column)


def words(draft: Draft, rng: Random) -> None:
    at = _column(draft, rng)
    texts = _texts(draft.table.column(at))
    for row in rng.integers(max(1, len(texts)), size=4).tolist():
        if row < len(texts):
            texts[row] = _WORDS[rng.integers(len(_WORDS))]
    _replace(draft, at, pa.array(texts, pa.string()))


def odd_bytes(draft: Draft, rng: Random) -> None:
    at = _column(draft, rng)
    raw = [None if text is None else text.encode() for text in _texts(draft.table.column(at))]
    for row in rng.integers(max(1, len(raw)), size=3).tolist():
        if row < len(raw):
            raw[row] = bytes(rng.integers(256, size=int(rng.integers(0, 40)), dtype=np.uint8))
    binary = pa.array(raw, pa.binary())
    _replace(draft, at, binary.view(pa.string()) if rng.random() < 0.5 else binary)


def nested(draft: Draft, rng: Random) -> None:
    at = _column(draft, rng)
    column = draft.table.column(at).combine_chunks()
    if rng.random() < 0.5:
        offsets = pa.array(np.arange(len(column) + 1, dtype=np.int32))
        _replace(draft, at, pa.ListArray.from_arrays(offsets, column))
    else:
        _replace(draft, at, pa.StructArray.from_arrays([column], [str(rng.choice(["bytes", "path", "x"]))]))


def renamed(draft: Draft, rng: Random) -> None:
    names, at = list(draft.table.column_names), _column(draft, rng)
    names[at] = _NAMES[rng.integers(len(_NAMES))]
    draft.table = draft.table.rename_columns(names)


def dropped(draft: Draft, rng: Random) -> None:
    if draft.table.num_columns > 1:
        draft.table = draft.table.remove_column(_column(draft, rng))


def doubled(draft: Draft, rng: Random) -> None:
    at = _column(draft, rng)
    draft.table = draft.table.append_column(draft.table.schema.names[at], draft.table.column(at))


# --- rows ---


def fewer_rows(draft: Draft, rng: Random) -> None:
    draft.table = draft.table.slice(0, int(rng.integers(3)))


def repeated_rows(draft: Draft, rng: Random) -> None:
    draft.table = pa.concat_tables([draft.table, draft.table.slice(0, int(rng.integers(len(draft.table) + 1)))])


def shuffled_rows(draft: Draft, rng: Random) -> None:
    draft.table = draft.table.take(pa.array(rng.permutation(len(draft.table))))


# --- how it is written ---


def dictionaries(draft: Draft, rng: Random) -> None:
    at = _column(draft, rng)
    try:
        _replace(draft, at, draft.table.column(at).dictionary_encode())
    except pa.ArrowException:
        draft.options["use_dictionary"] = False


def pages(draft: Draft, rng: Random) -> None:
    draft.options |= {
        "data_page_size": int(rng.choice([1, 64, 4096])),
        "write_batch_size": int(rng.choice([1, 7, 1024])),
        "dictionary_pagesize_limit": int(rng.choice([1, 100, 1 << 20])),
        "data_page_version": str(rng.choice(["1.0", "2.0"])),
        "row_group_size": int(rng.choice([1, 3, 1000])),
        "write_page_checksum": bool(rng.integers(2)),
        "write_page_index": bool(rng.integers(2)),
    }


def codecs(draft: Draft, rng: Random) -> None:
    draft.options |= {
        "compression": str(rng.choice(["none", "snappy", "gzip", "brotli", "lz4", "zstd"])),
        "version": str(rng.choice(["1.0", "2.4", "2.6"])),
        "store_schema": bool(rng.integers(2)),
        "write_statistics": bool(rng.integers(2)),
        "use_compliant_nested_type": bool(rng.integers(2)),
    }


def encodings(draft: Draft, rng: Random) -> None:
    kinds = ("PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")
    names = [name for name in draft.table.column_names if name]
    draft.options |= {"use_dictionary": False, "column_encoding": {name: str(rng.choice(kinds)) for name in names}}


def notes(draft: Draft, rng: Random) -> None:
    junk = {
        b"pandas": b"{not json",
        b"ARROW:extension:name": b"nobody.knows",
        b"x": b"y" * int(rng.choice([1, 1 << 20])),
    }
    draft.table = draft.table.replace_schema_metadata(junk)


# --- damage ---


def flipped(draft: Draft, rng: Random) -> None:
    spots = rng.random(int(rng.integers(1, 9)))

    def hurt(raw: bytearray) -> bytearray:
        for spot in spots:
            raw[int(spot * len(raw))] ^= 1 << int(spot * 1e6) % 8
        return raw

    draft.damage.append(hurt)


def cut(draft: Draft, rng: Random) -> None:
    share = float(rng.random())
    draft.damage.append(lambda raw: raw[: int(share * len(raw))])


def footer(draft: Draft, rng: Random) -> None:
    spots, values = rng.integers(4, 600, size=6).tolist(), rng.integers(256, size=6).tolist()

    def hurt(raw: bytearray) -> bytearray:
        for spot, value in zip(spots, values, strict=True):
            if spot < len(raw):
                raw[-spot] = value
        return raw

    draft.damage.append(hurt)


MUTATIONS: tuple[Callable[[Draft, Random], None], ...] = (
    *(retyped, retyped, nulls, words, words, odd_bytes, nested, renamed, dropped, doubled),
    *(fewer_rows, repeated_rows, shuffled_rows, dictionaries, pages, codecs, encodings, notes, flipped, cut, footer),
)


# --- inside ---


def _column(draft: Draft, rng: Random) -> int:
    return int(rng.integers(draft.table.num_columns))


def _replace(draft: Draft, at: int, column: pa.Array | pa.ChunkedArray) -> None:
    draft.table = draft.table.set_column(at, draft.table.schema.names[at], column)


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    return [None if value is None else str(value) for value in _listed(column)]


def _listed(column: pa.ChunkedArray) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except (UnicodeDecodeError, pa.ArrowException, ValueError):
        return [None] * len(column)
    return values


def _of_type(column: pa.ChunkedArray, kind: pa.DataType, rng: Random) -> pa.Array | pa.ChunkedArray:
    """The values as `kind` where they can be, else numbers or nulls of that type."""
    try:
        return column.cast(kind)
    except (pa.ArrowException, UnicodeDecodeError):
        pass
    numbers = pa.array(rng.integers(0, 100, size=len(column)))
    for values in (numbers, pa.array([None if v is None else str(v) for v in numbers.to_pylist()], pa.string())):
        try:
            return values.cast(kind)
        except pa.ArrowException:
            continue
    return pa.nulls(len(column), kind)
