"""Limits hold before memory is taken: what a catalog file claims is measured before it is decoded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foundation.errors import InputError
from pipeline.catalog import columns
from pipeline.catalog.pieces import Bounds, unit_rows
from pipeline.files.discover import open_file
from tests.support.bounded import arrow_memory
from tests.support.command import TITLES_ONLY, run_titles, told
from tests.support.stores import last_log

ROWS = 400
MEGABYTE = "red dress " * 100_000
# A run of a tiny catalog in a process of its own, and what the most memory was that it held.
MEASURED = """
import re, sys
from pathlib import Path
from pipeline.commands.cli import cli
try:
    cli(sys.argv[1:], prog_name="vitrine")
except SystemExit as done:
    most = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())
    print("exit", done.code, "MB", int(most[1]) // 1024)
"""


def write(path: Path, title: Any, **options: Any) -> Path:
    table = pa.table({"id": pa.array([str(number) for number in range(len(title))]), "title": title})
    pq.write_table(table, path, compression="zstd", **options)
    assert path.stat().st_size < 300_000
    return path


def dictionary() -> pa.Array:
    """One megabyte in each of 2,100 rows."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(2100, np.int32)), pa.array([MEGABYTE]))


def test_a_file_of_kilobytes_takes_no_gigabytes(tmp_path: Path) -> None:
    """2 GB of text in a file of kilobytes end with one message, under 500 MB."""
    path = write(tmp_path / "a.parquet", dictionary(), store_schema=False)
    words = [
        "run",
        "-c",
        "configs/weightless.yaml",
        *TITLES_ONLY,
        f"catalog.path={path}",
        f"store.path={tmp_path / 's'}",
    ]
    done = subprocess.run([sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=False)
    what, code, unit, peak = done.stdout.split()[-4:]
    assert (what, code, unit) == ("exit", "2", "MB"), done.stderr
    assert "bytes once decoded" in told(done.stderr)[1]
    assert int(peak) < 500


def test_a_row_that_is_too_large_is_a_reject(tmp_path: Path) -> None:
    """A row over catalog.max_row_bytes is left out with its own reason, and the rows beside it are not."""
    titles = pa.array([MEGABYTE if number == 7 else f"red dress {number}" for number in range(ROWS)])
    path = write(tmp_path / "a.parquet", titles)
    done = run_titles(path, tmp_path / "store", "catalog.max_row_bytes=500KB")
    assert done.exit_code == 0, done.stderr
    report = json.loads(last_log(tmp_path / "store", "run.json"))
    assert (report["rows_embedded"], report["rejects"]) == (ROWS - 1, {"row_too_large": 1})


def test_rows_are_measured_in_every_form() -> None:
    """Strings, bytes, dictionaries, lists, structs and numbers have the bytes of their values; null has none."""
    texts = pa.array(["abc", None, "é"])
    want = [3, 0, 2]
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()):
        assert columns.row_bytes(texts.cast(kind)).tolist() == want
    assert columns.row_bytes(texts.dictionary_encode()).tolist() == want
    assert columns.row_bytes(pa.array([{"a": "abc", "b": "d"}, None, {"a": "é", "b": None}])).tolist() == [4, 0, 2]
    lists = pa.array([["abc", None], None, ["é"], []])
    for kind in (pa.list_(pa.string()), pa.large_list(pa.string()), pa.list_(pa.dictionary(pa.int32(), pa.string()))):
        assert columns.row_bytes(lists.cast(kind)).tolist() == [19, 0, 10, 0]
    assert columns.row_bytes(pa.array([1, None])).tolist() == [8, 8]
    assert columns.row_bytes(pa.nulls(2)).tolist() == [0, 0]


def test_nulls_in_lists_are_counted_before_they_are_decoded(tmp_path: Path) -> None:
    """Two million nulls in one list are a few bytes in a file and 32 MB once decoded: refused by their number."""
    items = pa.nulls(2_000_000, pa.string())
    lists = pa.ListArray.from_arrays(pa.array([0, len(items)], pa.int32()), items)
    path = write(tmp_path / "a.parquet", lists, write_batch_size=len(items))
    with open_file(str(path)) as file, pytest.raises(InputError, match="takes 32,000,000"):
        unit_rows(str(path), file, [0], 0, ["title"], Bounds(2**26, 2**24))


def test_columns_share_what_may_be_decoded_at_a_time(tmp_path: Path) -> None:
    """Twelve columns of delta-coded text, kilobytes in the file and 192 MB once decoded, are read within the bytes of a
    unit together, not each.
    """
    text, names = "red dress " * 25_000, [f"c{number}" for number in range(12)]
    columns_of = {name: [text + str(number) for number in range(64)] for name in names}
    path, encoding = tmp_path / "a.parquet", dict.fromkeys(names, "DELTA_BYTE_ARRAY")
    pq.write_table(
        pa.table(columns_of),
        path,
        use_dictionary=False,
        column_encoding=encoding,
        compression="zstd",
        row_group_size=64,
    )
    with arrow_memory() as pool, open_file(str(path)) as file:
        read = unit_rows(str(path), file, [0], 0, names, Bounds(100_000, 20_000_000))
    assert min(read.too_large.to_pylist()) > 3_000_000
    assert pool.max_memory() < 40_000_000
