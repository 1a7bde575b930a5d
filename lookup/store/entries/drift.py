"""How far a snapshot is from its parent, in numbers that the next night may be laid beside."""

from __future__ import annotations

from lookup.store.fields import Record


class AttributeDrift(Record):
    """An attribute of the products that parent and snapshot have. `nulls` is the rise of the share of those without a
    value, -1..1; `shift` how far the values are from what they were, 0..1, None where that is not measured: texts of
    many values, lists, times.
    """

    name: str
    nulls: float
    shift: float | None


class Drift(Record):
    """Counts of products, `before` in the parent and `now`. Of the `kept` ones all others but `moved` are in the same
    partition, and of these so many have another text, or other photos. Repeats are texts, or vectors of photos, that
    another product of the partition has too: how many more there are than in the parent; less than 0: fewer.
    """

    before: int
    now: int
    kept: int
    moved: int = 0
    texts_changed: int = 0
    photos_changed: int = 0
    texts_repeated: int = 0
    photos_repeated: int = 0
    attributes: tuple[AttributeDrift, ...] = ()

    @property
    def compared(self) -> int:
        """Products that are kept in their partition."""
        return self.kept - self.moved
