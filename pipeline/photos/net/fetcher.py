"""Fetches photos beside what the caller does: one thread with an event loop, for all threads of the process.

A caller says which photos it will want, and later waits for each. What the cache knows and is still fresh is not asked
for; within one session no URL is asked for twice. What comes of a URL is noted in the cache before the caller hears of
it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import httpx2
import stamina
from stamina.instrumentation import set_on_retry_hooks

from encoders.photos.limits import PhotoError
from foundation.errors import InputError
from foundation.liveness import beat
from foundation.reasons import Reason
from pipeline.photos.net.cache import Entry, PhotoCache, without_validators
from pipeline.photos.net.exchange import Answer, Exchange
from pipeline.photos.net.failures import Failure, TryError, failure_of, failure_of_status
from pipeline.photos.net.freshness import conditions
from pipeline.photos.net.host import WAITED_HERE, Host, Job
from pipeline.photos.net.keeper import Keeper
from pipeline.photos.net.settings import WebSettings
from pipeline.photos.net.settled import Settled, failed, had
from pipeline.photos.net.urls import allowed, named

_TRIES = 3
_AT_ONCE = 128  # photos of all hosts together
_END_SECONDS = 5.0
_TRYING = stamina.AsyncRetryingCaller(  # seconds between tries; that of all of them is `photo_fetch_seconds`
    attempts=_TRIES, timeout=None, wait_initial=0.5, wait_max=8.0, wait_jitter=0.5
)


@dataclass(frozen=True)
class Outcome:
    """What became of a photo: the digest of its content, or why there is none."""

    url: str
    digest: str | None
    failure: Failure | None

    @property
    def content(self) -> str:
        """The digest; PhotoError where there is no photo."""
        if self.digest is None:
            assert self.failure is not None
            raise self.failure.error(self.url)
        return self.digest


class Fetcher:
    """What is fetched by `settings`, from now until it is closed."""

    def __init__(self, settings: WebSettings) -> None:
        self.settings, self.began = settings, time.time()
        _refuse_ca(settings.ca)
        self.cache = PhotoCache(settings.cache, settings.cache_bytes)
        self.hosts: dict[str, Host[Outcome]] = {}
        self._jobs: dict[str, Job[Outcome]] = {}
        self._met: set[int] = set()  # hashes of URLs that were fresh: each counts once
        self._ahead: set[str] = set()  # URLs that were wanted ahead and that nobody waited for yet
        self._lock = threading.Lock()
        set_on_retry_hooks(())  # each failure is told once, with its photo
        self._loop = asyncio.new_event_loop()
        self._exchange, self._keeper = Exchange(settings), Keeper(self.cache)
        self._trying = _TRYING.on(_wait_before_next)
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._workers: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="photos by URL", daemon=True)
        self._thread.start()

    @property
    def ahead(self) -> int:
        """How many photos were wanted ahead, and not yet waited for."""
        return len(self._ahead)

    def want(self, paths: Iterable[str], urgent: bool = True) -> list[Future[Outcome]]:
        """Have the photos at these URLs fetched, before all others where it is `urgent`; what must be waited for. URLs
        that are not allowed are left out.
        """
        started = list[Job[Outcome]]()
        waiting = list[Job[Outcome]]()
        for path in dict.fromkeys(paths):
            try:
                url = allowed(path, self.settings.hosts)
            except PhotoError:
                continue
            key = str(url)
            known = self.cache.find(key)
            if self._settled(url, known) is not None:
                continue
            with self._lock:
                job = self._jobs.get(key)
                if job is None:
                    job = self._jobs[key] = Job(url, key, known)
                started.append(job)
                if not urgent:
                    self._ahead.add(key)
            waiting.append(job)
        if started:
            self._loop.call_soon_threadsafe(self._start, started, urgent)
        return [job.result for job in waiting]

    def unanswered(self, paths: Sequence[str], seconds: float) -> set[str]:
        """Those of `paths`, allowed URLs, of which nothing is known when so many seconds are over."""
        wait(self.want(paths), seconds)
        found = set[str]()
        for path in paths:
            try:
                url = allowed(path, self.settings.hosts)
            except PhotoError:
                continue
            if self._settled(url, self.cache.find(str(url))) is None:
                found.add(path)
        return found

    def outcome(self, path: str) -> Outcome:
        """What became of the photo at this URL, once that is known; PhotoError where it is not allowed.

        VitrineError where this machine is at fault.
        """
        url = allowed(path, self.settings.hosts)
        self._ahead.discard(str(url))
        found = self._settled(url, self.cache.find(str(url)))
        if found is not None:
            return found
        futures = self.want([path])
        return futures[0].result() if futures else self.outcome(path)

    def content(self, path: str) -> tuple[bytes, str]:
        """(the photo at this URL, the digest of its bytes), fetched anew where the cache has it no more."""
        for _ in range(2):
            outcome = self.outcome(path)
            raw = self.cache.read(outcome.content, self.settings.max_bytes)
            if raw is not None:
                return raw, outcome.content
            self._forget(outcome.url)
        lost = "the cache does not keep it, see catalog.photo_cache_bytes"
        raise (outcome.failure or Failure(Reason.IMAGE_UNAVAILABLE, lost)).error(outcome.url)

    def counts(self) -> dict[str, Counter[str]]:
        """Host -> how many photos were `fetched` (in `bytes`), `unchanged`, `fresh`, `stale`, and `failed CODE`, and
        how many `requests` that took.
        """
        with self._lock:
            return {name: Counter(host.counts) for name, host in sorted(self.hosts.items())}

    def close(self) -> None:
        """End, whatever is still asked for."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.cache.close()

    # --- in the caller's thread ---

    def _settled(self, url: httpx2.URL, entry: Entry | None) -> Outcome | None:
        """What is known of a URL and counts; None where it has to be asked."""
        if entry is None:
            return None
        failure = None if entry.code is None else Failure(entry.code, entry.words or "")
        if entry.checked < self.began:
            least = self.settings.fresh_seconds if failure is None or failure.lasts else 0.0
            if max(entry.fresh_until, entry.checked + least) <= time.time():
                return None
            self._count_fresh(url)
        return Outcome(str(url), entry.digest, failure)

    def _count_fresh(self, url: httpx2.URL) -> None:
        with self._lock:
            if hash(str(url)) not in self._met:
                self._met.add(hash(str(url)))
                self._host(named(url)).counts["fresh"] += 1

    def _forget(self, key: str) -> None:
        """Have the photo itself sent, whatever is known of its URL."""
        entry = self.cache.find(key)
        if entry is not None:
            self.cache.note(key, replace(without_validators(entry), checked=0.0, fresh_until=0.0))

    def _host(self, name: str) -> Host[Outcome]:
        return self.hosts.setdefault(name, Host(name, self.settings))

    # --- in the loop ---

    def _start(self, jobs: list[Job[Outcome]], urgent: bool) -> None:
        by_host = dict[str, list[Job[Outcome]]]()
        for job in jobs:
            by_host.setdefault(named(job.url), []).append(job)
        for name, some in by_host.items():
            with self._lock:
                host = self._host(name)
            host.add(some, urgent)
            for _ in range(min(len(some), self.settings.connections - host.workers)):
                host.workers += 1
                task = self._loop.create_task(self._work(host))
                self._workers.add(task)
                task.add_done_callback(self._workers.discard)

    async def _work(self, host: Host[Outcome]) -> None:
        try:
            while (job := host.take()) is not None:
                try:
                    settled = await self._settle(host, job)
                except Exception as err:  # noqa: BLE001 - whoever waits for the photo is to hear of it
                    host.tried()
                    self._done(job).set_exception(err)
                    continue
                if settled is not None:
                    await self._keeper.keep(settled.came, partial(self._tell, host, job, settled))
                beat()
        finally:
            host.workers -= 1

    def _tell(self, host: Host[Outcome], job: Job[Outcome], settled: Settled, kept: Entry | Exception) -> None:
        """Count it, and tell who waits."""
        if isinstance(kept, Exception):
            self._done(job).set_exception(kept)
            return
        host.counts[settled.counted] += 1
        host.counts["bytes"] += len(settled.came.raw or b"")
        self._done(job).set_result(Outcome(job.key, kept.digest, settled.failure))

    def _done(self, job: Job[Outcome]) -> Future[Outcome]:
        with self._lock:
            self._jobs.pop(job.key, None)
        return job.result

    async def _settle(self, host: Host[Outcome], job: Job[Outcome]) -> Settled | None:
        """What becomes of a photo; None: it waits for its turn again."""
        if not await host.admit():
            assert host.given_up is not None
            return failed(job, host.given_up)
        async with self._room:
            return await self._ask(host, job)

    async def _ask(self, host: Host[Outcome], job: Job[Outcome]) -> Settled | None:
        began = time.monotonic()
        try:
            answer = await self._tried(job)
        except TryError as err:
            failure, seconds = err.failure, time.monotonic() - began
            if not failure.of_host:
                host.succeeded(seconds)
                return failed(job, failure)
            host.failed(failure, seconds)
            if host.rests_for(failure) and host.given_up is None:
                host.put_back(job)
                return None
            return failed(job, failure)
        host.succeeded(time.monotonic() - began)
        return had(job, answer)

    async def _tried(self, job: Job[Outcome]) -> Answer:
        """The answer of a few tries, within the seconds of a photo; TryError."""
        seconds = self.settings.fetch_seconds
        job.failure = None
        try:
            async with asyncio.timeout(seconds) as bound:
                return await self._trying(self._once, job, bound)
        except TimeoutError as err:
            raise TryError(job.failure or failure_of(err, seconds)) from err

    async def _once(self, job: Job[Outcome], bound: asyncio.Timeout) -> Answer:
        known = job.known
        asked = conditions(known.etag, known.modified) if known is not None and known.digest is not None else {}
        try:
            answer = await self._exchange.ask(job.url, asked, lambda name: self._turn(name, bound))
            if answer.status == 200 or (answer.status == 304 and asked):
                return answer
            job.failure = failure_of_status(answer)
        except Exception as err:
            job.failure = failure_of(err, self.settings.fetch_seconds / 2)
            raise TryError(job.failure) from err
        raise TryError(job.failure)

    async def _turn(self, name: str, bound: asyncio.Timeout) -> None:
        """Wait for the next request to a host; what `photo_rate` makes a photo wait is none of its seconds."""
        with self._lock:
            host = self._host(name)
        seconds, end = host.turn(), bound.when()
        if seconds > 0 and end is not None:
            bound.reschedule(end + seconds)
            await asyncio.sleep(seconds)
        host.counts["requests"] += 1

    async def _end(self) -> None:
        for task in (workers := list(self._workers)):
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await self._keeper.close()
        with suppress(Exception):  # of connections that are dropped
            await asyncio.wait_for(self._exchange.close(), _END_SECONDS)
        for job in list(self._jobs.values()):
            job.result.cancel()


def _wait_before_next(err: Exception) -> bool | float:
    """Whether stamina tries again, and after how many seconds where the host says so."""
    if not isinstance(err, TryError) or not err.failure.again:
        return False
    after = err.failure.after
    return True if after is None else after <= WAITED_HERE and after


def _refuse_ca(path: str | None) -> None:
    """InputError where the file of certificates cannot be used."""
    if path is None:
        return
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as err:
        fix = "name a file of certificates in PEM, or leave the key out"
        came = f"catalog.photo_ca={path}: {err}"
        raise InputError("certificates that are trusted beside the system's", came, fix) from err
