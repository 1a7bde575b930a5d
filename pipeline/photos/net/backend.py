"""How connections are made: names are resolved here, and only allowed addresses are connected to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore2

from pipeline.config.photo_hosts import Network
from pipeline.photos.net.addresses import may_connect
from pipeline.photos.net.stream import Stream

_MOST_TRIED = 4  # addresses of one name


class AddressRefusedError(Exception):
    """A name leads to addresses of which none may be connected to."""

    def __init__(self, host: str, addresses: Sequence[str]) -> None:
        super().__init__(host, addresses)
        self.host, self.addresses = host, tuple(addresses)


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses, and to those of the `opened` networks."""

    def __init__(self, opened: Sequence[Network]) -> None:
        self._opened = tuple(opened)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to one of the addresses of `host`, tried in the resolver's order, all within `timeout`.

        AddressRefusedError where none of them may be; httpcore2's ConnectError and ConnectTimeout.
        """
        try:
            async with asyncio.timeout(timeout):
                found = await _resolved(host, port)
                addresses = [one for one in found if may_connect(one, self._opened)][:_MOST_TRIED]
                if not addresses:
                    raise AddressRefusedError(host, found)
                share = None if timeout is None else timeout / len(addresses)
                return await self._first(addresses, port, share)
        except TimeoutError as err:
            raise httpcore2.ConnectTimeout(f"no connection to {host} in {timeout:g} s") from err

    async def _first(self, addresses: Sequence[str], port: int, timeout: float | None) -> httpcore2.AsyncNetworkStream:
        failed = OSError("no address")
        for address in addresses:
            try:
                async with asyncio.timeout(timeout):
                    _, stream = await asyncio.get_running_loop().create_connection(Stream, address, port)
            except OSError as err:  # a TimeoutError too
                failed = err
                continue
            peer = str(stream.get_extra_info("server_addr")[0])
            if may_connect(peer, self._opened):
                return stream
            await stream.aclose()
            raise AddressRefusedError(address, [peer])
        if isinstance(failed, TimeoutError):
            raise httpcore2.ConnectTimeout("no connection") from failed
        raise httpcore2.ConnectError(str(failed)) from failed

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        """Never: a URL names no socket of this machine."""
        raise httpcore2.ConnectError("no socket of this machine is connected to")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def _resolved(host: str, port: int) -> list[str]:
    """The addresses of `host`, an address itself too, in the resolver's order."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as err:
        raise httpcore2.ConnectError(f"no address of {host}: {err}") from err
    return list(dict.fromkeys(str(one[4][0]) for one in found))
