"""One host: how many photos are asked of it at once and how often, when it rests, and when it is given up.

A host that fails five times in a row rests, then one photo is tried, then it rests longer. What its failures cost
(rests, and the seconds of tries that gave nothing) is counted, and once that is more than the run's patience and what
its photos took together, it is given up for this run: a dead host costs a bounded time, a hiccup nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import httpx2

from pipeline.photos.net.cache import Entry
from pipeline.photos.net.failures import Failure
from pipeline.photos.net.settings import WebSettings

_IN_A_ROW = 5  # failures after which it rests
WAITED_HERE = 5.0  # seconds for which a try itself waits where the host asks for it; for longer the host rests
_FIRST_REST, _LONGEST_REST = 5.0, 60.0  # seconds; doubled from rest to rest

Result = TypeVar("Result")


@dataclass(eq=False)
class Job(Generic[Result]):
    """A photo that is asked for."""

    url: httpx2.URL
    key: str  # the same as text: what the cache calls it
    known: Entry | None  # of before
    result: Future[Result] = field(default_factory=Future)
    taken: bool = False
    failure: Failure | None = None  # of its last try


@dataclass
class Host(Generic[Result]):
    """What is known of one host in this run. Lives in the fetcher's loop; only `counts` are read elsewhere."""

    name: str
    settings: WebSettings
    queue: deque[Job[Result]] = field(default_factory=deque)
    workers: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    given_up: Failure | None = None
    _failures: int = 0
    _in_a_row: int = 0
    _rests: int = 0
    _until: float = 0.0  # it rests
    _trying: asyncio.Event | None = None  # one photo is tried after a rest, the others wait for what comes of it
    _lost: float = 0.0  # seconds
    _useful: float = 0.0
    _next_turn: float = 0.0

    def add(self, jobs: Iterable[Job[Result]], urgent: bool) -> None:
        """Ask for more photos: before all others where these are waited for."""
        if urgent:
            self.queue.extendleft(reversed(list(jobs)))
        else:
            self.queue.extend(jobs)

    def take(self) -> Job[Result] | None:
        """The next photo that nobody works at; None: there is none."""
        while self.queue:
            job = self.queue.popleft()
            if not job.taken:
                job.taken = True
                return job
        return None

    def put_back(self, job: Job[Result]) -> None:
        """It is tried once more, before the others."""
        job.taken = False
        self.queue.appendleft(job)

    def turn(self) -> float:
        """Take a turn: seconds until another request is within `photo_rate`."""
        if self.settings.rate is None:
            return 0.0
        now = time.monotonic()
        at = max(now, self._next_turn)
        self._next_turn = at + 1 / self.settings.rate
        return at - now

    async def admit(self) -> bool:
        """Wait until the host may be asked; False once it is given up."""
        while self.given_up is None:
            if self._trying is not None:
                await self._trying.wait()
            elif (rest := self._until - time.monotonic()) > 0:
                await asyncio.sleep(rest)
            else:
                if self._in_a_row >= _IN_A_ROW:
                    self._trying = asyncio.Event()
                return True
        return False

    def succeeded(self, seconds: float) -> None:
        """It answered, be it that there is no such photo."""
        self._useful += seconds / self.settings.connections
        self._in_a_row = self._rests = 0
        self.tried()

    def failed(self, failure: Failure, seconds: float) -> None:
        """A try of so many seconds gave nothing, by the host's fault."""
        alone = self._trying is not None
        self._lost += seconds if alone else seconds / self.settings.connections
        self._failures += 1
        self._in_a_row += 1
        self.tried()
        if failure.certain and self._in_a_row >= _IN_A_ROW:
            self.given_up = failure
        elif self.rests_for(failure):
            self.rest(failure.after or 0.0)
        elif self._in_a_row >= _IN_A_ROW and time.monotonic() >= self._until:
            self.rest(min(_LONGEST_REST, _FIRST_REST * 2**self._rests))
            self._rests += 1
        if self._lost > self.settings.patience + self._useful:
            words = f"{self.name} was given up for this run: {self._failures:,} failures, at last {failure.words}"
            self.given_up = Failure(failure.code, words.replace(": ", ", "), of_host=True)

    @staticmethod
    def rests_for(failure: Failure) -> bool:
        """Whether the host asked for more time than a try waits: the photo is tried again after it."""
        return failure.after is not None and failure.after > WAITED_HERE

    def rest(self, seconds: float) -> None:
        """Ask nothing for so long."""
        until = time.monotonic() + seconds
        self._lost += max(0.0, until - max(self._until, time.monotonic()))
        self._until = max(self._until, until)

    def tried(self) -> None:
        """A photo that was tried after a rest holds up no other any more."""
        if self._trying is not None:
            self._trying.set()
            self._trying = None
