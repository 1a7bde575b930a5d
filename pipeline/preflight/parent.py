"""Whether what a plan reads can stand beside, or follow on, the published snapshot: asked before any encoding."""

from __future__ import annotations

import logging

from foundation.errors import GateError
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.sections import RunSettings
from pipeline.plan.units import Plan
from pipeline.preflight.moves import find_moves
from pipeline.publish.gates.base import Planned
from pipeline.publish.gates.check import check_plan
from pipeline.publish.snapshot import refuse_mixing, with_types
from pipeline.report.run_report import GateResult

_log = logging.getLogger(__name__)


def compared(
    settings: RunSettings, plan: Plan, store: Store, parent: Manifest, category: str | None
) -> list[GateResult]:
    """The gates that need a plan only; InputError for a category's run that would mix what differs."""
    if category is None:
        return check_plan(Planned(parent, settings.gates, plan.attribute_types))
    refuse_mixing(settings.indexing, plan, with_types(store, parent))
    moves = find_moves(store, parent, settings.embedding, plan, category)
    if moves.moved:
        _log.warning("%s", moves.describe())
    moved, types = moves.moved.total(), plan.attribute_types
    return check_plan(Planned(parent, settings.gates, types, category, moves.before, moved, moves.describe()))


def names_before(path: str) -> list[str]:
    """The partitions that the store at `path` publishes."""
    store = Store.at(path)
    name = store.current()
    return [] if name is None else [entry.name for entry in store.manifest(name).partitions]


def refuse_unlike(settings: RunSettings, plan: Plan) -> None:
    """InputError or GateError where a run would be refused for what its store publishes."""
    store = Store.at(settings.store)
    name = store.current()
    if name is None:
        return
    for gate in compared(settings, plan, store, store.manifest(name), plan.category):
        if not gate.passed:
            raise GateError(f"{gate.name} {gate.op} {gate.bound:g}", f"{gate.name} {gate.value:g}", gate.advice)
