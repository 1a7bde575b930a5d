"""A log of sessions: which products a shopper looked at, one after the other, and what was searched for, if anything.

It is read as carefully as the catalog and as a log of clicks (clicks.py): queries are cleaned as those of a search are,
ids as the catalog's are.
"""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from foundation.errors import InputError
from pipeline.catalog import columns
from pipeline.catalog.clicks import days_of, ids_of, queries_of
from pipeline.catalog.names import clean_ids, names_of
from pipeline.catalog.user_tables import user_table

NEEDED, OPTIONAL = ("session", "id", "day"), "query"


@dataclass(frozen=True)
class Session:
    """The products of a session in order, the last one apart: `wanted`, which was found by `query` (None: by none) on
    `day`.
    """

    name: str
    looked_at: tuple[str, ...]
    wanted: str
    query: str | None
    day: datetime.date


@dataclass(frozen=True)
class Sessions:
    """The sessions of a log, by their last day and then as they come in the file. `left_out` counts rows of the file by
    what they lack.
    """

    sessions: list[Session]
    left_out: dict[str, int]


def read_sessions(path: Path, max_chars: int, option: str = "--sessions") -> Sessions:
    """The log in the Parquet file that `option` names: the rows of a session are in order of their days, those of one
    day as they come in the file.

    Rows without a session, an id or a day, and with one that says nothing, are left out and counted; a query is the one
    of a row, and cut at `max_chars` characters. InputError where a column is missing or of a type that cannot be meant,
    or no row is left.
    """
    table, names = user_table(path, option, (*NEEDED, OPTIONAL))
    missing = [name for name in NEEDED if name not in names]
    if missing:
        came = f"{path} without {', '.join(missing)}; it has {', '.join(names)}"
        raise InputError(f"the columns {', '.join(NEEDED)}, and query if you like", came, "rename the columns")
    left_out: Counter[str] = Counter()
    read = {
        "session": _sessions(table["session"], path, left_out),
        "id": ids_of(table["id"], path, left_out),
        "day": days_of(table["day"], path, left_out),
    }
    if OPTIONAL in names:
        read[OPTIONAL] = queries_of(table[OPTIONAL], path, max_chars, Counter())  # a row needs none
    by_name: dict[str, list[tuple[datetime.date, int]]] = {}
    rows = {name: column.to_pylist() for name, column in read.items()}
    for at, row in enumerate(zip(*(rows[name] for name in NEEDED), strict=True)):
        if None not in row:
            by_name.setdefault(row[0], []).append((row[2], at))
    if not by_name:
        came = f"{table.num_rows:,} rows in {path}{''.join(f', {count:,} {why}' for why, count in left_out.items())}"
        raise InputError("at least one row with a session, an id and a day", came, f"correct {option}")
    queries = rows.get(OPTIONAL) or [None] * table.num_rows
    found = []
    for name, looks in by_name.items():
        *before, (day, last) = sorted(looks)
        looked_at = tuple(rows["id"][at] for _, at in before)
        found.append(Session(name, looked_at, rows["id"][last], queries[last], day))
    found.sort(key=lambda one: one.day)
    return Sessions(found, dict(sorted((+left_out).items())))


def _sessions(column: pa.ChunkedArray, path: Path, left_out: Counter[str]) -> pa.Array:
    if not columns.is_name(column.type):
        raise InputError(f"session in {path}: text or whole numbers", f"{column.type}", "cast the column")
    found = clean_ids(names_of(column, "session").values)
    left_out["no_session"] += found.null_count
    return found
