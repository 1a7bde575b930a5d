"""Every gate on a snapshot that is about to be published.

Figures are read from the manifest, never from a runner's counters, which double when work is retried; and ids from the
files that it names.
"""

from __future__ import annotations

from typing import Protocol

from lookup.manifest import Manifest
from pipeline.gates.invariants import index_files, rows_accounted, rows_indexed, untouched
from pipeline.gates.losses import degraded_share, photos_lost_share, products, reject_share
from pipeline.gates.recall import recall
from pipeline.gates.result import Scope
from pipeline.gates.row_drop import row_drops
from pipeline.report import GateResult


class Gates(Protocol):
    """The section `gates` of a config; bounds are shares in 0..1."""

    @property
    def max_reject_share(self) -> float:
        """Rejected rows per row read."""

    @property
    def max_degraded_share(self) -> float:
        """Rows that lost a modality per row embedded."""

    @property
    def max_photos_lost_share(self) -> float:
        """Photos that could not be read per photo of the rows embedded."""

    @property
    def min_recall(self) -> float:
        """Measured recall@k of every partition."""

    @property
    def max_row_drop(self) -> float:
        """Rows lost against the parent, of the whole and of every partition."""

    @property
    def least_rows(self) -> int:
        """Rows, or photos, that must be lost before a share of lost ones refuses."""


def check(manifest: Manifest, parent: Manifest | None, gates: Gates, scope: Scope) -> list[GateResult]:
    """Every gate's result, invariants first; publish only where all of them passed.

    `scope` names the partitions that this run touched (None: all). Shares and recall are taken over these, so that a
    re-index of one category is not refused for another's past; the rest must be the parent's, unchanged.
    """
    results = [rows_accounted(manifest), rows_indexed(manifest), index_files(manifest), products(manifest)]
    if parent is not None and scope is not None:
        results.append(untouched(manifest, parent, scope))
    results.append(reject_share(manifest, gates.max_reject_share, scope))
    results.append(degraded_share(manifest, gates.max_degraded_share, scope))
    results.append(photos_lost_share(manifest, gates.max_photos_lost_share, gates.least_rows, scope))
    results += recall(manifest, gates.min_recall, scope)
    if parent is not None:
        results += row_drops(manifest, parent, gates.max_row_drop, gates.least_rows)
    return results
