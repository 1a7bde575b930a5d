"""What every gate is: a name, the key of its bound, and one method that holds figures of a snapshot, or of a plan,
against that bound.

To add a gate, add a file here with a class `Gate(SnapshotGate)` or `Gate(PlanGate)`: nothing lists them, `rank` says
where its results stand. Figures are read from the manifest, never from a runner's counters, which double when work is
retried; and ids from the files that it names.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

from lookup.store.manifest import Manifest
from lookup.store.publications.publication import Publication
from lookup.store.store import Store
from pipeline.config.published import ReplacedModel
from pipeline.config.sections import GatesConfig
from pipeline.publish.drift.drift import Drifts, drift_between
from pipeline.report.run_report import GateResult

_MOST_RUNS = 8  # that an advice names
Scope = frozenset[str] | None  # the partitions that a run touched; None: all


@dataclass(frozen=True)
class Comparison:
    """A snapshot that is about to be published, and the one that is. `scope` names the partitions that the run touched:
    shares and recall are taken over these, so that a re-index of one category is not refused for another's past.

    `base` is the publication on top of which the snapshot would be published, None where it is compared with nothing.
    `stands_in` is whether the fusion puts something in place of a missing modality, where there are two towers;
    `merged` is whether it was made on top of another one, and partitions of the run's shards gave way to newer ones.
    """

    store: Store
    new: Manifest
    old: Manifest | None
    scope: Scope
    bounds: GatesConfig
    stands_in: bool = False
    base: Publication | None = None
    merged: bool = False

    def touched(self, partition: str) -> bool:
        """Whether the run touched `partition`."""
        return self.scope is None or partition in self.scope

    @cached_property
    def drift(self) -> Drifts | None:
        """How far the new one is from the old one, measured once for all gates; None where there is no old one."""
        if self.old is None:
            return None
        look = min(self.bounds.max_photos_changed, self.bounds.max_photos_repeated)
        return drift_between(self.store, self.old, self.new, self.scope, look)


class CatalogState(NamedTuple):
    """A catalog: its path, and when the newest of its files was written, as far as that is known."""

    path: str
    newest: datetime | None


@dataclass(frozen=True)
class Planned:
    """A plan, as far as it can be compared with the published snapshot before anything is encoded.

    `types` are the attributes' of the catalog. Of a run of one `category`, `before` are the products that are published
    of it, and `moved` how many of them stand in which other categories by now, in words `where`. `replaced` are models
    of a whole run that are others than the parent's under the same fields. `catalog` is where it is, and from when.
    """

    old: Manifest
    bounds: GatesConfig
    types: Mapping[str, str]
    category: str | None = None
    before: int = 0
    moved: int = 0
    where: str = ""
    replaced: Sequence[ReplacedModel] = ()
    catalog: CatalogState | None = None


class _Gate(ABC):
    name: ClassVar[str]
    bound: ClassVar[str | float]  # key of section `gates`, or the bound itself
    least: ClassVar[bool] = False  # whether the figure must reach the bound, rather than not exceed it
    rank: ClassVar[int]  # results stand in this order
    results: ClassVar[tuple[str, ...]] = ()  # the names of its results, where these are not its own
    acceptable: ClassVar[bool] = True  # whether `--accept` may publish in spite of it

    def result(
        self,
        bounds: GatesConfig,
        value: float,
        where: str,
        fix: str = "",
        enough: bool = True,
        name: str = "",
        partition: str | None = None,
    ) -> GateResult:
        """A figure against the bound; `where` it comes from, and how to `fix` it where it failed. It stops nothing
        unless it is of `enough` rows. `name` is the result's where a gate has several, `partition` whose it is.
        """
        bound = float(getattr(bounds, self.bound) if isinstance(self.bound, str) else self.bound)
        op: Literal["<=", ">="] = ">=" if self.least else "<="
        passed = not enough or (value >= bound if self.least else value <= bound)
        advice = where if passed or not fix else f"{where}; {fix}"
        fields: dict[str, Any] = {"op": op, "passed": passed, "advice": advice, "partition": partition}
        return GateResult(name=name or self.name, value=value, bound=bound, **fields)


class SnapshotGate(_Gate):
    """A gate on what was built."""

    @abstractmethod
    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """Its results; none where there is nothing to judge."""


class PlanGate(_Gate):
    """A gate on what is about to be encoded, beside a published snapshot."""

    @abstractmethod
    def check(self, planned: Planned) -> Iterable[GateResult]:
        """Its results; none where there is nothing to judge."""


class Invariant(SnapshotGate):
    """A gate that fails only when the program or a disk is at fault."""

    bound, acceptable = 0, False
    what: ClassVar[str]  # goes wrong, in the plural

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """One result: how many are wrong, and which."""
        names = sorted(set(self.wrong(comparison)))
        where = f"{self.what}: {listed(names)}" if names else f"no {self.what}"
        yield self.result(comparison.bounds, len(names), where, "no setting helps: keep the run's folder and report it")

    @abstractmethod
    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """The names of those that are wrong."""


# --- words and figures that gates share ---


def share(part: int, whole: int) -> float:
    """`part` of `whole`, in 0..1; 0 of nothing."""
    return part / whole if whole else 0.0


def drop(before: int, after: int) -> float:
    """The share of `before` that is lost, in 0..1; growth is no drop."""
    return max(0.0, share(before - after, before))


def most(counts: Counter[str], what: str) -> str:
    """How many rows, and the most frequent reason."""
    if not counts.total():
        return f"no row {what}"
    reason, rows = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return f"{counts.total():,} rows {what}, most for {reason} ({rows:,})"


def listed(names: Iterable[str], limit: int = 5) -> str:
    """The first few names, and how many more there are."""
    shown = list(names)
    return ", ".join(shown[:limit]) + (f" and {len(shown) - limit} more" if len(shown) > limit else "")


def runs_of(categories: Iterable[str]) -> str:
    """The words that run each of these categories alone; the whole catalog where they are many."""
    named = sorted(categories)
    if len(named) > _MOST_RUNS:
        return "`vitrine run` of the whole catalog"
    return ", ".join(f"`vitrine run --category {shlex.quote(name)}`" for name in named)


def few(beyond: bool, rows: int, least: int) -> str:
    """That a figure `beyond` its bound is of too few rows to stop a run; empty where it is not."""
    return (
        f"; {rows:,} rows are fewer than gates.least_rows={least:,}, so nothing is stopped"
        if beyond and rows < least
        else ""
    )
