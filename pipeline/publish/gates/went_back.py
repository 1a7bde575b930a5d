"""Whether a snapshot is made from what a person went back from.

The run after a rollback reads the same catalog under the same config, more often than not. It would publish over the
rollback, by itself and at night, what somebody took back by day.
"""

from __future__ import annotations

from collections.abc import Iterable

from lookup.store.publications.history import readable
from lookup.store.publications.publication import Publication
from lookup.store.store import Store
from pipeline.publish.gates.base import Comparison, SnapshotGate
from pipeline.report.run_report import GateResult

FIX = "mend the catalog or the config"


class Gate(SnapshotGate):
    """1 where the same rows, models and settings were gone back from; nothing where nobody went back."""

    name, bound, rank = "went_back", 0, 5

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        if comparison.base is None or not comparison.base.held:
            return
        mine = {comparison.new.made_from, comparison.new.built_from}.intersection(comparison.base.held)
        where = "made from what nobody went back from"
        if mine:
            where = f"made from what was gone back from{_since(comparison.store, mine)}"
        yield self.result(comparison.bounds, float(bool(mine)), where, FIX)


def _since(store: Store, contents: set[str]) -> str:
    """When that was, why, and by which publication: the first that has held it ever since."""
    first: Publication | None = None
    for one in readable(store.backend):
        if contents.isdisjoint(one.held):
            break
        first = one
    if first is None:
        return ""
    when = f" since {first.published_at:%Y-%m-%d %H:%M} UTC" if first.published_at is not None else ""
    return f"{when} by publication {first.number}, {first.reason!r}"
