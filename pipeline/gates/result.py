"""What gates share: a figure against its bound, and the words for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from pipeline.report import GateResult

Scope = frozenset[str] | None  # the partitions that a run touched; None: all


def result(
    name: str, value: float, op: Literal["<=", ">="], bound: float, where: str, fix: str = "", enough: bool = True
) -> GateResult:
    """A figure against its bound; `where` it comes from, and how to `fix` it where it failed. It stops nothing unless
    it is of `enough` rows.
    """
    passed = not enough or (value <= bound if op == "<=" else value >= bound)
    advice = where if passed or not fix else f"{where}; {fix}"
    return GateResult(name=name, value=value, bound=bound, op=op, passed=passed, advice=advice)


def touched(partition: str, scope: Scope) -> bool:
    """Whether a run of that scope touched `partition`."""
    return scope is None or partition in scope


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


def few(beyond: bool, rows: int, least: int) -> str:
    """That a figure `beyond` its bound is of too few rows to stop a run; empty where it is not."""
    return (
        f"; {rows:,} rows are fewer than gates.least_rows={least:,}, so nothing is stopped"
        if beyond and rows < least
        else ""
    )
