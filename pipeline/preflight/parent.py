"""Whether what a plan reads can stand beside, or follow on, the published snapshot: asked before any encoding."""

from __future__ import annotations

import logging

from foundation.errors import GateError
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.load import Config
from pipeline.plan.units import Plan
from pipeline.preflight.moves import find_moves
from pipeline.publish.gates.base import Planned
from pipeline.publish.gates.check import check_plan
from pipeline.publish.snapshot import refuse_mixing, with_types
from pipeline.report.run_report import GateResult

_log = logging.getLogger(__name__)


def compared(config: Config, plan: Plan, store: Store, parent: Manifest, category: str | None) -> list[GateResult]:
    """The gates that need a plan only; InputError for a category's run that would mix what differs."""
    if category is None:
        return check_plan(Planned(parent, config.gates, plan.attribute_types))
    refuse_mixing(config, plan, with_types(store, parent))
    moves = find_moves(store, parent, config, plan, category)
    if moves.moved:
        _log.warning("%s", moves.describe())
    moved, types = moves.moved.total(), plan.attribute_types
    return check_plan(Planned(parent, config.gates, types, category, moves.before, moved, moves.describe()))


def names_before(config: Config) -> list[str]:
    """The partitions that the store at `store.path` publishes."""
    store = Store.at(config.store.path)
    name = store.current()
    return [] if name is None else [entry.name for entry in store.manifest(name).partitions]


def refuse_unlike(config: Config, plan: Plan) -> None:
    """InputError or GateError where a run would be refused for what the store at `store.path` publishes."""
    store = Store.at(config.store.path)
    name = store.current()
    if name is None:
        return
    for gate in compared(config, plan, store, store.manifest(name), plan.category):
        if not gate.passed:
            raise GateError(f"{gate.name} {gate.op} {gate.bound:g}", f"{gate.name} {gate.value:g}", gate.advice)
