"""What a run measured of a snapshot to compare the next night with: kept in its manifest."""

from __future__ import annotations

from lookup.store.fields import Record


class Agreement(Record):
    """How far texts and photos of `products` say alike which of these are alike: the correlation of their similarities,
    1 where they agree, 0 where texts belong to other photos; and its standard error.
    """

    products: int
    value: float
    error: float


class FoundAgain(Record):
    """Of products that were `asked` for by their own text or photo (`kind`), encoded anew, those that were `found`."""

    kind: str
    asked: int
    found: int


class PartitionFigures(Record):
    """Of the rows and the index of one partition; a partition that stays as it is keeps them."""

    agreement: Agreement | None = None  # None: too few products have both, or a tower is not kept
    found_again: tuple[FoundAgain, ...] = ()


class GoldenCount(Record):
    """The golden queries of a run: 64 hex digits of what was asked, and how many found what they expect."""

    asked: str
    queries: int
    found: int
    unknown: int  # whose expected products the snapshot does not have
