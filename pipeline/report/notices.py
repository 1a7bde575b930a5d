"""What a user is told of a run that is neither an error nor a rejected row: files left out, spellings that were merged.

A notice goes into the plan, the log, run.json, the report and the metrics. It never decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lookup.store.fields import Record

_EXAMPLES = 20  # that a notice keeps


class Notice(Record):
    """One kind of thing, how often it was seen, and what to know of it.

    `what` is a word for scripts (docs/reference/outcomes.md lists them), `count` counts what `told` says: files,
    columns, rows. `kinds` says how many examples there would be where that is something else: words that stand in rows.
    """

    what: str
    count: int
    told: str
    examples: tuple[str, ...] = ()
    kinds: int | None = None

    @property
    def more(self) -> int:
        """Examples that are not shown."""
        return max(0, (self.count if self.kinds is None else self.kinds) - len(self.examples)) if self.examples else 0

    def lines(self) -> list[str]:
        """For people: what is told, then the examples."""
        listed = [f"  {one}" for one in self.examples]
        return [self.told, *listed, *([f"  and {self.more:,} more"] if self.more else [])]


def notice(what: str, told: str, named: Sequence[str]) -> list[Notice]:
    """The notice that counts `named`; none where there are none."""
    return [Notice(what=what, count=len(named), told=told, examples=tuple(named[:_EXAMPLES]))] if named else []


def counted(notices: Iterable[Notice]) -> dict[str, int]:
    """What -> count; several notices of one kind are summed."""
    counts: dict[str, int] = {}
    for one in notices:
        counts[one.what] = counts.get(one.what, 0) + one.count
    return counts
