"""Fetches the photos of a whole catalog by URL into the cache, ahead of the run that encodes them."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass

from foundation.errors import InputError
from foundation.liveness import beat
from pipeline.config.sections import CatalogConfig, RunSettings
from pipeline.embed.fetch_ahead import urls_of
from pipeline.engine.progress import Progress
from pipeline.photos.hosts_to_allow import refused_hosts
from pipeline.photos.net.fetcher import Outcome
from pipeline.photos.root import RootAndWeb, photo_root
from pipeline.photos.session import counts_by_host, fetcher_of, fetching
from pipeline.plan.units import make_plan

_WAITING = 4096  # photos that are on their way at once
_STEP = "fetch"


@dataclass(frozen=True)
class FetchedPhotos:
    """What became of the photos of each host, see Fetcher.counts, and how many URLs have hosts that are not allowed."""

    hosts: dict[str, Counter[str]]
    not_allowed: Counter[str]

    @property
    def unavailable(self) -> int:
        """Photos that their hosts may give another time, those of before among them."""
        return sum(one["failed image_unavailable"] + one["stale"] for one in self.hosts.values())


def fetch_photos(settings: RunSettings, category: str | None, progress: Progress | None) -> FetchedPhotos:
    """Fetch what a run of this config would, in the order of its rows. Nothing is decoded or encoded.

    InputError where the config allows no host; VitrineError where this machine is at fault.
    """
    _refuse_none(settings.embedding.catalog)
    with fetching():
        not_allowed = _fetch(settings, category, progress)
        return FetchedPhotos(counts_by_host(), not_allowed)


def _fetch(settings: RunSettings, category: str | None, progress: Progress | None) -> Counter[str]:
    """Fetch; how many URLs each host has that is not allowed."""
    plan = make_plan(settings.embedding, settings.gates, category)
    embedding = plan.reading(settings.embedding)
    root = photo_root(plan.image_root, embedding.catalog)
    assert isinstance(root, RootAndWeb)
    fetcher, rows, refused = fetcher_of(root.web), 0, Counter[str]()
    waiting = deque[Future[Outcome]]()
    for unit in plan.units:
        urls = urls_of(unit, embedding)
        refused += refused_hosts(urls, root.web).hosts
        waiting += fetcher.want(urls)
        while len(waiting) > _WAITING:
            waiting.popleft().result()
        rows += unit.rows
        if progress is not None:
            progress(_STEP, rows, plan.rows)
        beat()
    for one in waiting:
        one.result()
    return refused


def _refuse_none(catalog: CatalogConfig) -> None:
    if catalog.image is None:
        raise InputError("a column of photos", "catalog.image=null", "name it: catalog.image=image_link")
    if not catalog.photo_hosts:
        fix = "name those of the catalog's URLs, as `vitrine plan` finds them: catalog.photo_hosts=[cdn.example.com]"
        raise InputError("hosts from which photos are fetched", "catalog.photo_hosts=[]", fix)
