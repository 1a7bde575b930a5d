"""A host that speaks HTTP/2 alone, with a certificate of its own CA, on this machine."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config


@dataclass
class Http2Server:
    """Photos by path, and of each request its version of HTTP; what is `endless` never ends."""

    port: int
    ca: str
    photos: Mapping[str, bytes]
    versions: list[str] = field(default_factory=list)

    async def app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            return
        self.versions.append(scope["http_version"])
        raw = self.photos.get(scope["path"])
        status = 404 if raw is None else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", b'"1"')]})
        if scope["path"].startswith("/endless"):
            for _ in range(10_000):
                await send({"type": "http.response.body", "body": bytes(10_000), "more_body": True})
        await send({"type": "http.response.body", "body": raw or b""})


@contextmanager
def http2_server(folder: Path, photos: Mapping[str, bytes]) -> Iterator[Http2Server]:
    """A server in a thread of its own."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = ca.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    listening = socket.create_server(("127.0.0.1", 0))
    config = Config()
    port = listening.getsockname()[1]
    config.bind, config.graceful_timeout = [f"fd://{listening.detach()}"], 0.1
    config.certfile, config.keyfile = str(folder / "cert.pem"), str(folder / "key.pem")
    config.alpn_protocols, config.accesslog, config.errorlog = ["h2"], None, None
    server = Http2Server(port, str(folder / "ca.pem"), photos)
    loop, ended = asyncio.new_event_loop(), asyncio.Event()

    def work() -> None:
        loop.run_until_complete(serve(server.app, config, shutdown_trigger=ended.wait))  # type: ignore[arg-type]

    thread = threading.Thread(target=work, name="http/2 server", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
