"""One connection on asyncio's own transports, as httpcore2 wants it.

Its own go through anyio, which takes TLS apart in Python and asks the system whether a connection still stands: a third
of the CPU time of a photo went there.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpcore2

ANSWERED = "answered"  # of `get_extra_info`: whether anything was read since the last request was written
_MOST = 2**18  # bytes that are held before the host has to wait
_INFO = {"ssl_object": "ssl_object", "client_addr": "sockname", "server_addr": "peername", "socket": "socket"}


class Stream(httpcore2.AsyncNetworkStream, asyncio.Protocol):
    """A connection, made by asyncio as any of its protocols. What goes wrong is an error of httpcore2."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answered = self._ended = False
        self._fault: Exception | None = None
        self._readable, self._writable = asyncio.Event(), asyncio.Event()
        self._writable.set()

    # --- what httpcore2 calls ---

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes, at most so many; none once the host has ended the connection."""
        if not self._received:
            try:
                async with asyncio.timeout(timeout):
                    await self._readable.wait()
            except TimeoutError as err:
                raise httpcore2.ReadTimeout(f"nothing came in {timeout:g} s") from err
        if not self._received and self._fault is not None:
            raise httpcore2.ReadError(str(self._fault)) from self._fault
        self._answered = True
        found = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        if not self._received and not self._ended:
            self._readable.clear()
            self._open.resume_reading()
        return found

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send, and wait until there is room for more."""
        if self._ended:
            raise httpcore2.WriteError("the connection has ended") from self._fault
        if not buffer:
            return
        self._answered = False
        self._open.write(buffer)
        try:
            async with asyncio.timeout(timeout):
                await self._writable.wait()
        except TimeoutError as err:
            raise httpcore2.WriteTimeout(f"nothing was taken in {timeout:g} s") from err

    async def aclose(self) -> None:
        """Drop the connection: nothing is owed to a host, which could take its time over a farewell."""
        self._open.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """The same connection, encrypted from now on."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                made = await loop.start_tls(self._open, self, ssl_context, server_hostname=server_hostname)
        except TimeoutError as err:
            raise httpcore2.ConnectTimeout(f"no TLS connection in {timeout:g} s") from err
        except OSError as err:
            raise httpcore2.ConnectError(str(err)) from err
        if made is None:
            raise httpcore2.ConnectError("the connection ended while TLS began")
        self._transport = made
        return self

    def get_extra_info(self, info: str) -> Any:
        """See httpcore2; readable is also a connection that has ended."""
        if info == ANSWERED:
            return self._answered
        if info == "is_readable":
            return self._readable.is_set()
        return self._open.get_extra_info(_INFO[info]) if info in _INFO else None

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep it until it is read."""
        self._received += data
        self._readable.set()
        if len(self._received) > _MOST:
            self._open.pause_reading()

    def eof_received(self) -> None:
        """Nothing more comes."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It stands no more."""
        self._end(exc)

    def pause_writing(self) -> None:
        """The host takes nothing."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()

    def _end(self, fault: Exception | None) -> None:
        self._ended, self._fault = True, self._fault or fault
        self._readable.set()
        self._writable.set()

    @property
    def _open(self) -> asyncio.Transport:
        assert self._transport is not None, "asyncio makes the connection first"
        return self._transport
