"""How many products more than in the parent have a text that another one has: all `N/A`, or cut to a few letters."""

from __future__ import annotations

from lookup.store.entries.drift import Drift
from pipeline.publish.drift.drift import TEXTS
from pipeline.publish.gates.against_parent import DriftGate, Figure
from pipeline.publish.gates.base import share


class Gate(DriftGate):
    """Texts that came before in the partition, more than in the parent, of the products that are kept."""

    name, bound, rank, silent = "texts_repeated", "max_texts_repeated", 154, TEXTS
    fix = "look at some titles of the catalog: do they say something of their products?"

    def figure(self, drift: Drift) -> Figure:
        """See DriftGate."""
        more = max(0, drift.texts_repeated)
        where = f"{more:,} of {drift.compared:,} products, more than in the parent, have a text that another one has"
        return Figure(share(more, drift.compared), more, where)
