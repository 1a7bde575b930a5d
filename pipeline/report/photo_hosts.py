"""What a run tells of the hosts that its photos are fetched from: the largest by name, the others as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from foundation.reasons import Reason
from pipeline.report.notices import Notice
from pipeline.report.run_report import PhotoHost

_MOST = 20  # hosts that are named, also in the metrics
_FAILED = "failed "  # of a count, before its reason
_WHOLE = ("fetched", "unchanged", "fresh", "stale", "requests", "bytes")


def photo_hosts(counts: Mapping[str, Counter[str]]) -> tuple[PhotoHost, ...]:
    """Host -> its counts, see Fetcher.counts, as a report has them: those with most photos first."""
    order = sorted(counts, key=lambda name: (-_photos(counts[name]), name))
    named = [(name, counts[name]) for name in order[:_MOST]]
    if others := order[_MOST:]:
        named.append((f"{len(others):,} others", sum((counts[name] for name in others), Counter[str]())))
    return tuple(_host(name, one) for name, one in named)


def stale_photos(counts: Mapping[str, Counter[str]]) -> list[Notice]:
    """How many photos are those of an earlier night, because their hosts did not answer."""
    stale = {name: one["stale"] for name, one in counts.items() if one["stale"]}
    if not stale:
        return []
    told = "photos by URL whose hosts gave none tonight are those that they gave before; asked again the next night"
    hosts = sorted(stale, key=lambda name: (-stale[name], name))[:_MOST]
    examples = tuple(f"{name}: {stale[name]:,}" for name in hosts)
    return [Notice(what="photos_stale", count=sum(stale.values()), told=told, examples=examples, kinds=len(stale))]


def _photos(counts: Counter[str]) -> int:
    return sum(counts[name] for name in _WHOLE[:4]) + sum(counts[_FAILED + code] for code in Reason)


def _host(name: str, counts: Counter[str]) -> PhotoHost:
    failed = {code.value: counts[_FAILED + code] for code in Reason if counts[_FAILED + code]}
    return PhotoHost(host=name, failed=failed, **{what: counts[what] for what in _WHOLE})
