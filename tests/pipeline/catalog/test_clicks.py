"""What a click log may be, and what becomes of what it may not."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import InputError
from pipeline.catalog.clicks import Clicks, read_clicks

DAY = datetime.date(2026, 11, 29)
ROW = {"query": ["red dress"], "id": ["P1"], "gain": [1.0], "day": [DAY]}


def read(folder: Path, **columns: Any) -> Clicks:
    """The log of these columns, one good row where nothing else is said."""
    table = {name: value for name, value in (ROW | columns).items() if value is not None}
    pq.write_table(pa.table(table), folder / "log.parquet")
    return read_clicks(folder / "log.parquet", 50)


@pytest.mark.parametrize(
    ("columns", "came"),
    [
        ({"gain": [-1.0]}, "-1.0 first"),
        ({"gain": [float("nan")]}, "nan first"),
        ({"gain": [float("inf")]}, "inf first"),
        ({"gain": ["1"]}, "string"),
        ({"gain": [True]}, "bool"),
        ({"query": [7]}, "int64"),
        ({"id": [DAY]}, "date32"),
        ({"day": ["29.11.2026"]}, "'29.11.2026'"),
        ({"day": ["2026-02-30"]}, "'2026-02-30'"),
        ({"day": [20261129]}, "int64"),
        ({"day": None}, "without day; it has query, id, gain"),
        ({"query": [" \u200b "]}, "1 rows in"),
        ({"id": [0.5]}, "1 no_id"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, columns: dict[str, Any], came: str) -> None:
    """A gain that is negative or no number, a type that cannot be meant, a missing column, no row that says a thing."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, **columns)
    assert came in caught.value.came


def test_rows_that_lack_something_are_counted(tmp_path: Path) -> None:
    """Nulls and empty queries are left out by what they lack; what is left is cleaned as a search cleans it."""
    found = read(
        tmp_path,
        query=["<b>Red</b>  dress", None, "\u200b", "a", "b", "c", "🎁"],
        id=["P1 ", "P1", "P1", None, "P1", "P1", "P1"],
        gain=[1, 1, 1, 1, None, 1, 1],
        day=[DAY, DAY, DAY, DAY, DAY, None, DAY],
    )
    assert found.table["query"].to_pylist() == ["Red dress", "🎁"]
    assert found.table["id"].to_pylist() == ["P1", "P1"]
    counted = {why: rows for why, rows in found.left_out.items() if rows}
    assert counted == {"null_query": 1, "empty_query": 1, "null_id": 1, "null_gain": 1, "null_day": 1}


def test_equal_rows_are_summed_whatever_their_spelling(tmp_path: Path) -> None:
    """Queries that differ in case are one, spelled as most of the gain is; each query, id and day is there once."""
    found = read(
        tmp_path,
        query=["red dress", "Red Dress", "RED  DRESS", "red dress"],
        id=pa.array([1, 1, 1, 2]),
        gain=pa.array([1, 5, 2, 1], pa.int32()),
        day=["2026-11-29", "2026-11-29", "2026-11-29", "2026-11-28"],
    )
    assert found.gains() == {"Red Dress": {"1": 8.0, "2": 1.0}}
    assert found.table.num_rows == 2
    assert found.days == [datetime.date(2026, 11, 28), DAY]
    assert found.since(DAY).gains() == {"Red Dress": {"1": 8.0}}
    assert found.before(DAY).gains() == {"Red Dress": {"2": 1.0}}


@pytest.mark.parametrize(
    "day",
    [
        pa.array([datetime.datetime(2026, 11, 29, 23, 59)], pa.timestamp("us")),
        pa.array([datetime.datetime(2026, 11, 29, 23, 59)], pa.timestamp("ns", "UTC")),
        pa.array([DAY], pa.date64()),
        pa.array([" 2026-11-29"], pa.large_string()),
        pa.array(["2026-11-29"]).dictionary_encode(),
    ],
)
def test_days_are_dates_times_or_text(tmp_path: Path, day: pa.Array) -> None:
    """A time counts by its day, in UTC where it has a zone."""
    assert read(tmp_path, day=day).days == [DAY]


@pytest.mark.parametrize("ids", [pa.array([7]), pa.array([7.0]), pa.array(["7"]).dictionary_encode(), pa.array([b"7"])])
def test_ids_are_those_of_the_catalog(tmp_path: Path, ids: pa.Array) -> None:
    """Whole numbers and floats name what the catalog's text does."""
    assert read(tmp_path, id=ids).gains() == {"red dress": {"7": 1.0}}


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "A", "b", "c d", "C D"]),
        st.sampled_from(["1", "2"]),
        st.floats(0, 10, width=32),
        st.integers(1, 3).map(lambda day: datetime.date(2026, 11, day)),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=30)
@given(ROWS, st.randoms())
def test_the_order_of_rows_does_not_matter(tmp_path_factory: pytest.TempPathFactory, rows: Any, lots: Any) -> None:
    """A shuffled log is the same log, sums to the last bit included."""
    folder, found = tmp_path_factory.mktemp("log"), []
    for _ in range(2):
        found.append(read(folder, **dict(zip(ROW, map(list, zip(*rows, strict=True)), strict=True))))
        lots.shuffle(rows)
    assert found[0] == found[1]
