"""The commands of photos by URL: fetching them ahead of a run, and what is kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from pipeline.commands.options import category_option, config_option, example, json_option, overrides_argument


@click.group()
def photos() -> None:
    """Photos that a catalog names by URL, and the cache that they are kept in."""


@photos.command("fetch", epilog=example("vitrine photos fetch -c shop.yaml catalog.photo_hosts=[cdn.example.com]"))
@config_option
@overrides_argument
@category_option
@json_option
def photos_fetch(config: str | None, overrides: Sequence[str], category: str | None, as_json: bool) -> int:
    """Fetch the photos of a catalog into the cache, as the next run would. Nothing is encoded.

    Exit code 1 where hosts gave no photo that they may give another time: once more asks for these alone.
    """
    from pipeline.commands.configs import load
    from pipeline.commands.photos_page import print_fetched
    from pipeline.embed.fetch_photos import fetch_photos
    from pipeline.engine import meters

    loaded = load(config, overrides)
    with meters.progress() as progress:
        found = fetch_photos(loaded.config.settings, category, progress)
    print_fetched(found, as_json)
    return int(found.unavailable > 0)


class Size(click.ParamType[int]):
    """Bytes, as a config says them."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click.ParamType."""
        from pydantic_core import PydanticCustomError

        from pipeline.config.byte_sizes import parse_bytes

        try:
            return parse_bytes(value)
        except PydanticCustomError as err:
            self.fail(f"{value!r} is not {err.message()}", param, ctx)


@photos.command(
    "evict", epilog=example("vitrine photos evict --keep 10GB", "vitrine photos evict --keep 0B -c shop.yaml")
)
@click.option("--keep", type=Size(), required=True, metavar="SIZE", help="Bytes of photos that stay, such as 10GB.")
@config_option
@overrides_argument
@json_option
def photos_evict(keep: int, config: str | None, overrides: Sequence[str], as_json: bool) -> None:
    """Drop photos from the cache, the longest unused first, until no more than --keep are left.

    What is known of their URLs stays: what did not change is not encoded again. Without a config, the user's cache.
    """
    from pipeline.commands import console
    from pipeline.commands.configs import load
    from pipeline.photos.net.cache import PhotoCache
    from pipeline.photos.net.settings import cache_folder

    named = load(config, overrides).config.catalog.photo_cache if config is not None or overrides else None
    folder = cache_folder(named)
    cache = PhotoCache(folder, keep)
    dropped, freed = cache.evict(keep)
    cache.close()
    line = f"{dropped:,} photos dropped, {freed:,} bytes: {folder}"
    console.result({"folder": folder, "dropped": dropped, "bytes": freed}, as_json, line)
