"""A host of photos with a certificate of its own CA, on this machine, which answers as a test says: also badly."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

HOSTS = ("localhost", "127.0.0.1")  # two names for one server


@dataclass
class Asked:
    """A request as it came: its path and its headers, names in lower case; and how many bytes were sent for it."""

    path: str
    headers: dict[str, str]
    sent: int = 0


@dataclass
class Connection:
    """What an answer is written to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: int = 0

    async def send(self, raw: bytes) -> None:
        """Write, and wait until it is on its way."""
        self.sent += len(raw)
        self.writer.write(raw)
        await self.writer.drain()

    def reset(self) -> None:
        """Drop the connection without a word."""
        self.writer.transport.abort()


Answer = Callable[[Connection, Asked], Awaitable[None]]


def answered(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """An answer of HTTP/1.1 with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    raw = "\r\n".join(lines).encode("latin-1") + body

    async def answer(connection: Connection, _: Asked) -> None:
        await connection.send(raw)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """To each URL one answer after the other, the last for ever."""
    asked_before = Counter[str]()

    async def answer(connection: Connection, asked: Asked) -> None:
        turn = min(asked_before[asked.path], len(answers) - 1)
        asked_before[asked.path] += 1
        await answers[turn](connection, asked)

    return answer


def tagged(body: bytes, etag: str, *headers: str) -> Answer:
    """A photo with an ETag, and 304 to who has it."""

    async def answer(connection: Connection, asked: Asked) -> None:
        if asked.headers.get("if-none-match") == etag:
            await answered(b"", "304 Not Modified", f"ETag: {etag}", *headers)(connection, asked)
        else:
            await answered(body, "200 OK", f"ETag: {etag}", *headers)(connection, asked)

    return answer


@dataclass
class PhotoServer:
    """Answers by path; what it has none for is 404."""

    port: int
    ca: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0

    def url(self, path: str, host: str = "localhost") -> str:
        """Of a photo here."""
        return f"https://{host}:{self.port}{path}"

    def counts(self) -> Counter[str]:
        """Path -> how often it was asked for."""
        return Counter(one.path for one in self.asked)

    def allowing(self, *hosts: str) -> list[str]:
        """The overrides of a config that allow this server, by its name `localhost` or by these."""
        names = ", ".join(f'"{host}:{self.port}"' for host in hosts or ("localhost",))
        return [
            f"catalog.photo_hosts=[{names}]",
            "catalog.photo_networks=[127.0.0.0/8, '::1']",
            f"catalog.photo_ca={self.ca}",
        ]


@contextmanager
def photo_server(folder: Path, **answers: Answer) -> Iterator[PhotoServer]:
    """A server in a thread of its own; its CA's certificate is written into `folder`."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    with serving(_context(ca.issue_cert(*HOSTS))) as server:
        server.ca = str(folder / "ca.pem")
        yield server


@contextmanager
def badly_certified(folder: Path, kind: str) -> Iterator[PhotoServer]:
    """The same with a certificate that is `expired`, of `another` host, or of an `unknown` CA."""
    ca, now = trustme.CA(), datetime.now(UTC)
    ca.cert_pem.write_to_path(str(folder / f"{kind}.pem"))
    certificate = {
        "expired": lambda: ca.issue_cert(*HOSTS, not_before=now - timedelta(9), not_after=now - timedelta(1)),
        "another": lambda: ca.issue_cert("cdn.example.com"),
        "unknown": lambda: trustme.CA().issue_cert(*HOSTS),
    }[kind]()
    with serving(_context(certificate)) as server:
        server.ca = str(folder / f"{kind}.pem")
        yield server


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[PhotoServer]:
    """A server with this context, in a thread of its own."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    server = PhotoServer(0, "")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                asked = _parsed(await reader.readuntil(b"\r\n\r\n"))
                server.asked.append(asked)
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
                connection = Connection(reader, writer)
                try:
                    path = asked.path.partition("?")[0]
                    await server.answers.get(path, answered(b"", "404 Not Found"))(connection, asked)
                finally:
                    asked.sent = connection.sent
                    server.at_once -= 1
        writer.transport.abort()

    async def start() -> None:
        listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context, backlog=512)
        server.port = listening.sockets[0].getsockname()[1]
        ready.set()

    def work() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=work, name="photo server", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def _context(certificate: trustme.LeafCert, protocols: Sequence[str] = ()) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def _parsed(head: bytes) -> Asked:
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Asked(first.split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs})
