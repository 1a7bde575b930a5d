"""What is recorded of the centers of categories, by which searches know the likely ones, and how sure that is."""

from __future__ import annotations

from typing import ClassVar

from lookup.store.fields import FileRef, Grown, Record


class CategoryEntry(Record):
    """A partition: the index that its centers are of, and how many rows of the files `centers` and `queries` it has."""

    name: str
    index: str
    centers: int
    queries: int


class CategoryFigures(Grown):
    """What was measured on `asked` held-out products, asked for by their own text or photo.

    `right`: share whose likeliest category is theirs. `ece`: expected calibration error, the mean distance of the
    probability of the likeliest category from how often it is right, by tenths. `searched`: mean share of the
    categories that are searched where those are left out that together are `unsearched` likely at most; `kept`: mean
    share of the first 10 hits of all categories that these have; `same`: share of queries with the very same hits.
    `fewest` of the likeliest are searched at least: a query's hits come from more categories than its own.
    """

    unsaid: ClassVar[frozenset[str]] = frozenset({"fewest"})

    asked: int
    right: float
    ece: float
    unsearched: float
    searched: float
    kept: float
    same: float
    fewest: int = 1


class UnderstandingRecord(Record):
    """Centers of the partitions, (n, dim) float32 rows of the file `centers`, in the order of `categories`; of the file
    `queries` likewise those that were asked. A probability is the softmax of scores over `temperature`.
    """

    files: dict[str, FileRef]
    categories: tuple[CategoryEntry, ...]
    temperature: float
    figures: CategoryFigures | None  # None: nothing could be asked
