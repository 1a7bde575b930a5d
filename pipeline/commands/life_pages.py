"""What is printed of the life of a store: which snapshots it has, which one is served, and what was deleted."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.engine.printing import document, echo, printable, table

if TYPE_CHECKING:
    from lookup.store.publications.publication import Publication
    from lookup.store.publications.rollback import Rollback
    from pipeline.collect.collection import Collected
    from pipeline.collect.listing import Listing, SnapshotSize


def snapshots(found: Listing, limit: int, as_json: bool) -> None:
    """The last publications, 0: all, the served one marked; and snapshots that were never published."""
    shown = list(found.publications.items())[-limit:]
    if as_json:
        document(
            {
                "served": None if found.served is None else found.served.number,
                "damage": None if found.damage is None else str(found.damage),
                "bytes": found.bytes,
                "publications": [_publication(number, one, found) for number, one in shown],
                "unpublished": [{"snapshot": name, **_size(found.sizes[name])} for name in found.unpublished],
            }
        )
        return
    columns = ["", "number", "when (UTC)", "by", "snapshot", "products", "own", "shared", "dead", "reason"]
    table(columns, [_cells(number, one, found) for number, one in shown])
    if len(shown) < len(found.publications):
        echo(f"and {len(found.publications) - len(shown):,} earlier: --limit 0 shows all")
    echo(f"own, shared and dead bytes are in MB; all published snapshots have {found.bytes / 1e6:,.1f}, each file once")
    if found.unpublished:
        names = ["never published", "when (UTC)", "by run", "products", "own", "shared", "dead"]
        table(names, [[name, *_never(found.sizes[name])] for name in found.unpublished])


def _publication(number: int, one: Publication | None, found: Listing) -> dict[str, Any]:
    """A publication as JSON; what is not known of it is null."""
    if one is None:
        return {"number": number, "damaged": True}
    fields = one.model_dump(mode="json", exclude={"digest", "kept"})
    standing = one.snapshot in found.sizes
    return {**fields, "damaged": False, "standing": standing, **(_size(found.sizes[one.snapshot]) if standing else {})}


def _size(size: SnapshotSize | None) -> dict[str, Any]:
    return {"whole": False} if size is None else {"whole": True, **asdict(size)}


def _cells(number: int, one: Publication | None, found: Listing) -> list[str]:
    mark = "*" if found.served is not None and number == found.served.number else ""
    if one is None:
        return [mark, str(number), "", "", "damaged", "", "", "", "", ""]
    when = "" if one.published_at is None else f"{one.published_at.astimezone(UTC):%Y-%m-%d %H:%M}"
    by = one.run or ("gc" if one.collected is not None else "a person")
    return [mark, str(number), when, by, one.snapshot, *_figures(one.snapshot, found), one.reason]


def _figures(snapshot: str, found: Listing) -> list[str]:
    if snapshot not in found.sizes:
        return ["deleted", "", "", ""]
    size = found.sizes[snapshot]
    return ["damaged", "", "", ""] if size is None else _numbers(size)


def _never(size: SnapshotSize | None) -> list[str]:
    return ["damaged", *[""] * 5] if size is None else [f"{size.made_at:%Y-%m-%d %H:%M}", size.run, *_numbers(size)]


def _numbers(size: SnapshotSize) -> list[str]:
    return [f"{size.rows:,}", *(f"{count / 1e6:,.1f}" for count in (size.own, size.shared, size.dead))]


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
    if left is None:
        echo(
            "what is damaged does not say what it was made from: nothing is held, the next run publishes what it makes"
        )
    elif done.held is None:
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
