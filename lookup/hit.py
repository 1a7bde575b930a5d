"""What a search returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from lookup.filters.prices import PRICE, WIDE
from lookup.filters.values import FLOATS
from lookup.understood.meaning import Understood
from lookup.why.why import Why


@dataclass(frozen=True)
class Hit:
    """One product found.

    `score` is the inner product of the query's and the product's embedding, the same scale in every partition.
    `attributes` are as the catalog has them: text as written, decimals as Decimal, floats of 32 bits as the shortest
    number that reads back as the same (19.99), dates and times of datetime, or as text where it has none (nanoseconds,
    the year 10000).
    `photo` is where the catalog has the first photo: a path or URI as written in the catalog, or None.
    `source` is (catalog file, first row group of the unit, row number counted from there): the catalog row itself.
    """

    id: str
    score: float
    partition: str
    attributes: dict[str, Any]
    photo: str | None
    source: tuple[str, int, int]
    why: Why | None = None  # where that was asked for
    others: int | None = None  # of its partition, in its group of near-duplicates; None: each product is a hit


def as_document(hit: Hit) -> dict[str, Any]:
    """A hit as JSON has it: without what was not asked for."""
    fields = asdict(hit)
    return {name: value for name, value in fields.items() if name not in ("why", "others") or value is not None}


@dataclass(frozen=True)
class Reranked:
    """The model that put hits in their order: its type, its identity (64 hex digits), how many candidates it orders."""

    type: str
    identity: str
    top: int

    def __str__(self) -> str:
        return f"the first {self.top:,} candidates re-ranked by {self.type} {self.identity[:16]}"


@dataclass(frozen=True)
class Found:
    """The hits of a query, best first, and what was understood of it: nothing where nobody asked for that. `history` is
    the share that one has in what was asked by, `reranked` the model that ordered hits; None where there is none.
    """

    hits: list[Hit]
    understood: Understood
    history: float | None = None
    reranked: Reranked | None = None


def value_of(scalar: pa.Scalar) -> Any:
    """An attribute's value as a hit shows it; None for null."""
    if not scalar.is_valid:
        return None
    kind = scalar.type
    if kind == PRICE:
        return _price_of(scalar)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":  # as_py() gives what pandas has, where that is installed
        if scalar.value % 1000:
            return _iso(scalar)
        scalar = scalar.cast(pa.timestamp("us", kind.tz))
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return float(str(FLOATS[kind.bit_width](scalar.as_py())))
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):  # a year that Python's datetime does not have
        return _iso(scalar)


def _price_of(scalar: pa.StructScalar) -> Any:
    """A declared price: the text as written; of a column of numbers the number, without zeros at its end."""
    written, amount = scalar["written"].as_py(), scalar["amount"].as_py()
    if written is not None or amount is None:
        return written
    shortest = amount.normalize(WIDE)
    return shortest if shortest.as_tuple().exponent <= 0 else shortest.quantize(Decimal(1), context=WIDE)


def words(value: Any) -> str:
    """An attribute's value for people; empty for null."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(words, value))
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _iso(scalar: pa.Scalar) -> str:
    """ISO 8601 by numpy, which has every year and every unit; a time with a zone in UTC."""
    kind = scalar.type
    if pa.types.is_date(kind):
        return str(np.datetime64(scalar.value, "D" if pa.types.is_date32(kind) else "ms"))
    return f"{np.datetime64(scalar.value, kind.unit)}{'Z' if kind.tz else ''}"
