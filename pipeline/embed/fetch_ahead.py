"""Photos by URL are fetched beside encoding: while some units are worked at, those of the next are on their way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow.compute as pc

from encoders.photos.paths import is_web
from pipeline.catalog.stage_columns import PARTITION, PHOTOS, REJECT
from pipeline.config.sections import Embedding
from pipeline.photos.root import Root, RootAndWeb
from pipeline.photos.session import fetcher_of
from pipeline.plan.unit_rows import duplicates_of, rows_of
from pipeline.plan.units import Unit

_AHEAD = 4096  # photos that are fetched and that no unit has asked for yet
_POLL = 0.1  # seconds
_log = logging.getLogger(__name__)


@contextmanager
def fetching_ahead(units: Sequence[Unit], embedding: Embedding, root: Root) -> Iterator[None]:
    """Fetch the photos of `units`, in their order, while the body runs; what is not fetched by then is left.

    Not where a version column tells photos apart: then those alone are fetched whose version is new.
    """
    if not isinstance(root, RootAndWeb) or embedding.encoders.image is None:
        yield
        return
    ended = threading.Event()
    by_version = embedding.catalog.image_identity == "version"
    thread = threading.Thread(target=_fetch, args=(units, embedding, root, ended), name="ahead", daemon=True)
    if not by_version:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if not by_version:
            thread.join()


def urls_of(unit: Unit, embedding: Embedding) -> list[str]:
    """The URLs of a unit's photos, each once, in the order of its rows."""
    nothing_else = {"text": (), "attributes": (), "prices": ()}
    catalog = embedding.catalog.searching(()).model_copy(update=nothing_else)
    table = rows_of(unit, catalog, embedding.shards, duplicates_of(unit))
    if unit.category:
        table = table.filter(pc.equal(table.column(PARTITION), unit.category))
    table = table.filter(pc.is_null(table.column(REJECT)))
    paths = pc.struct_field(pc.list_flatten(table.column(PHOTOS)), "path").to_pylist()
    return [path for path in dict.fromkeys(paths) if path is not None and is_web(path)]


def _fetch(units: Sequence[Unit], embedding: Embedding, root: RootAndWeb, ended: threading.Event) -> None:
    fetcher = fetcher_of(root.web)
    try:
        for unit in units:
            fetcher.want(urls_of(unit, embedding), urgent=False)
            while fetcher.ahead > _AHEAD and not ended.wait(_POLL):
                pass
            if ended.is_set():
                return
    except Exception as err:  # noqa: BLE001 - whoever reads the unit meets it too, and says it
        _log.info("photos are not fetched ahead any more: %s", err)
