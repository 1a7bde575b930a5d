"""Photos by URL from a host on this machine: how near fetching comes to what the host gives a bare client.

The host is an HTTPS server of its own process, with its own CA, that takes a while for each answer, as a CDN does. A
bare client of asyncio's streams, 64 connections, says what it gives; then the fetcher's first night, its second night,
and one in which each twentieth photo misbehaves.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import ssl
import subprocess
import sys
import tempfile
import time
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import trustme
from measure import publish
from PIL import Image

from pipeline.config.photo_hosts import host_rule, network
from pipeline.photos.net.fetcher import Fetcher
from pipeline.photos.net.settings import WebSettings

CONNECTIONS = 64
SECONDS = 4.0  # that a photo may take
WAYS = ("hang", "drip", "reset", "500", "404", "html", "cut")
BAD = 20  # each so manieth photo of the bad night


def main() -> None:
    """Measure one after the other, against one server, and publish the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--answer-ms", type=float, default=150, help="that the host takes for each answer")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(Path(given.serve), given.answer_ms / 1000))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [sys.executable, __file__, "--serve", name, "--answer-ms", str(given.answer_ms)]
        with subprocess.Popen(words) as server:
            while not (folder / "port").exists():
                time.sleep(0.05)
            port = int((folder / "port").read_text())
            try:
                rows = measured(folder, port, given.photos)
            finally:
                server.terminate()
    publish(
        "photos",
        "Photos by URL",
        f"python benchmarks/photos.py --photos {given.photos} --answer-ms {given.answer_ms:g}",
        ["what", "photos", "s", "photos a second", "of the bare client", "requests", "MB fetched", "not had"],
        rows,
        f"{CONNECTIONS} connections, HTTP/1.1 over TLS, photos of about 60 kB, which the host answers after "
        f"{given.answer_ms:g} ms; host and client share the machine. The fetcher checks each address and each photo, "
        f"and keeps it. In the last row each {BAD}th photo hangs, drips, resets, fails, is gone, is HTML or is cut; a "
        f"photo may take {SECONDS:g} s.",
    )


def measured(folder: Path, port: int, photos: int) -> list[list[str]]:
    """The rows of the page."""
    began = time.perf_counter()
    asyncio.run(bare(port, str(folder / "ca.pem"), photos))
    alone = photos / (time.perf_counter() - began)
    rows = [row("a bare client", photos, photos / alone, alone, photos, 60_000 * photos / 1e6, 0)]
    for what, bad in (("first night", False), ("second night", False), ("each 20th misbehaves", True)):
        urls = [f"https://localhost:{port}/{photo}{way(photo) if bad else ''}.jpg" for photo in range(photos)]
        began = time.perf_counter()
        night = Fetcher(settings(folder, port))
        futures = night.want(urls)
        wait(futures)
        seconds = time.perf_counter() - began
        (counts,) = night.counts().values()
        missing = sum(future.result().digest is None for future in futures)
        night.close()
        rows.append(row(what, photos, seconds, alone, counts["requests"], counts["bytes"] / 1e6, missing))
    return rows


def row(
    what: str, photos: int, seconds: float, alone: float, requests: int, megabytes: float, missing: int
) -> list[str]:
    """One row of the page."""
    rate = photos / seconds
    shown = [f"{photos:,}", f"{seconds:.1f}", f"{rate:,.0f}", f"{rate / alone:.2f}"]
    return [what, *shown, f"{requests:,}", f"{megabytes:,.0f}", f"{missing:,}"]


def settings(folder: Path, port: int) -> WebSettings:
    """What allows the server."""
    return WebSettings(
        hosts=(host_rule(f"localhost:{port}"),),
        networks=(network("127.0.0.0/8"), network("::1")),
        ca=str(folder / "ca.pem"),
        agent="Vitrine/0 (benchmark)",
        cache=str(folder / "cache"),
        cache_bytes=10**11,
        fresh_seconds=0.0,
        fetch_seconds=SECONDS,
        patience=300.0,
        connections=CONNECTIONS,
        rate=None,
        max_bytes=20_000_000,
    )


def way(photo: int) -> str:
    """How the photo of this number misbehaves, as a part of its path; empty: it does not."""
    return f".{WAYS[photo // BAD % len(WAYS)]}" if photo % BAD == 0 else ".fine"


# --- the host, and a bare client ---


async def serve(folder: Path, seconds: float) -> None:
    """Answer until the process is ended."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    pixels = np.random.default_rng(0).integers(0, 255, (150, 200, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    photo = out.getvalue().ljust(60_000, b"\0")

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
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
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
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\nConnection: close\r\n\r\n" + photo[:1000])
        writer.close()
    elif b"if-none-match" in head.lower():
        writer.write(b"HTTP/1.1 304 Not Modified\r\n" + etag + b"\r\n")
    else:
        body = photo[:-8] + number.rjust(8, b"0")  # each is another one
        writer.write(b"HTTP/1.1 200 OK\r\n" + etag + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def bare(port: int, ca: str, photos: int) -> None:
    """Ask for so many photos over 64 connections, and drop them."""
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


if __name__ == "__main__":
    main()
