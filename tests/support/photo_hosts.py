"""Hosts of photos in a process of their own, so that what they cost is not taken for what it costs to ask them.

    python -m tests.support.photo_hosts FOLDER NUMBER

prints how they are reached, and then answers each line on stdin: a list of URLs, whose photos are others from now on.
The answer is all that the hosts were asked for since the line before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.photo_nights import photo
from tests.support.photo_server import Answer, Asked, Connection, answered, photo_server
from tests.support.photo_ways import answers

FINE = "/fine.jpg"
_DATE = "Sun, 01 Feb 2026 10:00:00 GMT"
_LATER = "Mon, 02 Feb 2026 10:00:00 GMT"


class Request(NamedTuple):
    """A request as a host had it: how many bytes it sent, and whether it was asked for what is new alone."""

    host: int
    path: str
    sent: int
    conditional: bool


@dataclass
class PhotoHosts:
    """Hosts that answer well under FINE, each URL another photo, and badly under the paths of `photo_ways`. Of the last
    one's certificate `ca` knows nothing.
    """

    process: subprocess.Popen[str]
    ports: Sequence[int]
    ca: str

    def url(self, host: int, path: str) -> str:
        """Of a photo here."""
        return f"https://localhost:{self.ports[host]}{path}"

    def change(self, *urls: str) -> list[Request]:
        """Have other photos under these URLs; what was asked for since the last time."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([url.removeprefix("https://localhost:") for url in urls]) + "\n")
        self.process.stdin.flush()
        return [Request(*one) for one in _line(self.process)]


@contextmanager
def photo_hosts(folder: Path, number: int) -> Iterator[PhotoHosts]:
    """So many of them, in a process that ends with the body."""
    words = [sys.executable, "-m", "tests.support.photo_hosts", str(folder), str(number)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield PhotoHosts(process, **_line(process))
        process.kill()


def _line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


# --- in their process ---


def fine(changed: set[str]) -> Answer:
    """A photo of a colour of its own to each URL, by ETag or, every other one, by date alone."""

    async def answer(connection: Connection, asked: Asked) -> None:
        place = asked.headers["host"].removeprefix("localhost:") + asked.path
        number, new = zlib.crc32(place.encode()), place in changed
        validator = f"Last-Modified: {_LATER if new else _DATE}" if number % 2 else f'ETag: "{number}{new}"'
        _, _, value = validator.partition(": ")
        known = asked.headers.get("if-modified-since" if number % 2 else "if-none-match")
        if known == value:
            await answered(b"", "304 Not Modified", validator)(connection, asked)
        else:
            body = photo(f"#{number & 0xFFFFFF:06x}") + place.encode() + str(new).encode()
            await answered(body, "200 OK", validator)(connection, asked)

    return answer


def _serve(folder: Path, number: int) -> None:
    """Until stdin ends."""
    changed = set[str]()
    with ExitStack() as hosts:
        servers = []
        for host in range(number):
            (folder / str(host)).mkdir(parents=True)
            servers.append(hosts.enter_context(photo_server(folder / str(host))))
            servers[-1].answers |= {**answers(), FINE: fine(changed)}
        ca = folder / "ca.pem"
        ca.write_text("".join(Path(one.ca).read_text() for one in servers[:-1]))
        _say({"ports": [one.port for one in servers], "ca": str(ca)})
        for line in sys.stdin:
            changed.update(json.loads(line))
            asked = [(host, one) for host, server in enumerate(servers) for one in server.asked]
            for server in servers:
                server.asked.clear()
            rows = [Request(host, one.path, one.sent, _is_conditional(one)) for host, one in asked]
            _say(rows)


def _say(words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _is_conditional(asked: Asked) -> bool:
    return not asked.headers.keys().isdisjoint({"if-none-match", "if-modified-since"})


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
