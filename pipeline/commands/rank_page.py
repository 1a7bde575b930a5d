"""What `vitrine train rank` prints: how much better, by what, and what nothing was learned from."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lookup.store.entries.ranker_record import HeldOut
from pipeline.engine.printing import document, echo, printable, table

if TYPE_CHECKING:
    from pipeline.train.rank import TrainedRanker

_SHOWN = 10  # features


def print_ranker(found: TrainedRanker, as_json: bool) -> None:
    """The result of a training."""
    settings = found.settings
    if as_json:
        told: dict[str, Any] = {"folder": str(found.folder), "snapshot": found.snapshot, "taught": found.taught}
        told |= {"counts": asdict(found.counts), "left_out": found.left_out}
        document({**told, **settings.model_dump(mode="json"), "importance": found.importance})
        return
    if found.left_out:
        table(["clicks not learned from", "rows"], [[why, f"{rows:,}"] for why, rows in found.left_out.items() if rows])
    table(*held_out_table(settings.held_out))
    rows = [[name, f"{share:.3f}"] for name, share in list(found.importance.items())[:_SHOWN]]
    table(["feature", "share of what decides"], rows)
    if settings.dropped:
        table(["not seen", "because"], [[printable(name), why] for name, why in settings.dropped.items()])
    echo(
        f"{found.folder}: {settings.type} of {len(settings.features)} features, learned from {found.taught:,} of "
        f"{settings.queries:,} queries and the first {settings.top} candidates of each; {verdict(settings.held_out)}; "
        f"use it as search.ranker={found.folder}"
    )


def held_out_table(held_out: HeldOut) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) of the comparison on held-out queries."""
    rows = [
        [name, f"{one.before:.3f}", f"{one.after:.3f}", f"{one.mean:+.3f}", f"{one.low:+.3f}..{one.high:+.3f}"]
        for name, one in held_out.figures.items()
    ]
    return [f"of {held_out.queries:,} held-out queries", "without", "re-ranked", "gain", "95%"], rows


def verdict(held_out: HeldOut) -> str:
    """Whether it is better where nothing was learned from."""
    name, gain = next(iter(held_out.figures.items()))
    if gain.low > 0:
        return f"better on held-out queries by {gain.mean:.3f} of {name}"
    return f"not better on held-out queries: {gain.mean:+.3f} of {name}, and the gate `ranker` refuses it"
