"""Whether more photos could not be read than in the parent, though fewer than are refused outright."""

from __future__ import annotations

from collections.abc import Mapping

from lookup.store.manifest import Manifest
from pipeline.publish.gates.against_parent import Counts, Figure, ParentGate, rises
from pipeline.publish.gates.base import Comparison


class Gate(ParentGate):
    """Rise of the share of photos that are lost, over the parent's."""

    name, bound, rank = "photos_lost_rise", "max_photos_lost_rise", 81
    fix = "look whether photos can be reached, which the report has by reason"

    def figures(self, comparison: Comparison) -> Mapping[str | None, Figure]:
        """See ParentGate."""
        return rises(comparison, _photos_lost, "photos lost")


def _photos_lost(manifest: Manifest) -> Counts:
    return {name: (lost, photos) for name, (photos, lost) in manifest.shards.segments.photos_of().items()}
