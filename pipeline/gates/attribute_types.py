"""The gate of attribute types: a filter that reads one night's attribute must read the next one's."""

from __future__ import annotations

from collections.abc import Mapping

from lookup.manifest import Manifest
from pipeline.catalog.attribute_types import changed
from pipeline.gates.result import result
from pipeline.report import GateResult


def attribute_types(types: Mapping[str, str], parent: Manifest, bound: int) -> GateResult:
    """How many attributes of a whole run do not compare with the parent's; `types` are those of its plan."""
    differing = changed(types, parent.attribute_types)
    listed = "; ".join(f"{name}: {then} in the parent, {now} now" for name, (then, now) in differing.items())
    where = listed or "every attribute compares with the parent's"
    fix = (
        "filters on it would end with an error: write the column as before, declare it in catalog.prices if it became "
        f"the text of a price, or if it is right run once with gates.max_changed_types={len(differing)}"
    )
    return result("attribute_types", len(differing), "<=", bound, where, fix)
