"""One try at one photo: the request, its redirects, and the body, within bounds of bytes, redirects and time.

What a host sends is believed in nothing: bytes are counted as they come and once they are decompressed, a redirect is
held against the rules of the URL itself, and what is left of an answer nobody wants is not read.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import httpcore2
import httpx2

from encoders.photos.limits import PhotoError
from foundation.reasons import Reason
from pipeline.photos.net.backend import GuardedBackend
from pipeline.photos.net.settings import WebSettings
from pipeline.photos.net.stream import ANSWERED
from pipeline.photos.net.urls import joined, named

MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_CONNECTIONS = 256  # to all hosts together
_IDLE_SECONDS = 15.0  # that a connection is kept for the next photo
_LEFT = 2**16  # bytes of an unwanted answer that are read so that its connection can be used again
_GZIP, _DEFLATE = 31, 47  # zlib's window bits: gzip alone, gzip or zlib
_ENCODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}
_HTTP_2 = b"HTTP/2"


@dataclass(frozen=True)
class Answer:
    """What the last host of a chain of redirects said; `body` of a 200 alone."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass
class _Pool:
    """Connections, and how many answers are being read from them."""

    connections: httpcore2.AsyncConnectionPool
    busy: int = 0
    retired: bool = False


@dataclass
class Exchange:
    """Asks for photos."""

    settings: WebSettings
    _pool: _Pool | None = field(default=None, init=False)

    async def ask(
        self, url: httpx2.URL, conditions: Mapping[str, str], turn: Callable[[str], Awaitable[None]]
    ) -> Answer:
        """The answer to a request for `url`, whose host is allowed, and to what it redirects to; `turn` is awaited
        before each request, with its host.

        PhotoError where this photo is refused; the errors of httpcore2, AddressRefusedError and zlib.error as they
        come. The caller bounds the time.
        """
        for _ in range(1 + MOST_REDIRECTS):
            await turn(named(url))
            answer = await self._once(url, conditions)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            url = joined(url, location, self.settings.hosts)
        raise PhotoError(
            Reason.IMAGE_UNAVAILABLE, f"more than {MOST_REDIRECTS} redirects: {str(url)[:200]}", may_pass=True
        )

    async def close(self) -> None:
        """Drop all connections."""
        if self._pool is not None:
            await self._pool.connections.aclose()

    # --- inside ---

    async def _once(self, url: httpx2.URL, conditions: Mapping[str, str]) -> Answer:
        seconds = self.settings.fetch_seconds
        timeouts = {"connect": seconds / 2, "read": seconds / 2, "write": seconds / 2, "pool": seconds}
        headers = [
            (b"Host", url.netloc),
            (b"User-Agent", self.settings.agent.encode("ascii")),
            (b"Accept", b"image/*,*/*;q=0.5"),
            (b"Accept-Encoding", b"identity"),  # photos are compressed; what comes compressed again is counted
            *((name.encode(), value.encode("latin-1")) for name, value in conditions.items()),
        ]
        place = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        pool = self._pool = self._pool or self._new_pool()
        pool.busy += 1
        try:
            async with pool.connections.stream(
                "GET", place, headers=headers, extensions={"timeout": timeouts}
            ) as response:
                whole = False
                try:
                    _refuse_unasked(response)
                    answer = await self._read(response, url)
                    whole = True
                finally:
                    if not whole and response.extensions.get("http_version") == _HTTP_2:
                        self._retire(pool)
                return answer
        finally:
            pool.busy -= 1
            if pool.retired and not pool.busy:
                await pool.connections.aclose()

    def _retire(self, pool: _Pool) -> None:
        """Start new connections from now on: a stream of HTTP/2 that is left unread would take away from the room that
        its connection has for all others, until none comes any more.
        """
        pool.retired = True
        if self._pool is pool:
            self._pool = None

    async def _read(self, response: httpcore2.Response, url: httpx2.URL) -> Answer:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status != 200:
            await self._drop(response)
            return Answer(response.status, headers, b"")
        most = self.settings.max_bytes
        claimed = headers.get("content-length", "")
        if claimed.isdecimal() and int(claimed) > most:
            raise _too_large(int(claimed), most, url)
        parts, size = list[bytes](), 0
        async for part in _decoded(response.aiter_stream(), headers, most, url):
            size += len(part)
            if size > most:
                raise _too_large(size, most, url)
            parts.append(part)
        return Answer(200, headers, b"".join(parts))

    async def _drop(self, response: httpcore2.Response) -> None:
        """Read what is left of a short answer: its connection can be used again then."""
        size = 0
        async for part in response.aiter_stream():
            size += len(part)
            if size > _LEFT:
                return

    def _new_pool(self) -> _Pool:
        return _Pool(
            httpcore2.AsyncConnectionPool(
                ssl_context=_tls(self.settings.ca),
                max_connections=_MOST_CONNECTIONS,
                keepalive_expiry=_IDLE_SECONDS,
                http1=True,
                http2=True,
                network_backend=GuardedBackend(self.settings.networks),
            )
        )


def _refuse_unasked(response: httpcore2.Response) -> None:
    """An answer that was there before its request is what was left of the one before: it would be another's photo, and
    so would all be that come after it.
    """
    if response.extensions.get("http_version") == _HTTP_2:
        return
    if not response.extensions["network_stream"].get_extra_info(ANSWERED):
        raise httpcore2.RemoteProtocolError("an answer that nobody asked for")


async def _decoded(
    parts: AsyncIterator[bytes], headers: Mapping[str, str], most: int, url: httpx2.URL
) -> AsyncIterator[bytes]:
    """The body without the compression that nobody asked for; never much more than `most` bytes at once."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        async for part in parts:
            yield part
        return
    if encoding not in _ENCODINGS:
        message = f"sent compressed though it was not asked for ({encoding[:40]}): {str(url)[:200]}"
        raise PhotoError(Reason.IMAGE_UNAVAILABLE, message, may_pass=True)
    decoder = zlib.decompressobj(_ENCODINGS[encoding])
    async for part in parts:
        yield decoder.decompress(part, most + 1)  # where more comes of it, the caller has had enough
    yield decoder.flush()
    if not decoder.eof:
        raise httpcore2.RemoteProtocolError("the compressed answer ends too early")


def _tls(ca: str | None) -> ssl.SSLContext:
    context = httpcore2.default_ssl_context()
    if ca is not None:
        context.load_verify_locations(cafile=ca)
    return context


def _too_large(size: int, most: int, url: httpx2.URL) -> PhotoError:
    came = f"{size:,} or more, {named(url)}{url.path[:150]}"
    return PhotoError(Reason.IMAGE_TOO_LARGE, f"more than {most:,} bytes: {came}")
