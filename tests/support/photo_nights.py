"""Nights over products whose photos are URLs of a host on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import Result
from PIL import Image

from pipeline.report.run_report import RunReport
from tests.support.command import ANY_NIGHT, vitrine
from tests.support.photo_runs import OPEN, PHOTOS, saved
from tests.support.photo_server import PhotoServer


def photo(colour: str) -> bytes:
    """A small JPEG of one colour."""
    return saved(Image.new("RGB", (24, 16), colour), "JPEG")


def write_products(folder: Path, urls: list[str]) -> Path:
    """A catalog of one product a photo, and one that has its photo in the folder."""
    if not (folder / "own.jpg").exists():
        (folder / "own.jpg").write_bytes(photo("yellow"))
    names = [*urls, "own.jpg"]
    table = {"id": [f"P{n}" for n in range(len(names))], "title": [f"dress {n}" for n in range(len(names))]}
    pq.write_table(pa.table({**table, "image_link": names}), folder / "a.parquet", row_group_size=1000)
    return folder / "a.parquet"


def words_for(folder: Path, allowing: Sequence[str], *more: str) -> list[str]:
    """What follows `vitrine run` on the catalog of `write_products`, every photo asked for each night; the overrides
    `allowing` allow its hosts.
    """
    where = (f"catalog.path={folder / 'a.parquet'}", f"catalog.image_root={folder}", f"store.path={folder / 'store'}")
    kept = (f"catalog.photo_cache={folder / 'cache'}", "catalog.photo_fresh_hours=0", "catalog.photo_fetch_seconds=2")
    return ["-c", "configs/weightless.yaml", *where, *PHOTOS, *OPEN, *ANY_NIGHT, *allowing, *kept, *more]


def night(
    folder: Path, host: PhotoServer, *paths: str, more: tuple[str, ...] = (), code: int = 0
) -> tuple[Result, RunReport]:
    """A run over products with these photos, as paths of the host or as URLs; the command's end, and its report."""
    write_products(folder, [path if "://" in path else host.url(path) for path in paths])
    result = vitrine("run", *words_for(folder, host.allowing(), *more))
    assert result.exit_code == code, result.stderr
    return result, newest_report(folder)


def newest_report(folder: Path) -> RunReport:
    """Of the last run of these products."""
    newest = max((folder / "store" / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    return RunReport.model_validate_json(newest.read_bytes())
