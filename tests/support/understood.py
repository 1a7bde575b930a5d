"""A small shop whose products have prices, ratings, brands, materials, colours and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from tests.support.command import run_titles, write_titles

ROWS = 48
BRANDS = ("Acme", "Under Armour", "No Fear", "ACME")
MATERIALS = ("leather", "cotton", None, "wool")
COLOURS = ("red", "blue", "green")
SIZES = ("41", "42", "M")
KINDS = ("boots", "dress", "lamp", "mug")
WITH_ALL = ("catalog.attributes=[title,brand,price,rating,material,color,size]", "catalog.prices=[price]")


def shop(folder: Path, *more: str, currency: str | Sequence[str] = " EUR") -> Path:
    """The store of its 48 products: product n costs n and a half, in one currency or in turns, and is rated 1 to 5."""
    signs = [currency] if isinstance(currency, str) else currency
    catalog = write_titles(
        folder / "c.parquet",
        [f"{KINDS[n % 4]} number {n}" for n in range(ROWS)],
        brand=[BRANDS[n // 4 % 4] for n in range(ROWS)],
        price=[f"{n + 0.5:.2f}{signs[n % len(signs)]}" for n in range(ROWS)],
        rating=pa.array([1 + n % 9 / 2 for n in range(ROWS)]),
        material=[MATERIALS[n // 2 % 4] for n in range(ROWS)],
        color=[COLOURS[n % 3] for n in range(ROWS)],
        size=[SIZES[n // 3 % 3] for n in range(ROWS)],
    )
    done = run_titles(catalog, folder / "store", *WITH_ALL, *more)
    assert done.exit_code == 0, done.stderr
    return folder / "store"
