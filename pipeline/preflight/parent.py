"""Whether what a plan reads can stand beside, or follow on, the published snapshot: asked before any encoding."""

from __future__ import annotations

import logging
from dataclasses import replace

from foundation.errors import GateError
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.published import replaced_models, why_not_copied
from pipeline.config.sections import Embedding, RunSettings
from pipeline.plan.unit_sizes import Before
from pipeline.plan.units import Plan
from pipeline.preflight.check import Checked
from pipeline.preflight.moves import find_moves
from pipeline.publish.gates.base import Planned
from pipeline.publish.gates.check import check_plan
from pipeline.publish.snapshot import refuse_mixing, with_types
from pipeline.report.notices import Notice
from pipeline.report.run_report import GateResult

_log = logging.getLogger(__name__)


def compared(
    settings: RunSettings, plan: Plan, store: Store, parent: Manifest, category: str | None
) -> list[GateResult]:
    """The gates that need a plan only; InputError for a category's run that would mix what differs."""
    if category is None:
        replaced = replaced_models(settings.embedding, parent)
        return check_plan(Planned(parent, settings.gates, plan.attribute_types, replaced=replaced))
    refuse_mixing(settings.indexing, plan, with_types(store, parent))
    moves = find_moves(store, parent, settings.embedding, plan, category)
    if moves.moved:
        _log.warning("%s", moves.describe())
    moved, types = moves.moved.total(), plan.attribute_types
    return check_plan(Planned(parent, settings.gates, types, category, moves.before, moved, moves.describe()))


def before_in(path: str) -> Before:
    """What the store at `path` publishes."""
    store = Store.at(path)
    name = store.current()
    return Before() if name is None else Before.of(store.manifest(name))


def beside_published(settings: RunSettings, checked: Checked) -> Checked:
    """The plan with what to know of it beside what its store publishes; InputError or GateError where a run would be
    refused for that.
    """
    store = Store.at(settings.store)
    name = store.current()
    if name is None:
        return checked
    parent, plan = store.manifest(name), checked.plan
    for gate in compared(settings, plan, store, parent, plan.category):
        if not gate.passed:
            raise GateError(f"{gate.name} {gate.op} {gate.bound:g}", f"{gate.name} {gate.value:g}", gate.advice)
    notices = (*plan.notices, *copying_notices(settings.embedding, parent))
    return replace(checked, plan=replace(plan, notices=notices))


def copying_notices(embedding: Embedding, parent: Manifest) -> list[Notice]:
    """Why rows whose vectors stand in the shards of `parent` are encoded all the same."""
    reasons = why_not_copied(embedding, parent)
    return [Notice(what="vectors_not_copied", count=parent.rows, told=reason) for reason in reasons]
