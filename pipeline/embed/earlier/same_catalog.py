"""Whether a catalog is the one of which the published snapshot was made, as far as its files tell."""

from __future__ import annotations

from lookup.store.store import Store
from pipeline.embed.shard_files import noted, same_plan
from pipeline.plan.units import Plan


def run_of_same_catalog(store: Store, plan: Plan, snapshot: str, run: str = "") -> str | None:
    """The last of the runs, other than `run`, of a plan that is equal to `plan`, where it made, or found, `snapshot` of
    nothing else; else None. Photos may have changed all the same.
    """
    before = None if plan.category is not None else same_plan(store, plan.key, run)
    if before is None or noted(store, f"runs/{before}/run.json", "snapshot") != snapshot:
        return None
    # one that was merged has partitions of another reading
    return None if noted(store, f"runs/{before}/run.json", "merged_over") else before
