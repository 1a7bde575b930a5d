"""What `vitrine photos fetch` prints: of each host what became of its photos."""

from __future__ import annotations

from pipeline.embed.fetch_photos import FetchedPhotos
from pipeline.engine.printing import document, echo, table
from pipeline.report.photo_hosts import photo_hosts

_SHOWN = 10  # hosts that are not allowed


def print_fetched(found: FetchedPhotos, as_json: bool) -> None:
    """A table of the hosts with most photos, and the hosts that are not allowed; or one document."""
    hosts = photo_hosts(found.hosts)
    if as_json:
        document(
            {"photo_hosts": [one.model_dump(mode="json") for one in hosts], "not_allowed": dict(found.not_allowed)}
        )
        return
    columns = ["host", "fetched", "unchanged", "fresh", "stale", "failed", "why"]
    rows = []
    for one in hosts:
        counts = (one.fetched, one.unchanged, one.fresh, one.stale, sum(one.failed.values()))
        why = ", ".join(f"{reason} {photos:,}" for reason, photos in one.failed.items())
        rows.append([one.host, *(f"{count:,}" for count in counts), why])
    table(columns, rows)
    for host, urls in found.not_allowed.most_common(_SHOWN):
        echo(f"{urls:,} URLs of {host} are not fetched: catalog.photo_hosts does not allow it")
