"""How the vectors of rows came to be: what a run counts. Beam is not needed to read it, as `vitrine verify` does."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Tally:
    """How the vectors of rows came to be: texts, and photos of products, that were encoded, and that were copied from
    earlier shards; and the files of earlier shards that turned out to be damaged.
    """

    texts_encoded: int = 0
    texts_copied: int = 0
    photos_encoded: int = 0
    photos_copied: int = 0
    damaged: frozenset[str] = frozenset()

    @property
    def counts(self) -> dict[str, int]:
        """The counts by their names."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, int)}

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        sums = {name: value + other.counts[name] for name, value in self.counts.items()}
        return Tally(**sums, damaged=self.damaged | other.damaged)


NOTHING_DONE = Tally()
