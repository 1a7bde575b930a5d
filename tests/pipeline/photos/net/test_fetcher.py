"""Photos from a host that misbehaves: each comes, or has its reason and detail, within its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpcore2
import pytest
import stamina

from encoders.photos.limits import PhotoError
from foundation.errors import VitrineError
from pipeline.config.photo_hosts import host_rule, network
from pipeline.photos.net.fetcher import Fetcher
from pipeline.photos.net.settings import WebSettings
from tests.support.http2_server import http2_server
from tests.support.photo_nights import photo
from tests.support.photo_server import Asked, Connection, PhotoServer, answered, badly_certified, photo_server, tagged
from tests.support.photo_ways import FORBIDDEN, MOST, RED, UNAVAILABLE, WAYS, answers, hang, path_of

SECONDS = 1.0


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhotoServer]:
    with photo_server(tmp_path_factory.mktemp("host")) as server:
        yield server


def settings(folder: Path, host: PhotoServer, patience: float = 300.0) -> WebSettings:
    """What allows `localhost`, and no other name of the host."""
    return WebSettings(
        hosts=(host_rule(f"localhost:{host.port}"),),
        networks=(network("127.0.0.0/8"), network("::1")),
        ca=host.ca,
        agent="Vitrine/0 (product search indexing; catalog@example.com)",
        cache=str(folder / "cache"),
        cache_bytes=10**8,
        fresh_seconds=0.0,
        fetch_seconds=SECONDS,
        patience=patience,
        connections=16,
        rate=None,
        max_bytes=MOST,
    )


@contextmanager
def fetcher(wanted: WebSettings) -> Iterator[Fetcher]:
    """One night's."""
    found = Fetcher(wanted)
    try:
        yield found
    finally:
        found.close()


def fetched(night: Fetcher, url: str) -> bytes | tuple[str, str]:
    """A photo, or (reason, detail without the URL)."""
    began = time.monotonic()
    try:
        return night.content(url)[0]
    except PhotoError as err:
        return str(err.code), err.message.partition(f": {url}")[0]
    finally:
        assert time.monotonic() - began < 2 * SECONDS + 1, "it takes longer than a photo may"


@pytest.mark.parametrize("way", WAYS)
def test_a_host_that_misbehaves_costs_a_photo_and_its_time(way: str, host: PhotoServer, tmp_path: Path) -> None:
    """Whatever a host does, the photo comes or is told with a reason, in its time, and the next one comes."""
    host.answers |= answers()
    path, expected = path_of(way), WAYS[way][1]
    enough = SECONDS if isinstance(expected, tuple) else 3 * SECONDS  # for the longest pause before another try
    with fetcher(replace(settings(tmp_path, host), fetch_seconds=enough)) as night:
        came = fetched(night, host.url(path))
        if isinstance(expected, tuple):
            assert came[0] == expected[0]
            assert str(came[1]).startswith(expected[1])
        else:
            assert came == expected
        assert fetched(night, host.url("/red.jpg")) == RED


@pytest.mark.parametrize("kind", ["expired", "another", "unknown"])
def test_a_certificate_that_is_not_trusted_gives_nothing(kind: str, tmp_path: Path) -> None:
    """No photo is asked of a host whose certificate is expired, of another name or of an unknown CA, and that what
    knows more CAs is said.
    """
    with badly_certified(tmp_path, kind) as bad:
        bad.answers["/red.jpg"] = answered(RED)
        with fetcher(settings(tmp_path, bad)) as night:
            reason, detail = fetched(night, bad.url("/red.jpg"))
    assert (reason, str(detail).startswith("the certificate is not trusted")) == (UNAVAILABLE, True)
    assert ("catalog.photo_ca" in str(detail)) == (kind == "unknown")  # mends neither a date nor a name
    assert not bad.asked


def test_a_name_without_a_public_address_is_refused(host: PhotoServer, tmp_path: Path) -> None:
    """An allowed host of this machine is not connected to unless its network is opened."""
    closed = replace(settings(tmp_path, host), networks=())
    host.answers["/red.jpg"] = answered(RED)
    with fetcher(closed) as night:
        reason, detail = fetched(night, host.url("/red.jpg"))
    assert (reason, "has no public address" in str(detail)) == (FORBIDDEN, True)


