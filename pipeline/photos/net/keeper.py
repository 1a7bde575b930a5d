"""Photos on their way into the cache, in a thread beside the loop: a disk that is slow holds up no other photo.

Those that come while others are written go together, into one transaction: at a thousand photos a second, what each
one alone costs in threads that wake each other up is more than the writing.
"""

from __future__ import annotations

import asyncio

from pipeline.photos.net.cache import Photo, PhotoCache


class Keeper:
    """Keeps photos in `cache`. Lives in the fetcher's loop."""

    def __init__(self, cache: PhotoCache) -> None:
        self._cache = cache
        self._waiting: list[tuple[Photo, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def keep(self, photo: Photo) -> None:
        """Return once it is in the cache; VitrineError where the disk is at fault."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((photo, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting, []
            fault: Exception | None = None
            try:
                await asyncio.to_thread(self._cache.keep, [photo for photo, _ in some])
            except Exception as err:  # noqa: BLE001 - whoever waits for a photo is to hear of it
                fault = err
            for _, done in some:
                if done.cancelled():
                    continue
                if fault is None:
                    done.set_result(None)
                else:
                    done.set_exception(fault)
        self._writing = None
