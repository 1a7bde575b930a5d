"""How many products more than in the parent look to the last bit like another one: a placeholder, or black."""

from __future__ import annotations

from lookup.store.entries.drift import Drift
from pipeline.publish.drift.drift import LOOKS
from pipeline.publish.gates.against_parent import DriftGate, Figure
from pipeline.publish.gates.base import share


class Gate(DriftGate):
    """Vectors of photos that came before in the partition, more than in the parent, of the products that are kept.
    They are read only where so many photos changed that it may matter.
    """

    name, bound, rank, silent = "photos_repeated", "max_photos_repeated", 156, LOOKS
    fix = "look at the photos of some products: are they a placeholder, or empty?"

    def figure(self, drift: Drift) -> Figure:
        """See DriftGate."""
        more = max(0, drift.photos_repeated)
        where = (
            f"{more:,} of {drift.compared:,} products, more than in the parent, have photos that look like another's"
        )
        return Figure(share(more, drift.compared), more, where)
