"""How many photos could not be read: a product may lose one of two and not be degraded."""

from __future__ import annotations

from collections.abc import Iterable

from lookup.store.shard_record import OTHERS
from pipeline.publish.gates.base import Comparison, SnapshotGate, share
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """Photos lost per photo of the rows embedded; those of degraded rows count too, which have lost all of theirs."""

    name, bound, rank = "photos_lost_share", "max_photos_lost_share", 80

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        photos, lost = comparison.new.photos(comparison.scope)
        value, least = share(lost, photos), comparison.bounds.least_rows
        kinds = [one for one in comparison.new.details(comparison.scope) if one.outcome != "rejected"]
        kinds.sort(key=lambda one: one.detail == OTHERS)
        where = f"{lost:,} of {photos:,} photos lost"
        if kinds:
            where += f", most rows for {kinds[0].reason} ({kinds[0].detail})"
        if value > comparison.bounds.max_photos_lost_share and lost < least:
            where += f"; fewer than gates.least_rows={least:,}, so nothing is stopped"
        fix = "look whether the photos can be reached; if they are gone for good, raise gates.max_photos_lost_share"
        yield self.result(comparison.bounds, value, where, fix, lost >= least)
