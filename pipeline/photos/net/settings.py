"""From where photos are fetched, what each may cost, and where they are kept: plain values that travel to workers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from foundation.extras import DISTRIBUTION
from pipeline.config.photo_hosts import HostRule, Network, host_rule, network
from pipeline.config.sections import CatalogConfig


@dataclass(frozen=True)
class WebSettings:
    """See the keys of the same names in config/photo_urls.py."""

    hosts: tuple[HostRule, ...]
    networks: tuple[Network, ...]
    ca: str | None
    agent: str  # what each request says of who asks
    cache: str  # a folder
    cache_bytes: int
    fresh_seconds: float
    fetch_seconds: float
    patience: float
    connections: int
    rate: float | None
    max_bytes: int


def web_settings(catalog: CatalogConfig) -> WebSettings | None:
    """What `catalog` says of photos by URL; None where none is fetched."""
    if not catalog.photo_hosts:
        return None
    return WebSettings(
        hosts=tuple(map(host_rule, catalog.photo_hosts)),
        networks=tuple(map(network, catalog.photo_networks)),
        ca=catalog.photo_ca,
        agent=_agent(catalog.photo_contact),
        cache=cache_folder(catalog.photo_cache),
        cache_bytes=catalog.photo_cache_bytes,
        fresh_seconds=3600 * catalog.photo_fresh_hours,
        fetch_seconds=catalog.photo_fetch_seconds,
        patience=catalog.photo_patience,
        connections=catalog.photo_connections,
        rate=catalog.photo_rate,
        max_bytes=catalog.max_photo_bytes,
    )


def cache_folder(configured: str | None) -> str:
    """Where photos are kept: `configured`, or below VITRINE_CACHE, or in the user's cache folder."""
    if configured is not None:
        return os.path.abspath(configured)
    if named := os.environ.get("VITRINE_CACHE"):
        return os.path.abspath(os.path.join(named, "photos"))
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return str(home / "vitrine" / "photos")


def _agent(contact: str | None) -> str:
    try:
        number = version(DISTRIBUTION)
    except PackageNotFoundError:  # the source tree on the path, never installed
        number = "0"
    return f"Vitrine/{number} (product search indexing{'' if contact is None else f'; {contact}'})"
