"""How many products have another text than in the parent: shuffled, cut, or read in another charset."""

from __future__ import annotations

from lookup.store.entries.drift import Drift
from pipeline.publish.drift.drift import TEXTS
from pipeline.publish.gates.against_parent import DriftGate, Figure
from pipeline.publish.gates.base import share


class Gate(DriftGate):
    """Products with another text, of those that are kept. Texts are compared, not vectors: another encoder changes
    none.
    """

    name, bound, rank, silent = "texts_changed", "max_texts_changed", 150, TEXTS
    fix = "look at some titles of the catalog: are they those of their products, whole, and in the right charset?"

    def figure(self, drift: Drift) -> Figure:
        """See DriftGate."""
        changed = drift.texts_changed
        where = f"{changed:,} of {drift.compared:,} products that the parent has too have another text"
        return Figure(share(changed, drift.compared), changed, where)
