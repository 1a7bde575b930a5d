"""What is printed of the life of a store: which snapshots it has, which one is served, and what was deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.engine.printing import document, echo, printable

if TYPE_CHECKING:
    from lookup.store.rollback import Rollback


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
