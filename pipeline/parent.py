"""Whether what a plan reads can stand beside, or follow on, the published snapshot: asked before any encoding."""

from __future__ import annotations

import logging

from encoders.errors import GateError
from lookup.manifest import Manifest
from lookup.store import Store
from pipeline.config import Config
from pipeline.gates.attribute_types import attribute_types
from pipeline.moves import find_moves
from pipeline.plan import Plan
from pipeline.report import GateResult
from pipeline.snapshot import refuse_mixing, with_types

_log = logging.getLogger(__name__)


def compared(config: Config, plan: Plan, store: Store, parent: Manifest, category: str | None) -> list[GateResult]:
    """The gates of a whole run that need its plan only; InputError for a category's run that would mix what differs."""
    if category is None:
        return [attribute_types(plan.attribute_types, parent, config.gates.max_changed_types)]
    refuse_mixing(config, plan, with_types(store, parent))
    moves = find_moves(store, parent, config, plan, category)
    if moves.moved:
        _log.warning("%s", moves.told())
    return [moves.gate(config.gates.max_moved_share, config.gates.least_rows)]


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