def test_a_dead_host_costs_its_patience_and_not_a_time_for_each_photo(tmp_path: Path, host: PhotoServer) -> None:
    """A host that never answers is given up: a thousand of its photos are told at once."""
    host.answers["/hang.jpg"] = hang
    urls = [host.url(f"/hang.jpg?{number}") for number in range(1000)]
    began = time.monotonic()
    with fetcher(settings(tmp_path, host, patience=1.0)) as night:
        night.want(urls)
        told = {fetched_code(night, url) for url in urls}
    assert told == {UNAVAILABLE}
    assert time.monotonic() - began < 20


def fetched_code(night: Fetcher, url: str) -> str:
    """The reason that there is no photo."""
    with pytest.raises(PhotoError) as failed:
        night.content(url)
    return str(failed.value.code)


def test_a_host_is_asked_for_no_more_at_once_than_it_may_be(tmp_path: Path) -> None:
    """Connections, rate and the User-Agent are those of the config."""
    with photo_server(tmp_path) as host:
        _ask_slowly(tmp_path, host)


def _ask_slowly(tmp_path: Path, host: PhotoServer) -> None:

    async def slow(connection: Connection, asked: Asked) -> None:
        await asyncio.sleep(0.02)
        await answered(RED)(connection, asked)

    host.answers["/slow.jpg"] = slow
    with fetcher(replace(settings(tmp_path, host), connections=3, rate=100.0)) as night:
        began = time.monotonic()
        urls = [host.url(f"/slow.jpg?{number}") for number in range(30)]
        night.want(urls)
        assert [fetched(night, url) for url in urls] == [RED] * 30
        assert time.monotonic() - began > 0.28
        assert night.counts()[f"localhost:{host.port}"] == {"fetched": 30, "requests": 30, "bytes": 30 * len(RED)}
    assert host.most_at_once <= 3
    assert {one.headers["user-agent"] for one in host.asked} == {
        "Vitrine/0 (product search indexing; catalog@example.com)"
    }


def test_what_a_rate_makes_photos_wait_is_none_of_their_seconds(tmp_path: Path, host: PhotoServer) -> None:
    """A low catalog.photo_rate beside many connections loses no photo of a host that answers."""
    host.answers["/red.jpg"] = answered(RED)
    urls = [host.url(f"/red.jpg?{number}") for number in range(10)]
    with fetcher(replace(settings(tmp_path, host), rate=4.0, fetch_seconds=1.5)) as night:
        night.want(urls)
        assert [night.content(url)[0] for url in urls] == [RED] * 10


def test_what_the_config_refused_is_asked_for_once_it_allows_it(tmp_path: Path, host: PhotoServer) -> None:
    """A reject that names a key of the config does not outlive a change of that key, however fresh it is; what the host
    said is gone is not asked for again.
    """
    elsewhere = f"Location: https://127.0.0.1:{host.port}/red.jpg"
    host.answers |= {
        "/red.jpg": answered(RED),
        "/large.jpg": answered(RED + bytes(MOST)),
        "/elsewhere.jpg": answered(b"", "302 Found", elsewhere),
    }
    allowing = replace(settings(tmp_path, host), fresh_seconds=3600.0, max_bytes=2 * MOST)
    allowing = replace(allowing, hosts=(*allowing.hosts, host_rule(f"127.0.0.1:{host.port}")))
    first_hosts = allowing.hosts[:1]
    for key, value, path, reason in (
        ("networks", (), "/red.jpg", FORBIDDEN),
        ("max_bytes", MOST, "/large.jpg", "image_too_large"),
        ("hosts", first_hosts, "/elsewhere.jpg", FORBIDDEN),
    ):
        with fetcher(replace(allowing, **{key: value})) as night:  # type: ignore[arg-type]
            assert fetched(night, host.url(path))[0] == reason
        with fetcher(allowing) as night:
            assert isinstance(fetched(night, host.url(path)), bytes), key
    for _ in range(2):
        with fetcher(allowing) as night:
            assert fetched(night, host.url("/gone.jpg"))[0] == "image_not_found"
    assert host.counts()["/gone.jpg"] == 1


