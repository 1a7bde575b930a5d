"""A shop whose catalog is exported anew before each night, with encoders that count what they are asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from encoders.types.hashed_text import HashedText
from encoders.types.photo_descriptors import PhotoDescriptors
from tests.support.command import ANY_NIGHT, vitrine
from tests.support.json_schema import check_run_json
from tests.support.stores import manifest_of

ROWS = 60
KINDS = ("Clothing", "Shoes", "Home")
NOT_MEASURED = ("index.text_queries=false", "index.photo_queries=false")  # they are encoded too


class Shop:
    """A shop whose catalog is exported anew before each night, and what its encoders are asked for."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, rows: int = ROWS, kinds: Sequence[str] = KINDS
    ) -> None:
        self.folder, self.photos = folder, folder / "photos"
        self.photos.mkdir()
        for n in range(rows):
            paint(self.photos / f"{n}.png", n % ROWS)
        self.table = pa.table(
            {
                "id": [f"P{n}" for n in range(rows)],
                "title": [f"red dress number {n}" for n in range(rows)],
                "image_link": [f"{n}.png" for n in range(rows)],
                "price": pa.array([n + 0.5 for n in range(rows)]),
                "product_type": [kinds[n % len(kinds)] for n in range(rows)],
            }
        )
        self.group_rows, self.texts, self.images = 20, 0, 0
        text, photos = HashedText.forward, PhotoDescriptors.forward

        def count_texts(encoder: HashedText, chunk: Any, role: Any) -> Any:
            self.texts += len(chunk) * (role == "item")
            return text(encoder, chunk, role)

        def count_photos(encoder: PhotoDescriptors, prepared: Any) -> Any:
            self.images += len(prepared)
            return photos(encoder, prepared)

        monkeypatch.setattr(HashedText, "forward", count_texts)
        monkeypatch.setattr(PhotoDescriptors, "forward", count_photos)

    def night(self, *more: str, store: str = "store", refused: bool = False) -> dict[str, Any]:
        """One run of the catalog as it is by now; run.json."""
        self.texts = self.images = 0
        done = vitrine(*self.words(*more, store=store))
        assert (done.exit_code != 0) == refused, done.stderr
        report: dict[str, Any] = json.loads(
            (sorted((self.folder / store / "runs").iterdir())[-1] / "run.json").read_text()
        )
        check_run_json(report)
        return report

    def words(self, *more: str, store: str = "store") -> list[str]:
        """The words of the command that runs the catalog, written as it is by now."""
        pq.write_table(self.table, self.folder / "c.parquet", row_group_size=self.group_rows, write_page_checksum=True)
        where = (f"catalog.path={self.folder / 'c.parquet'}", f"catalog.image_root={self.photos}")
        fixed = (
            "catalog.text=[title]",
            "catalog.attributes=[title,price]",
            "shards.unit_rows=20",
            *NOT_MEASURED,
            *ANY_NIGHT,
        )
        return [
            "run", "-c", "configs/weightless.yaml", *where, f"store.path={self.folder / store}", *fixed, *more
        ]  # fmt: skip

    def change(self, column: str, values: list[Any]) -> None:
        """Another column in the place of one."""
        at = self.table.schema.get_field_index(column)
        self.table = self.table.set_column(at, column, pa.array(values, self.table.schema.field(column).type))

    def values(self, column: str) -> list[Any]:
        """A column as it is."""
        found: list[Any] = self.table.column(column).to_pylist()
        return found


def paint(path: Path, n: int) -> None:
    Image.new("RGB", (40, 40), (4 * n, 250 - 4 * n, 77)).save(path)


def content(store: Path) -> tuple[str, list[str]]:
    """What a snapshot holds, and the files that it names."""
    manifest = manifest_of(store)
    return manifest.content, sorted(f"{file.path} {file.blake3}" for file in manifest.files())
