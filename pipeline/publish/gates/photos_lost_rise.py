"""Whether more photos could not be read than in the parent, though fewer than are refused outright."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.publish.gates.against_parent import Figure, ParentGate, rises
from pipeline.publish.gates.base import Comparison


class Gate(ParentGate):
    """Rise of the share of photos that are lost, over the parent's."""

    name, bound, rank = "photos_lost_rise", "max_photos_lost_rise", 81
    fix = "look whether photos can be reached, which the report has by reason"

    def figures(self, comparison: Comparison) -> Mapping[str | None, Figure]:
        """See ParentGate."""
        assert comparison.old is not None
        both = (one.shards.segments.photos_of() for one in (comparison.old, comparison.new))
        counts = [{name: (lost, photos) for name, (photos, lost) in found.items()} for found in both]
        return rises(comparison, counts[0], counts[1], "photos lost")
