"""What the run of a plan takes beside earlier ones, by what its rows are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.compare.planned_rows import PlannedRows, compare_plan
from pipeline.config.published import same_models
from pipeline.config.sections import RunSettings
from pipeline.plan.history import Rates, measured_rates
from pipeline.preflight.check import Checked

# What of a partition makes its index another one; another order of its rows does, too.
_BUILT_FOR = ("new", "rejected_before", "text", "photo", "moved", "moved_away", "gone")


@dataclass(frozen=True)
class PlannedCost:
    """Seconds to read and encode, None: no run tells; and to build the indexes of partitions that change, of which
    there are `indexes`.
    """

    encode_seconds: float | None
    runs: int  # that told the rates
    indexes: int
    build_seconds: float


def plan_rows(settings: RunSettings, checked: Checked) -> tuple[PlannedRows, PlannedCost]:
    """The rows of a plan beside what its store publishes, and what the run takes; `settings` have what the published
    snapshot has measured.
    """
    store = Store.at(settings.store)
    snapshot = store.current()
    parent = None if snapshot is None else store.manifest(snapshot)
    rows = compare_plan(store, snapshot, parent, settings.embedding, checked.plan)
    rates = measured_rates(settings.store, settings.embedding.encoders)
    forecast = {name: one.seconds for name, one in checked.taken.partitions.items()}
    others = parent is not None and not same_models(settings.embedding, parent)
    return rows, cost_of(rows, rates, parent, forecast, checked.plan.rows, every=others)


def cost_of(
    rows: PlannedRows,
    rates: Rates | None,
    parent: Manifest | None,
    forecast: Mapping[str, float],
    planned: int,
    every: bool = False,
) -> PlannedCost:
    """Of `planned` rows that are read. An index takes what it took before, a new one the seconds of `forecast`; with
    `every` all are built.
    """
    before = {} if parent is None else {one.name: one.index.build_seconds for one in parent.partitions}
    built = [name for name, counts in rows.partitions.items() if every or any(counts[kind] for kind in _BUILT_FOR)]
    counts = rows.counts
    seconds = None if rates is None else rates.seconds(planned, counts["texts_encoded"], counts["photos_encoded"])
    return PlannedCost(
        encode_seconds=seconds,
        runs=rates.runs if rates else 0,
        indexes=len(built),
        build_seconds=sum(before.get(name, forecast.get(name, 0.0)) for name in built),
    )
