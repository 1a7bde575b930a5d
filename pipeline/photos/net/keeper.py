"""What comes of photos on its way into the cache, in a thread beside the loop, which asks for others meanwhile.

What comes within a moment goes together, in one transaction: at hundreds of photos a second, threads that wake each
other up for each of them cost more than the writing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pipeline.photos.net.cache import Came, Entry, PhotoCache

Told = Callable[[Entry | Exception], None]  # called in the loop: what is known now, or why it could not be kept
_MOMENT = 0.01  # seconds
_MANY = 16  # photos that wait are written at once
_MOST = 64  # others wait for room: a disk may be slower than hosts


class Keeper:
    """Writes into `cache`. Lives in the fetcher's loop."""

    def __init__(self, cache: PhotoCache) -> None:
        self._cache = cache
        self._room = asyncio.Semaphore(_MOST)
        self._waiting: list[tuple[Came, Told]] = []
        self._writing: asyncio.Task[None] | None = None

    async def keep(self, came: Came, told: Told) -> None:
        """Have it written soon, see PhotoCache.keep, and `told` once it is; waits where too much waits already."""
        await self._room.acquire()
        self._waiting.append((came, told))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) < _MANY:
                    await asyncio.sleep(_MOMENT)
                some, self._waiting = self._waiting, []
                await self._write_together(some)
        finally:
            self._writing = None

    async def _write_together(self, some: Sequence[tuple[Came, Told]]) -> None:
        kept: Sequence[Entry | Exception]
        try:
            kept = await asyncio.to_thread(self._cache.keep, [came for came, _ in some])
        except Exception as err:  # noqa: BLE001 - whoever waits is to hear of it
            kept = [err] * len(some)
        for (_, told), one in zip(some, kept, strict=True):
            self._room.release()
            told(one)
