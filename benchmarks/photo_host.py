"""A host of photos for benchmarks/photos.py: HTTPS, a process of its own, its own CA, a while for each answer, as a CDN
takes it. And two clients that only ask: what they reach is what the host gives.

    python benchmarks/photo_host.py FOLDER SECONDS
"""

from __future__ import annotations

import asyncio
import io
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import trustme
from PIL import Image

CONNECTIONS = 64
BYTES = 60_000  # of a photo


@contextmanager
def photo_host(folder: Path, seconds: float) -> Iterator[int]:
    """Its port; the certificate of its CA is in `folder`."""
    (folder / "port").unlink(missing_ok=True)
    with subprocess.Popen([sys.executable, __file__, str(folder), str(seconds)]) as server:
        while not (folder / "port").exists():
            time.sleep(0.05)
        try:
            yield int((folder / "port").read_text())
        finally:
            server.terminate()


# --- clients that only ask ---


async def bare(port: int, ca: str, photos: int) -> None:
    """Ask for so many photos by asyncio's streams, and drop them."""
    context = ssl.create_default_context(cafile=ca)
    left = iter(range(photos))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        for photo in left:
            writer.write(b"GET /%d.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n" % photo)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
        writer.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


async def by_httpx(port: int, ca: str, photos: int) -> None:
    """The same by an httpx client."""
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    left = iter(range(photos))
    async with httpx2.AsyncClient(verify=ssl.create_default_context(cafile=ca), limits=limits, timeout=60) as client:

        async def work() -> None:
            for photo in left:
                answer = await client.get(f"https://localhost:{port}/{photo}.fine.jpg")
                assert len(answer.content) == BYTES

        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


# --- the host ---


async def serve(folder: Path, seconds: float) -> None:
    """Answer until the process is ended."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    photo = drawn().ljust(BYTES, b"\0")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(seconds)
                await answer(head, photo, writer)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context, backlog=1024)
    (folder / "port.new").write_text(str(server.sockets[0].getsockname()[1]))
    (folder / "port.new").rename(folder / "port")
    await server.serve_forever()


async def answer(head: bytes, photo: bytes, writer: asyncio.StreamWriter) -> None:
    """As the path says."""
    path = head.split(b" ", 2)[1]
    number, how = path[1:].split(b".")[0], path.split(b".")[-2].decode()
    etag = b'ETag: "' + number + b'"\r\n'
    if how == "hang":
        await asyncio.sleep(1000)
    elif how == "drip":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BYTES)
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.1)
    elif how == "reset":
        writer.transport.abort()
    elif how in ("500", "404"):
        writer.write(f"HTTP/1.1 {how} No\r\nContent-Length: 0\r\n\r\n".encode())
    elif how == "html":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n<html>log in")
    elif how == "cut":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % BYTES + photo[:1000])
        writer.close()
    elif b"if-none-match" in head.lower():
        writer.write(b"HTTP/1.1 304 Not Modified\r\n" + etag + b"\r\n")
    else:
        body = photo[:-8] + number.rjust(8, b"0")  # each is another one
        writer.write(b"HTTP/1.1 200 OK\r\n" + etag + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


def drawn() -> bytes:
    """A JPEG of 600 x 600, as shops have them."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((600, 600), Image.Resampling.BICUBIC).save(out, "JPEG", quality=75)
    return out.getvalue()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
