"""How the vectors of rows came to be: what a run counts. Beam is not needed to read it, as `vitrine verify` does."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Tally:
    """How the vectors of rows came to be: texts, and photos of products, that were encoded, and that were copied from
    earlier shards; the files of earlier shards that turned out to be damaged; and why what was encoded had to be, as
    (modality, reason, products), see why_encoded.py.
    """

    texts_encoded: int = 0
    texts_copied: int = 0
    photos_encoded: int = 0
    photos_copied: int = 0
    damaged: frozenset[str] = frozenset()
    why: tuple[tuple[str, str, int], ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """The counts by their names."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, int)}

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        sums = {name: value + other.counts[name] for name, value in self.counts.items()}
        why: Counter[tuple[str, str]] = Counter()
        for modality, reason, products in (*self.why, *other.why):
            why[modality, reason] += products
        listed = tuple((*key, products) for key, products in sorted(why.items()))
        return Tally(**sums, damaged=self.damaged | other.damaged, why=listed)


NOTHING_DONE = Tally()
