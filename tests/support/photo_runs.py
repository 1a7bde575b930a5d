"""Runs over products with given photos, and photos that are large or long to decode."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import Result
from PIL import Image

from tests.support.command import vitrine
from tests.support.stores import manifest_of

PHOTOS = ("catalog.image=image_link", "catalog.text=[title]", "catalog.attributes=[title]", "catalog.partition=null")
OPEN = ("gates.max_degraded_share=1", "gates.max_reject_share=1", "gates.min_recall=0")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def tried(folder: Path, photos: dict[str, bytes], *more: str) -> Result:
    """A run over products with these photos, and one good one."""
    photos = {**photos, "good.png": saved(Image.new("RGB", (40, 30), "red"), "PNG")}
    for name, raw in photos.items():
        (folder / name).write_bytes(raw)
    names = list(photos)
    table = {"id": names, "title": [f"red dress {name}" for name in names], "image_link": names}
    pq.write_table(pa.table(table), folder / "a.parquet")
    where = (f"catalog.path={folder / 'a.parquet'}", f"catalog.image_root={folder}", f"store.path={folder / 'store'}")
    return vitrine("run", "-c", "configs/weightless.yaml", *where, *PHOTOS, *OPEN, *more)


def ran(folder: Path, photos: dict[str, bytes], *more: str) -> tuple[int, dict[str, int]]:
    """(exit code, degraded by reason) of the same."""
    return tried(folder, photos, *more).exit_code, dict(manifest_of(folder / "store").degraded())


def huge(kind: str, width: int, height: int) -> bytes:
    """A photo of one colour, small as a file whatever its size; 1 bit a pixel where the format has that."""
    return saved(Image.new("1" if kind in ("PNG", "TIFF") else "L", (width, height), 1), kind)
