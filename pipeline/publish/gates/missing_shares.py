"""Gates on products without a photo, or without a text: whether what the fusion puts in its place favours or buries
them, against the ranking of the tower that knows them.
"""

from __future__ import annotations

from collections.abc import Iterable

from lookup.store.entries.missing_share import MissingShare
from pipeline.publish.figures.missing_shares import HITS, PHOTO, TEXT
from pipeline.publish.gates.base import Comparison, SnapshotGate
from pipeline.report.run_report import GateResult

_LACKS = {TEXT: "photo", PHOTO: "text"}
_FEWEST = 50  # rows that lack the modality, and that have it, of which a share says something


class Gate(SnapshotGate):
    """A result for each kind of queries; one that says so where nothing was measured of a fusion that stands in."""

    name, bound, rank = "missing_shares", "max_missing_shift", 120
    results = ("missing_photo_shift", "missing_text_shift", "missing_shares")

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        figures = comparison.new.missing
        if figures is None:
            if comparison.stands_in:
                yield self.result(comparison.bounds, 0, "not measured: shards.towers is false")
            return
        yield from (self._result(one, comparison) for one in figures)
        if figures and PHOTO not in {one.kind for one in figures}:
            said = "not measured: the fusion reads states of photos, which shards do not hold"
            yield self.result(comparison.bounds, 0, said, name=f"missing_{_LACKS[PHOTO]}_shift")

    def _result(self, one: MissingShare, comparison: Comparison) -> GateResult:
        lacks, enough = _LACKS[one.kind], min(one.lacking, one.rows - one.lacking) >= _FEWEST
        where = (
            f"products without {lacks} are {one.share:.1%} of the first {HITS} hits of {one.queries:,} queries by "
            f"{one.kind}, {one.own:.1%} under the {one.kind} tower alone; {one.lacking:,} of {one.rows:,} rows lack it"
        )
        if not enough:
            where += f"; {_FEWEST} on either side are needed to tell, so nothing is stopped"
        fix = (
            "`vitrine run --measure` measures anew what stands in for it, and encodes every product again; a learned "
            "fusion has to be trained again; or set fusion.type=concat, or raise gates.max_missing_shift"
        )
        shift, name = abs(one.share - one.own), f"missing_{lacks}_shift"
        return self.result(comparison.bounds, shift, where, fix, enough, name=name)
