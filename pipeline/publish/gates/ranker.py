"""Whether the re-ranker is better than none where nothing was learned from, and sees what the snapshot can give."""

from __future__ import annotations

from collections.abc import Iterable

from lookup.rerank.learned_on import differing_scores, parts_of_snapshot
from pipeline.publish.gates.base import Comparison, SnapshotGate, listed
from pipeline.publish.ranker_files import lacking
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """The low end of the interval of what it gains in nDCG on held-out queries; and what it would not be given."""

    name, bound, least, rank = "ranker", "min_ranker_gain", True, 131
    results = ("ranker", "ranker_features")

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """None without a re-ranker."""
        record, bounds, new = comparison.new.ranker, comparison.bounds, comparison.new
        if record is None:
            return
        held_out = record.settings.held_out
        figure, gain = next(iter(held_out.figures.items()))
        where = (
            f"{figure} of {held_out.queries:,} held-out queries is {gain.after:.3f} with the re-ranker, "
            f"{gain.before:.3f} without: {gain.mean:+.3f}, 95% {gain.low:+.3f}..{gain.high:+.3f}"
        )
        fix = "publish without it (search.ranker=null), or learn it from more judged queries"
        yield self.result(bounds, gain.low, where, fix)
        missing = lacking(record.settings, new.attributes, new.attribute_types)
        missing += differing_scores(record.settings, parts_of_snapshot(new))
        told = f"not as where it was learned: {listed(missing)}" if missing else "all that it sees is there"
        yield _Given().result(bounds, len(missing), told, "learn it again on a snapshot of these settings")


class _Given(SnapshotGate):
    """How many of the things that it sees are not there, or are others."""

    name, bound, rank = "ranker_features", 0, 129

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """None of its own."""
        return ()
