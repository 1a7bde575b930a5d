"""Whether what a plan reads can stand beside, or follow on, the published snapshot: asked before any encoding."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from foundation.reasons import Reason
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.published import replaced_models, to_measure, why_not_copied
from pipeline.config.sections import Embedding, RunSettings
from pipeline.embed.earlier.same_catalog import run_of_same_catalog
from pipeline.plan.unit_sizes import Before
from pipeline.plan.units import Plan
from pipeline.preflight.check import Checked
from pipeline.preflight.moves import find_moves
from pipeline.publish import acceptance
from pipeline.publish.gates.base import CatalogState, Planned
from pipeline.publish.gates.check import check_plan
from pipeline.publish.snapshot import refuse_mixing, with_types
from pipeline.report.notices import Notice, notice
from pipeline.report.run_report import GateResult

_log = logging.getLogger(__name__)


def compared(
    settings: RunSettings, plan: Plan, store: Store, parent: Manifest, category: str | None
) -> list[GateResult]:
    """The gates that need a plan only; InputError for a category's run that would mix what differs."""
    planned = Planned(
        parent, settings.gates, plan.attribute_types, catalog=CatalogState(settings.embedding.catalog.path, plan.newest)
    )
    if category is None:
        return check_plan(replace(planned, replaced=replaced_models(settings.embedding, parent)))
    refuse_mixing(settings.indexing, plan, with_types(store, parent))
    moves = find_moves(store, parent, settings.embedding, plan, category)
    if moves.moved:
        _log.warning("%s", moves.describe())
    moved = moves.moved.total()
    return check_plan(replace(planned, category=category, before=moves.before, moved=moved, where=moves.describe()))


def before_in(path: str) -> Before:
    """What the store at `path` publishes."""
    store = Store.at(path)
    name = store.current()
    return Before() if name is None else Before.of(store.manifest(name))


def beside_published(
    settings: RunSettings, checked: Checked, accepted: Sequence[acceptance.Acceptance] = ()
) -> Checked:
    """The plan with what to know of it beside what its store publishes; InputError or GateError where a run that is
    `accepted` so would be refused for that.
    """
    store = Store.at(settings.store)
    name = store.current()
    parent, plan = None if name is None else store.manifest(name), checked.plan
    accepted = acceptance.in_partitions(accepted, {*plan.partitions, *Before.of(parent).partitions})
    if name is None or parent is None:
        return checked
    acceptance.refuse(acceptance.mark(compared(settings, plan, store, parent, plan.category), accepted), None)
    copying = parent_notices(settings.embedding, plan, parent)
    notices = (*plan.notices, *copying, *_sameness_notices(settings.embedding, store, plan, name, parent))
    return replace(checked, plan=replace(plan, notices=notices))


def parent_notices(embedding: Embedding, plan: Plan, parent: Manifest) -> list[Notice]:
    """What to know of a plan beside `parent`: attributes that differ, and vectors that cannot be copied."""
    return _attributes_changed(embedding, plan, parent) + copying_notices(embedding, parent)


def _attributes_changed(embedding: Embedding, plan: Plan, parent: Manifest) -> list[Notice]:
    """How the attributes differ from the parent's, in one line: what hits show and filters ask changes with them."""
    names, before = embedding.catalog.attributes, parent.attributes
    types, then = plan.attribute_types, parent.attribute_types
    new = [f"{name} is new" for name in names if name not in before]
    gone = [f"{name} is gone" for name in before if name not in names]
    both = [name for name in names if name in then and name in types and types[name] != then[name]]
    differing = [*new, *gone, *(f"{name} is {types[name]}, was {then[name]}" for name in both)]
    told = "attributes differ from the parent's, for hits and filters:"
    return notice("attributes_changed", told, differing)


def copying_notices(embedding: Embedding, parent: Manifest) -> list[Notice]:
    """Why rows whose vectors stand in the shards of `parent` are encoded all the same."""
    reasons = why_not_copied(embedding, parent)
    return [Notice(what="vectors_not_copied", count=parent.rows, told=reason) for reason in reasons]


def _sameness_notices(embedding: Embedding, store: Store, plan: Plan, snapshot: str, parent: Manifest) -> list[Notice]:
    """That the catalog is the one of which the published snapshot was made, and nothing of it is tried again."""
    run = None if to_measure(embedding) else run_of_same_catalog(store, plan, snapshot)
    if run is None or Reason.ENCODER_FAILED in parent.rejects() + parent.degraded():
        return []
    if embedding.encoders.image is None:
        told = f"the catalog is, byte for byte, that of run {run}: a run reads no row of it, and encodes nothing"
    else:
        told = f"the catalog's files are those of run {run}: a run encodes nothing, unless photos changed"
    return [Notice(what="catalog_unchanged", count=plan.rows, told=told)]
