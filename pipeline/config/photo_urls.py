"""Keys of `catalog` that say from where photos are fetched, how gently, and where they are kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from pipeline.config.byte_sizes import Bytes
from pipeline.config.photo_hosts import checked_host, checked_network
from pipeline.config.section import Count, Name, NotNegative, Seconds, Section, listed

Host = Annotated[str, AfterValidator(checked_host)]
OpenNetwork = Annotated[str, AfterValidator(checked_network)]
Contact = Annotated[str, Field(pattern=r"^[\x21-\x7e][\x20-\x7e]*$", max_length=200)]


class PhotoUrls(Section):
    """Photos that the catalog names by URL."""

    photo_hosts: Annotated[tuple[Host, ...], BeforeValidator(listed)] = Field(
        (),
        description="hosts whose photos are fetched, as `cdn.example.com` or `*.example.com`: by https on port 443, "
        "unless `http://host` or `host:port` is said; empty: nothing is fetched",
    )
    photo_contact: Contact | None = Field(
        None, description="address or mail of the shop, told to the hosts with each request (User-Agent)"
    )
    photo_cache: Name | None = Field(
        None,
        description="folder in which fetched photos are kept; null: `photos` in VITRINE_CACHE, or `vitrine/photos` in "
        "the user's cache folder",
    )
    photo_cache_bytes: Bytes = Field(
        50_000_000_000, description="bytes of photos that are kept, such as 50GB; the longest unused go first"
    )
    photo_fresh_hours: NotNegative = Field(
        12.0,
        description="hours for which what a host answered counts without asking again; longer where it says so "
        "(Cache-Control)",
    )
    photo_fetch_seconds: Seconds = Field(
        30.0, description="seconds that a photo may take, from the first try to the last byte"
    )
    photo_patience: Seconds = Field(
        300.0,
        description="seconds that the failures of one host may cost a run, beside as many as its photos took: then it "
        "is given up for the night",
    )
    photo_connections: Annotated[Count, Field(le=256)] = Field(
        16, description="photos that are fetched at once from one host; at most 256"
    )
    photo_rate: Annotated[float, Field(gt=0, strict=True)] | None = Field(
        None, description="requests a second to one host, at most; null: as many as it answers"
    )
    photo_networks: Annotated[tuple[OpenNetwork, ...], BeforeValidator(listed)] = Field(
        (),
        description="networks beside the public ones in which hosts may lie, as `10.0.0.0/8` for photos of an intranet",
    )
    photo_ca: Name | None = Field(
        None, description="file of certificates (PEM) that are trusted beside the system's, for a shop's own CA"
    )
