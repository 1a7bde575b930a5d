"""Whether the values of an attribute are others: prices in cents, every product of one brand."""

from __future__ import annotations

from lookup.store.entries.drift import Drift
from pipeline.publish.gates.against_parent import DriftGate, Figure


class Gate(DriftGate):
    """Distance of the values from the parent's, of the products that are kept and the attribute where it is largest:
    see pipeline/publish/drift/distances.py.
    """

    name, bound, rank = "attribute_shift", "max_attribute_shift", 160
    fix = "look at some values of the column: another unit, currency or decimal mark, or one value for all?"

    def figure(self, drift: Drift) -> Figure:
        """See DriftGate."""
        shift = max((one.shift or 0.0 for one in drift.attributes), default=0.0)
        moved = [f"{one.name} {one.shift:.2f}" for one in drift.attributes if one.shift]
        where = f"distance of the values from the parent's: {', '.join(moved) or 'none'}"
        return Figure(shift, shift * drift.compared, where)
