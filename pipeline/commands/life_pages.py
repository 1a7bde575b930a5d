"""What is printed of the life of a store: which snapshots it has, which one is served, and what was deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.engine.printing import document, echo, printable, table

if TYPE_CHECKING:
    from lookup.store.rollback import Rollback
    from pipeline.collect.collection import Collected


def rolled_back(done: Rollback, as_json: bool) -> None:
    """What is served now, in place of what, and what the next run meets."""
    made, left = done.publication, done.left
    if as_json:
        document(
            {
                "publication": made.number,
                "snapshot": made.snapshot,
                "back_to": done.to.number,
                "reason": made.reason,
                "left": None if left is None else left.snapshot,
                "held": done.held,
                "served_already": done.served_already,
            }
        )
        return
    if done.served_already:
        echo(f"publication {made.number} serves {made.snapshot} already: nothing was published")
        return
    instead = "what is damaged" if left is None else left.snapshot
    echo(printable(f"publication {made.number} serves {made.snapshot} instead of {instead} ({made.reason})"))
    if done.held is None:
        echo("nothing tells the two apart that a run could be held by: the next one publishes what it makes")
    else:
        echo("no run publishes the same again, but one with --accept went_back; open readers stay: open new ones")


def collected(done: Collected, dry_run: bool, as_json: bool) -> None:
    """What was deleted, or would be, by kind, and what stays."""
    total = sum(size for _, size in done.totals.values())
    number = None if done.publication is None else done.publication.number
    since = datetime.fromtimestamp(done.found.cutoff, UTC)
    if as_json:
        document(
            {
                "publication": number,
                "dry_run": dry_run,
                "kept": done.found.kept,
                "at_work": done.found.at_work,
                "not_since": since.isoformat(timespec="seconds"),
                "bytes": total,
                "deleted": {kind: {"count": count, "bytes": size} for kind, (count, size) in done.totals.items()},
            }
        )
        return
    if done.garbage:
        cells = [[kind, f"{count:,}", f"{size / 1e6:,.1f}"] for kind, (count, size) in done.totals.items()]
        table(["would be deleted" if dry_run else "deleted", "files or folders", "MB"], cells)
    kept = "1 snapshot is" if len(done.found.kept) == 1 else f"{len(done.found.kept)} snapshots are"
    echo(f"{kept} kept, and whatever was written since {since:%Y-%m-%d %H:%M} UTC")
    for run in done.found.at_work:
        echo(printable(f"run {run} is at work: what was needed when it began is kept"))
    if not done.garbage:
        echo("there is nothing to delete")
    else:
        echo(f"{total / 1e6:,.1f} MB {'would be' if dry_run else 'were'} deleted")