def test_a_fault_of_this_machine_is_told_to_all_who_wait(
    tmp_path: Path, host: PhotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the photo that is tried after a rest meets a full disk or no memory, nobody waits for it for ever."""
    asked = list[str]()

    async def ask(_: object, url: object, *__: object) -> None:
        asked.append(str(url))
        raise MemoryError if len(asked) > 5 else httpcore2.ReadError("reset")

    monkeypatch.setattr("pipeline.photos.net.host._FIRST_REST", 0.05)
    monkeypatch.setattr("pipeline.photos.net.exchange.Exchange.ask", ask)
    with stamina.set_testing(True, attempts=1), fetcher(replace(settings(tmp_path, host), connections=2)) as night:
        waiting = night.want([host.url(f"/{number}.jpg") for number in range(20)])
        assert not wait(waiting, 5).not_done
        assert {type(one.exception()) for one in waiting} == {type(None), VitrineError}


def test_a_damaged_or_dropped_content_is_fetched_again(tmp_path: Path, host: PhotoServer) -> None:
    """What the cache holds is compared with its digest; what is damaged, or gone, comes from the host once more."""
    host.answers["/tagged.jpg"] = tagged(RED, '"1"')
    wanted = settings(tmp_path, host)
    with fetcher(wanted) as night:
        assert fetched(night, host.url("/tagged.jpg")) == RED
    (content,) = (one for one in Path(wanted.cache).glob("??/*") if one.is_file())
    for damage in (lambda: content.write_bytes(b"x" * len(RED)), content.unlink):
        damage()
        host.asked.clear()
        with fetcher(wanted) as night:
            assert fetched(night, host.url("/tagged.jpg")) == RED
        assert ["if-none-match" in one.headers for one in host.asked] == [True, False]


def test_the_longest_unused_contents_go(tmp_path: Path, host: PhotoServer) -> None:
    """A cache keeps no more than its bytes, and still knows what a URL gave."""
    raws = {f"/{number}.jpg": photo("red") + bytes([number]) * 2000 for number in range(8)}
    host.answers |= {path: tagged(raw, f'"{path}"') for path, raw in raws.items()}
    wanted = replace(settings(tmp_path, host), cache_bytes=3 * len(raws["/0.jpg"]))
    with fetcher(wanted) as night:
        for path, raw in raws.items():
            assert fetched(night, host.url(path)) == raw
    kept = [one for one in Path(wanted.cache).glob("??/*") if one.is_file()]
    assert sum(one.stat().st_size for one in kept) <= wanted.cache_bytes
    host.asked.clear()
    with fetcher(wanted) as night:
        outcomes = [night.outcome(host.url(path)) for path in raws]
    assert all(one.digest for one in outcomes)
    assert all("if-none-match" in one.headers for one in host.asked)


def test_photos_come_over_http_2(tmp_path: Path) -> None:
    """Many photos share a connection of HTTP/2, and one that is given up takes nothing from the others."""
    raws = {f"/{number}.jpg": photo("red") + bytes([number]) * 9000 for number in range(40)}
    endless = {f"/endless{number}.jpg": b"" for number in range(4)}
    with http2_server(tmp_path, raws | endless) as host:
        wanted = replace(settings(tmp_path, PhotoServer(host.port, host.ca)), fetch_seconds=5.0, max_bytes=5_000_000)
        with fetcher(wanted) as night:
            urls = [f"https://localhost:{host.port}{path}" for path in [*endless, *raws]]
            night.want(urls)
            came = [night.outcome(url) for url in urls]
    assert [one.failure and one.failure.code for one in came[:4]] == ["image_too_large"] * 4
    assert all(one.digest for one in came[4:])
    assert set(host.versions) == {"2"}
