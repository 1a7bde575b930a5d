"""Whether an attribute lost its values."""

from __future__ import annotations

from lookup.store.entries.drift import Drift
from pipeline.publish.gates.against_parent import DriftGate, Figure


class Gate(DriftGate):
    """Rise of the share without a value, of the products that are kept and the attribute where it is largest. A price
    that cannot be read has none.
    """

    name, bound, rank = "attribute_nulls", "max_null_rise", 158
    fix = "look whether the column is filled, and written as before: filters on it would find nothing"

    def figure(self, drift: Drift) -> Figure:
        """See DriftGate."""
        rise = max((one.nulls for one in drift.attributes), default=0.0)
        beyond = [f"{one.name} {one.nulls:.1%}" for one in drift.attributes if one.nulls > 0]
        where = f"more products without a value than in the parent: {', '.join(beyond) or 'of no attribute'}"
        return Figure(max(0.0, rise), rise * drift.compared, where)
