"""A log of what shoppers did: which product was opened, put in a basket or bought after which query, on which day.

It is read as carefully as the catalog: queries are cleaned as queries of a search are, ids as the catalog's are.
Queries that differ in case alone are one query.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from foundation.errors import InputError
from pipeline.catalog import columns
from pipeline.catalog.names import clean_ids, names_of
from pipeline.catalog.stage_columns import ID
from pipeline.catalog.user_tables import user_table

COLUMNS = ("query", "id", "gain", "day")
_ISO_DAY = r"^\d{4}-\d{2}-\d{2}$"


@dataclass(frozen=True)
class Clicks:
    """`table` has (n) rows of query (string, cleaned), id (string), gain (double, the sum of equal rows, 0 and more)
    and day (date32), each query, id and day once, in their order. `left_out` counts rows of the file by what they lack.
    """

    table: pa.Table
    left_out: dict[str, int]

    @property
    def days(self) -> list[datetime.date]:
        """The days that have rows, in order."""
        found: list[datetime.date] = sorted(pc.unique(self.table["day"]).to_pylist())
        return found

    def since(self, day: datetime.date) -> Clicks:
        """The rows of `day` and of days after it."""
        return replace(self, table=self.table.filter(pc.greater_equal(self.table["day"], pa.scalar(day))))

    def before(self, day: datetime.date) -> Clicks:
        """The rows of days before `day`."""
        return replace(self, table=self.table.filter(pc.less(self.table["day"], pa.scalar(day))))

    def gains(self) -> dict[str, dict[str, float]]:
        """By query, in order, and id: the gain of all days together."""
        found: dict[str, dict[str, float]] = {}
        rows = self.table.select(["query", ID, "gain"]).to_pydict()
        for query, one, gain in zip(rows["query"], rows[ID], rows["gain"], strict=True):
            of_query = found.setdefault(query, {})
            of_query[one] = of_query.get(one, 0.0) + gain
        return found


def read_clicks(path: Path, max_chars: int, option: str = "--clicks") -> Clicks:
    """The log in the Parquet file that `option` names; a query is cut at `max_chars` characters, as a search cuts it.

    Rows without a query, an id, a gain or a day, and with one that says nothing, are left out and counted. InputError
    where a column is missing or of a type that cannot be meant, a gain is negative or no number, or no row is left.
    """
    table, names = user_table(path, option, COLUMNS)
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        came = f"{path} without {', '.join(missing)}; it has {', '.join(names)}"
        raise InputError(f"the columns {', '.join(COLUMNS)}", came, "rename the columns")
    left_out: Counter[str] = Counter()
    read = {
        "query": queries_of(table["query"], path, max_chars, left_out),
        "id": ids_of(table["id"], path, left_out),
        "gain": _gains(table["gain"], path, left_out),
        "day": days_of(table["day"], path, left_out),
    }
    whole = pa.table(read).drop_null()
    if not whole.num_rows:
        came = f"{table.num_rows:,} rows in {path}{''.join(f', {rows:,} {why}' for why, rows in left_out.items())}"
        raise InputError("at least one row with a query, an id, a gain and a day", came, f"correct {option}")
    return Clicks(_summed(_one_spelling(whole)), dict(sorted(left_out.items())))


def queries_of(column: pa.ChunkedArray, path: Path, max_chars: int, left_out: Counter[str]) -> pa.Array:
    """(n,) string: the queries of a log as searches clean them, null where there is none, which `left_out` counts."""
    if not columns.is_text(column.type):
        raise _wrong_type(path, "query", "text", column.type)
    left_out["null_query"] += column.null_count
    encoded = pc.dictionary_encode(columns.plain(column))  # a log asks the same again and again
    texts = columns.cleaned(encoded.dictionary, max_chars)
    texts = pa.DictionaryArray.from_arrays(encoded.indices, texts).cast(pa.string())
    empty = pc.and_(pc.is_valid(encoded), pc.fill_null(pc.equal(texts, ""), True))
    left_out["empty_query"] += pc.sum(empty).as_py() or 0
    return pc.if_else(empty, None, texts)


def ids_of(column: pa.ChunkedArray, path: Path, left_out: Counter[str]) -> pa.Array:
    """(n,) string: ids as the catalog's are, null where there is none, which `left_out` counts."""
    if not columns.is_name(column.type):
        raise _wrong_type(path, "id", "text or whole numbers", column.type)
    found = clean_ids(names_of(column, "id").values)
    left_out["null_id"] += column.null_count
    left_out["no_id"] += found.null_count - column.null_count
    return found


