"""What comes of photos on its way into the cache, in a thread beside the loop: a slow disk holds up no other photo.

What comes while something is written goes together, in one transaction: at a thousand photos a second, threads that
wake each other up for each of them cost more than the writing.
"""

from __future__ import annotations

import asyncio

from pipeline.photos.net.cache import Came, Entry, PhotoCache


class Keeper:
    """Writes into `cache`. Lives in the fetcher's loop."""

    def __init__(self, cache: PhotoCache) -> None:
        self._cache = cache
        self._waiting: list[tuple[Came, asyncio.Future[Entry]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def keep(self, came: Came) -> Entry:
        """See PhotoCache.keep; returns once it is there."""
        done: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._waiting.append((came, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await done

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting, []
            try:
                entries = await asyncio.to_thread(self._cache.keep, [came for came, _ in some])
            except Exception as err:  # noqa: BLE001 - whoever waits is to hear of it
                for _, done in some:
                    if not done.done():
                        done.set_exception(err)
            else:
                for (_, done), entry in zip(some, entries, strict=True):
                    if not done.done():
                        done.set_result(entry)
        self._writing = None
