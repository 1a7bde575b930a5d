"""Ways in which a host of photos misbehaves, and what comes of each: the photo, or a reason with its detail."""

from __future__ import annotations

import asyncio
import gzip

from tests.support.photo_nights import photo
from tests.support.photo_server import Answer, Asked, Connection, answered, in_turn, tagged

RED = photo("red")
MOST = 50_000  # bytes that a photo may have
_FINE = tagged(RED, '"red"')


async def hang(_: Connection, __: Asked) -> None:
    """Say nothing."""
    await asyncio.sleep(100)


async def hang_in_body(connection: Connection, _: Asked) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + RED[:300])
    await asyncio.sleep(100)


async def drip(connection: Connection, _: Asked) -> None:
    """A slow loris: a byte now and then, for ever."""
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + RED[:20])
    for _ in range(1000):
        await connection.send(b"x")
        await asyncio.sleep(0.05)


async def reset(connection: Connection, _: Asked) -> None:
    connection.reset()


async def cut(connection: Connection, _: Asked) -> None:
    """Less than its Content-Length says."""
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nConnection: close\r\n\r\n" + RED)
    connection.writer.close()


async def endless(connection: Connection, _: Asked) -> None:
    """More bytes than any photo has, and no length."""
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(1000):
        await connection.send(b"2000\r\n" + b"\xff\xd8\xff" + b"x" * 8189 + b"\r\n")
        await asyncio.sleep(0)  # else it would not hear that nobody listens any more


async def broken_chunks(connection: Connection, _: Asked) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnothing of a length\r\n")


async def garbage(connection: Connection, _: Asked) -> None:
    await connection.send(b"\x16\x03\x01 this is no answer at all\r\n\r\n")


async def redirect_to_http(connection: Connection, asked: Asked) -> None:
    await answered(b"", "302 Found", f"Location: http://{asked.headers['host']}/red.jpg")(connection, asked)


async def redirect_to_another(connection: Connection, asked: Asked) -> None:
    """The same server, by a name that is not allowed."""
    name = asked.headers["host"].replace("localhost", "127.0.0.1")
    await answered(b"", "302 Found", f"Location: https://{name}/red.jpg")(connection, asked)


async def hang_up(connection: Connection, asked: Asked) -> None:
    """An answer, and then the end of a connection of which nobody was told."""
    await _FINE(connection, asked)
    connection.writer.close()


async def answer_twice(connection: Connection, asked: Asked) -> None:
    """With a second answer, which nobody asked for, at once."""
    known = asked.headers.get("if-none-match") == '"twice"'
    status, body = ("304 Not Modified", b"") if known else ("200 OK", RED)
    first = f'HTTP/1.1 {status}\r\nETag: "twice"\r\nContent-Length: {len(body)}\r\n\r\n'
    second = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n<html>wrong"
    await connection.send(first.encode() + body + second)


_BOMB = gzip.compress(b"\xff\xd8\xff" + bytes(20_000_000))
UNAVAILABLE, FORBIDDEN = "image_unavailable", "image_forbidden"
WAYS: dict[str, tuple[Answer, bytes | tuple[str, str]]] = {
    "404": (answered(b"no", "404 Not Found"), ("image_not_found", "the host answers HTTP 404")),
    "410": (answered(b"", "410 Gone"), ("image_not_found", "the host answers HTTP 410")),
    "403": (answered(b"", "403 Forbidden"), (FORBIDDEN, "the host answers HTTP 403")),
    "500 for ever": (answered(b"", "500 Oops"), (UNAVAILABLE, "the host answers HTTP 500")),
    "500, then fine": (in_turn(answered(b"", "500 Oops"), _FINE), RED),
    "429, then fine": (in_turn(answered(b"", "429 Slow", "Retry-After: 0"), _FINE), RED),
    "hangs": (hang, (UNAVAILABLE, "no answer in 0.5 s")),
    "hangs in the body": (hang_in_body, (UNAVAILABLE, "no answer in 0.5 s")),
    "slow loris": (drip, (UNAVAILABLE, "no answer in 1 s")),
    "reset": (reset, (UNAVAILABLE, "the connection broke off")),
    "reset, then fine": (in_turn(reset, _FINE), RED),
    "too short": (cut, (UNAVAILABLE, "a broken answer")),
    "broken chunks": (broken_chunks, (UNAVAILABLE, "a broken answer")),
    "garbage": (garbage, (UNAVAILABLE, "a broken answer")),
    "redirect loop": (answered(b"", "302 Found", "Location: /redirect-loop"), (UNAVAILABLE, "more than 5 redirects")),
    "redirect": (answered(b"", "307 Moved", "Location: /404?x"), ("image_not_found", "the host answers HTTP 404")),
    "redirect to http": (redirect_to_http, (FORBIDDEN, "a redirect to")),
    "redirect to the metadata": (
        answered(b"", "302 Found", "Location: http://169.254.169.254/latest/"),
        (FORBIDDEN, "a redirect to a host that catalog.photo_hosts does not allow, http://169.254.169.254"),
    ),
    "redirect to another host": (redirect_to_another, (FORBIDDEN, "a redirect to a host that catalog.photo_hosts")),
    "redirect to a file": (answered(b"", "302 Found", "Location: file:///etc/passwd"), (FORBIDDEN, "a redirect to")),
    "HTML": (
        answered(b"<html>log in", "200 OK", "Content-Type: image/jpeg"),
        ("image_undecodable", "HTML, not a photo"),
    ),
    "empty": (answered(b""), ("image_undecodable", "an empty answer")),
    "204": (answered(b"", "204 No Content"), (UNAVAILABLE, "the host answers HTTP 204")),
    "304 without being asked": (answered(b"", "304 Not Modified"), (UNAVAILABLE, "the host answers HTTP 304")),
    "large": (answered(RED + bytes(MOST)), ("image_too_large", "more than 50,000 bytes")),
    "endless": (endless, ("image_too_large", "more than 50,000 bytes")),
    "gzip bomb": (answered(_BOMB, "200 OK", "Content-Encoding: gzip"), ("image_too_large", "more than 50,000 bytes")),
    "gzip": (tagged(gzip.compress(RED), '"packed"', "Content-Encoding: gzip"), RED),
    "cut gzip": (
        answered(gzip.compress(RED)[:-9], "200 OK", "Content-Encoding: gzip"),
        (UNAVAILABLE, "a broken answer"),
    ),
    "brotli": (
        answered(RED, "200 OK", "Content-Encoding: br"),
        (UNAVAILABLE, "sent compressed though it was not asked"),
    ),
    "a date that is none": (tagged(RED, '"dated"', "Expires: Thu, 01 Jan 99999999999 00:00:00 GMT"), RED),
    "503 until a day that is none": (
        in_turn(answered(b"", "503 Busy", "Retry-After: Thu, 99999999999 Jan 2030 00:00:00 GMT"), _FINE),
        RED,
    ),
    "hangs up": (hang_up, RED),
    "two answers": (answer_twice, RED),
    "truncated JPEG": (tagged(RED[:300], '"cut"'), RED[:300]),  # which its decoder tells
}


def path_of(way: str) -> str:
    """Under which a host misbehaves so."""
    return "/" + way.replace(" ", "-")


def answers() -> dict[str, Answer]:
    """What a host answers to the path of each way, and to the photo that some of them lead to."""
    return {"/red.jpg": _FINE, **{path_of(way): answer for way, (answer, _) in WAYS.items()}}