def _gains(column: pa.ChunkedArray, path: Path, left_out: Counter[str]) -> pa.Array:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise _wrong_type(path, "gain", "numbers", kind)
    left_out["null_gain"] += column.null_count
    gains = columns.plain(column.cast(pa.float64()))
    right = pc.and_(pc.is_finite(gains), pc.greater_equal(gains, 0))
    wrong = gains.filter(pc.invert(pc.fill_null(right, True)))
    if len(wrong):
        came = f"{len(wrong):,} others, {wrong[0].as_py()} first"
        fix = "give what an action is worth: 1 for a click, more for a purchase, 0 for what was shown and left"
        raise InputError(f"gain in {path}: finite numbers of 0 and more", came, fix)
    return gains


def days_of(column: pa.ChunkedArray, path: Path, left_out: Counter[str]) -> pa.Array:
    """(n,) date32: the days of a log, null where there is none, which `left_out` counts."""
    values = columns.plain(column)
    left_out["null_day"] += values.null_count
    if pa.types.is_string(values.type):
        written = pc.utf8_trim_whitespace(columns.readable(values))
        is_day = pc.fill_null(pc.match_substring_regex(written, _ISO_DAY), True)
        values = None if not pc.all(is_day).as_py() else _parsed(written)
        if values is None:
            came = f"{column.type}, such as {_first_of(written, is_day)!r}"
            raise InputError(f"day in {path} as dates, times, or text such as 2026-11-30", came, "cast the column")
    elif not (pa.types.is_date(values.type) or pa.types.is_timestamp(values.type)):
        raise _wrong_type(path, "day", "dates, times, or text such as 2026-11-30", column.type)
    return pc.cast(values, pa.date32(), safe=False)  # a time with a zone counts in UTC


def _parsed(written: pa.Array) -> pa.Array | None:
    try:
        return pc.cast(written, pa.date32())
    except pa.ArrowInvalid:  # 2026-02-30
        return None


def _first_of(written: pa.Array, right: pa.Array) -> Any:
    wrong = written.filter(pc.invert(right))
    if len(wrong):
        return wrong[0].as_py()
    return next((one for one in written.to_pylist() if one and _parsed(pa.array([one])) is None), None)


def _wrong_type(path: Path, name: str, expected: str, came: pa.DataType) -> InputError:
    return InputError(f"{name} in {path}: {expected}", f"{came}", "cast the column")


def _one_spelling(table: pa.Table) -> pa.Table:
    """Queries that differ in case alone as the spelling that has most of the gain, of equals the first by character."""
    weights = _groups(table, ["query"], [("gain", "sum")])
    best: dict[str, tuple[float, str]] = {}
    for query, gain in zip(weights["query"].to_pylist(), weights["gain_sum"].to_pylist(), strict=True):
        best[query.casefold()] = min(best.get(query.casefold(), (-gain, query)), (-gain, query))
    encoded = columns.plain(table["query"]).dictionary_encode()
    spelled = pa.array([best[query.casefold()][1] for query in encoded.dictionary.to_pylist()], pa.string())
    queries = pa.DictionaryArray.from_arrays(encoded.indices, spelled).cast(pa.string())
    return table.set_column(table.schema.get_field_index("query"), "query", queries)


def _summed(table: pa.Table) -> pa.Table:
    """Each query, id and day once, in their order; sums are the same in whatever order the rows came."""
    ordered = table.sort_by([(name, "ascending") for name in ("query", "id", "day", "gain")])
    summed = _groups(ordered, ["query", "id", "day"], [("gain", "sum")]).rename_columns(["query", "id", "day", "gain"])
    return summed.select(list(COLUMNS)).sort_by([(name, "ascending") for name in ("query", "id", "day")])


def _groups(table: pa.Table, keys: Sequence[str], sums: Sequence[tuple[str, str]]) -> pa.Table:
    return table.group_by(list(keys), use_threads=False).aggregate(list(sums))
