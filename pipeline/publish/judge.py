"""The gates on a snapshot that is about to be published: on top of what the run began with, and again on top of what
others published meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.encoding import towers
from pipeline.config.sections import RunSettings
from pipeline.plan.units import Plan
from pipeline.publish import acceptance
from pipeline.publish.figures.measure import with_figures
from pipeline.publish.gates.base import Comparison, Scope
from pipeline.publish.gates.check import check
from pipeline.publish.merge import Merged, Parent
from pipeline.publish.understanding import with_understanding
from pipeline.report.notices import Notice
from pipeline.report.run_report import GateResult


class Judged(NamedTuple):
    """A snapshot with its figures, all results, of which some may stop it, and what is to be told of the figures."""

    manifest: Manifest
    results: list[GateResult]
    told: list[Notice]


@dataclass(frozen=True)
class Judge:
    """What the snapshots of a run are held against: its settings, its plan, what the gates said of that, and what its
    user accepts.
    """

    store: Store
    settings: RunSettings
    plan: Plan
    run: str
    accepted: Sequence[acceptance.Acceptance]
    planned: Sequence[GateResult]

    def made(self, manifest: Manifest, parent: Parent) -> Judged:
        """What the run made, with its figures and what was accepted."""
        category = self.plan.category
        scope = None if category is None else frozenset([category])
        carried = None if category is None else parent.manifest
        return self._judged(manifest, parent, scope, carried, category)

    def merged(self, done: Merged, parent: Parent) -> Judged:
        """The same of what it was merged with: `parent`, which others published meanwhile."""
        return self._judged(done.manifest, parent, done.mine, done.manifest, None, merged=True)

    def _judged(
        self,
        manifest: Manifest,
        parent: Parent,
        scope: Scope,
        carried: Manifest | None,
        replaced: str | None,
        merged: bool = False,
    ) -> Judged:
        embedding = self.settings.embedding
        manifest, told = with_figures(self.store, manifest, parent.manifest, self.settings, self.plan, self.run)
        understand = self.settings.search.understand
        unsearched = None if understand.categories == "off" else understand.unsearched
        manifest = with_understanding(self.store, manifest, parent.manifest, self.settings.indexing, unsearched)
        stands_in = None not in towers(embedding) and embedding.fusion.stands_in
        compared_with = (parent.manifest, scope, self.settings.gates, stands_in, parent.publication, merged)
        comparison = Comparison(self.store, manifest, *compared_with)
        found = check(comparison)
        results = [*self.planned, *acceptance.mark(found, self.accepted)]
        accepted = acceptance.entries(results, self.run, carried, replaced)
        drift = comparison.drift.total if comparison.drift else None
        return Judged(manifest.model_copy(update={"accepted": accepted, "drift": drift}), results, told)
