"""Whether texts and photos still belong to each other: titles that went to other products break it, as do photos."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lookup.store.entries.figures import Agreement
from lookup.store.manifest import Manifest
from pipeline.publish.gates.base import Comparison, SnapshotGate
from pipeline.report.run_report import GateResult

_FEWEST = 50  # products with both, of which a fall says something
_ERRORS = 3.0  # standard errors of a fall that chance does not explain; and of an agreement that there is
_ERRORS_EACH = 4.0  # the same of one of many partitions


class Gate(SnapshotGate):
    """The agreement that is lost of the parent's: of all partitions, and of each that is refused."""

    name, bound, rank = "agreement", "max_agreement_drop", 122

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """None without two towers, or without a parent that was measured."""
        new, old = comparison.new, comparison.old
        if new.text is None or new.image is None or old is None:
            return
        if new.agreement is None:
            yield self.result(comparison.bounds, 0, f"not measured: {_why_not(new)}")
            return
        if not _same_towers(new, old) or old.agreement is None:
            why = "the parent says none" if old.agreement is None else "the parent's encoders were others"
            yield self.result(comparison.bounds, 0, f"{_told(new.agreement)}; compared with nothing: {why}")
            return
        yield self._result(comparison, _Fall(old.agreement, new.agreement, _ERRORS))
        before = {one.name: one.figures.agreement for one in old.partitions if one.figures and one.figures.agreement}
        for one in new.partitions:
            if comparison.touched(one.name) and one.figures and one.figures.agreement and one.name in before:
                fall = _Fall(before[one.name], one.figures.agreement, _ERRORS_EACH)
                if fall.counts and fall.share > comparison.bounds.max_agreement_drop:
                    yield self._result(comparison, fall, one.name)

    def _result(self, comparison: Comparison, fall: _Fall, partition: str | None = None) -> GateResult:
        where = f"{_told(fall.now)}, {fall.before.value:.2f} in the parent"
        if partition is not None:
            where = f"partition: {partition}, {where}"
        if not fall.counts and fall.share > comparison.bounds.max_agreement_drop:
            where += f"; chance explains that, or {_FEWEST} products are needed to tell, so nothing is stopped"
        fix = (
            "texts or photos may stand beside other products, or be placeholders: compare some products with their "
            "photos; if the catalog did change so much, run once with --accept agreement"
        )
        return self.result(comparison.bounds, fall.share, where, fix, fall.counts, partition=partition)


@dataclass(frozen=True)
class _Fall:
    before: Agreement
    now: Agreement
    errors: float  # standard errors that it must be of

    @property
    def share(self) -> float:
        """What is lost of the agreement before, in 0..1; 0 where it was none."""
        if self.before.value <= self.errors * self.before.error:
            return 0.0
        return min(1.0, max(0.0, 1 - self.now.value / self.before.value))

    @property
    def counts(self) -> bool:
        """Whether it is of enough products, and more than chance."""
        error = math.hypot(self.before.error, self.now.error)
        enough = min(self.before.products, self.now.products) >= _FEWEST
        return enough and self.before.value - self.now.value > self.errors * error


def _same_towers(new: Manifest, old: Manifest) -> bool:
    pairs = ((new.text, old.text), (new.image, old.image))
    return all(one is not None and other is not None and one.identity == other.identity for one, other in pairs)


def _why_not(new: Manifest) -> str:
    if not new.config.get("shards", {}).get("towers", True):
        return "shards.towers is false"
    return "too few products have both a text and a photo"


def _told(one: Agreement) -> str:
    return f"texts and photos of {one.products:,} products are alike by {one.value:.2f} +- {one.error:.2f}"
