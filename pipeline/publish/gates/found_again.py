"""Whether products are found by their own text and by their own photo, asked anew through encoder and index."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lookup.store.entries.figures import FoundAgain
from lookup.store.manifest import EncoderEntry, Manifest, PartitionEntry
from pipeline.publish.gates.base import Comparison, SnapshotGate, share
from pipeline.report.run_report import GateResult

_ERRORS = 3.0  # standard errors of a fall that chance does not explain
_KINDS = ("text", "photo")
_TOLD = 0.25  # share of a fall that is told where chance would explain as much
_LEAST = 0.1  # of the kind that finds more: below it, neither texts nor photos lead to their products


class Gate(SnapshotGate):
    """For each kind of queries what is lost of the parent's share of the same partitions; and a floor that the kind
    which finds more must reach: a fusion may weigh one of them at nothing.
    """

    name, bound, rank = "found_again", "max_found_again_drop", 124
    results = ("found_again", "found_again_text", "found_again_photo")

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """None where nothing was asked."""
        new, old = comparison.new, comparison.old
        touched = [one for one in new.partitions if comparison.touched(one.name)]
        shares = {kind: _sum(touched, kind) for kind in _KINDS}
        asked = {kind: one for kind, one in shares.items() if one.asked}
        if not asked:
            return
        yield self._floor(comparison, max(asked.values(), key=lambda one: share(one.found, one.asked)))
        for kind in asked if old is not None and _same_models(new, old) else ():
            fall = _fall(kind, touched, old) if old is not None else None
            if fall is not None and fall.asked:
                yield self._drop(comparison, kind, fall)

    def _floor(self, comparison: Comparison, best: FoundAgain) -> GateResult:
        missed = 1 - share(best.found, best.asked)
        where = f"{best.found:,} of {best.asked:,} products are found by their own {best.kind}"
        bounds = comparison.bounds.model_copy(update={"max_found_again_drop": 1 - _LEAST})
        enough = best.asked >= comparison.bounds.least_rows
        return self.result(bounds, missed, where, "the index does not lead to its products: see log.txt", enough)

    def _drop(self, comparison: Comparison, kind: str, fall: _Fall) -> GateResult:
        bounds = comparison.bounds
        enough = fall.expected - fall.found >= bounds.least_rows / 2 and fall.beyond_chance
        where = (
            f"{fall.found:,} of {fall.asked:,} products are found by their own {kind}, encoded anew; at the parent's "
            f"shares {fall.expected:,.0f} would be"
        )
        if fall.share > bounds.max_found_again_drop and not enough:
            where += "; chance explains that, or it is of too few, so nothing is stopped"
        if fall.within_chance > _TOLD and not enough:
            where += (
                f"; the parent asked for {fall.before:,} products of these categories, too few to tell a fall of less "
                f"than {fall.within_chance:.0%} from chance"
            )
        fix = (
            f"the {kind} encoder gives other vectors than it gave, or texts are alike that were not: compare some "
            "products with their titles; if the catalog did change so much, run once with --accept "
            f"{self.name}_{kind}"
        )
        return self.result(bounds, fall.share, where, fix, enough, name=f"{self.name}_{kind}")


@dataclass(frozen=True)
class _Fall:
    """Of products that were `asked`, those `found`, and those that were `expected` by the parent's shares of the same
    partitions, for `before` products of which the parent asked; `variance` of the difference.
    """

    asked: int
    before: int
    found: int
    expected: float
    variance: float

    @property
    def share(self) -> float:
        return min(1.0, max(0.0, (self.expected - self.found) / self.asked))

    @property
    def beyond_chance(self) -> bool:
        return self.expected - self.found > _ERRORS * math.sqrt(self.variance)

    @property
    def within_chance(self) -> float:
        """The share of a fall that chance still explains, 1 at most."""
        return min(1.0, _ERRORS * math.sqrt(self.variance) / self.asked)


def _fall(kind: str, touched: list[PartitionEntry], old: Manifest) -> _Fall:
    before = {one.name: _sum([one], kind) for one in old.partitions}
    asked, found, asked_before, expected, variance = 0, 0, 0, 0.0, 0.0
    for one in touched:
        mine, theirs = _sum([one], kind), before.get(one.name)
        if theirs is None or not theirs.asked or not mine.asked:
            continue
        asked, found, asked_before = asked + mine.asked, found + mine.found, asked_before + theirs.asked
        rate = theirs.found / theirs.asked
        spread = (theirs.found + 1) * (theirs.asked - theirs.found + 1) / (theirs.asked + 2) ** 2
        expected += rate * mine.asked
        variance += spread * mine.asked * (1 + mine.asked / theirs.asked)
    return _Fall(asked, asked_before, found, expected, variance)


def _sum(entries: Iterable[PartitionEntry], kind: str) -> FoundAgain:
    found = [one for entry in entries if entry.figures for one in entry.figures.found_again if one.kind == kind]
    return FoundAgain(kind=kind, asked=sum(one.asked for one in found), found=sum(one.found for one in found))


def _same_models(new: Manifest, old: Manifest) -> bool:
    def identity(entry: EncoderEntry | None) -> str | None:
        return None if entry is None else entry.identity

    mine, theirs = ((identity(one.text), identity(one.image), one.fusion_identity) for one in (new, old))
    return mine == theirs
