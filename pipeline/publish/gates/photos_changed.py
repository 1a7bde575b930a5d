"""How many products have other photos than in the parent: shuffled, or replaced by a placeholder."""

from __future__ import annotations

from lookup.store.entries.drift import Drift
from pipeline.publish.drift.drift import PHOTOS
from pipeline.publish.gates.against_parent import DriftGate, Figure
from pipeline.publish.gates.base import share


class Gate(DriftGate):
    """Products with other photos, of those that are kept. A photo that was only written anew is none, as far as vectors
    tell: they do under an equal encoder, where shards have them. Else it is not compared where times of files may be
    all that changed.
    """

    name, bound, rank, silent = "photos_changed", "max_photos_changed", 152, PHOTOS
    fix = "look at the photos of some products: are they theirs, and of products?"

    def figure(self, drift: Drift) -> Figure:
        """See DriftGate."""
        changed = drift.photos_changed
        where = f"{changed:,} of {drift.compared:,} products that the parent has too have other photos"
        return Figure(share(changed, drift.compared), changed, where)
