"""Feeds for tests, and what becomes of them through the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from click.testing import Result

from tests.support.command import vitrine


def imported(source: Path | str, folder: Path, *more: object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(the products, the report) of an import that ends well."""
    done = vitrine("import", source, "--to", folder, *more)
    assert done.exit_code == 0, done.stderr
    report: dict[str, Any] = json.loads((folder / "_import.json").read_text())
    rows: list[dict[str, Any]] = pq.read_table(folder / "products.parquet").to_pylist()
    assert len(rows) == report["rows_written"]
    return rows, report


def import_text(folder: Path, text: str | bytes, *more: object, name: str = "feed.csv") -> Result:
    """The command on a feed of this text, into `folder`/shop."""
    return vitrine("import", _written(folder / name, text), "--to", folder / "shop", *more)


def import_rows(
    folder: Path, text: str | bytes, *more: object, name: str = "feed.csv"
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(the products, the report) of a feed of this text."""
    return imported(_written(folder / name, text), folder / "shop", *more)


def _written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def column(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    """The values of one column."""
    return [row[name] for row in rows]
