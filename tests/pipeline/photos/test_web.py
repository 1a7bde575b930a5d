"""Runs over a catalog whose photos are URLs of a host on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.photo_nights import night, photo
from tests.support.photo_server import Asked, Connection, PhotoServer, answered, photo_server, tagged


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PhotoServer]:
    with photo_server(tmp_path) as server:
        for colour in ("red", "green", "blue"):
            server.answers[f"/{colour}.jpg"] = tagged(photo(colour), f'"{colour}"')
        yield server


def test_the_second_night_asks_only_whether_photos_changed(tmp_path: Path, host: PhotoServer) -> None:
    """Photos by URL are fetched once; another night asks by ETag, and where nothing changed encodes nothing."""
    _, first = night(tmp_path, host, "/red.jpg", "/green.jpg", "/blue.jpg")
    assert (first.status, first.photos, first.photos_lost, first.photos_encoded) == ("published", 4, 0, 4)
    host.asked.clear()
    _, second = night(tmp_path, host, "/red.jpg", "/green.jpg", "/blue.jpg")
    assert sorted(one.headers["if-none-match"] for one in host.asked) == ['"blue"', '"green"', '"red"']
    assert (second.status, second.units_reused, second.photos_encoded) == ("unchanged", 1, 0)
    (told,) = second.photo_hosts
    assert (told.host, told.unchanged, told.fetched, told.requests) == (f"localhost:{host.port}", 3, 0, 3)


def test_threads_take_short_turns_while_hosts_are_asked(tmp_path: Path, host: PhotoServer) -> None:
    """Whoever computes in Python does not hold up the thread that asks hosts; after the run all is as before."""
    turns, before = list[float](), sys.getswitchinterval()

    async def answer(connection: Connection, asked: Asked) -> None:
        turns.append(sys.getswitchinterval())
        await answered(photo("red"))(connection, asked)

    host.answers["/red.jpg"] = answer
    night(tmp_path, host, "/red.jpg")
    assert turns
    assert max(turns) < before
    assert sys.getswitchinterval() == before


def test_a_photo_is_told_by_its_content(tmp_path: Path, host: PhotoServer) -> None:
    """Another ETag alone encodes nothing; another photo under the same URL, and the same ETag, is encoded."""
    night(tmp_path, host, "/red.jpg", "/green.jpg")
    host.answers["/red.jpg"] = answered(photo("red"), "200 OK", 'ETag: "another"')
    _, second = night(tmp_path, host, "/red.jpg", "/green.jpg")
    assert (second.photos_encoded, second.photo_hosts[0].fetched) == (0, 1)
    host.answers["/green.jpg"] = answered(photo("black"), "200 OK", 'ETag: "green"')
    _, third = night(tmp_path, host, "/red.jpg", "/green.jpg")
    assert (third.photos_encoded, third.photo_hosts[0].fetched) == (1, 2)


def test_a_fresh_photo_is_not_asked_for(tmp_path: Path, host: PhotoServer) -> None:
    """What a host answered counts for catalog.photo_fresh_hours, or for as long as its Cache-Control says."""
    host.answers["/green.jpg"] = tagged(photo("green"), '"green"', "Cache-Control: public, max-age=3600")
    night(tmp_path, host, "/red.jpg", "/green.jpg")
    host.asked.clear()
    _, second = night(tmp_path, host, "/red.jpg", "/green.jpg")
    assert [one.path for one in host.asked] == ["/red.jpg"]
    assert (second.photo_hosts[0].fresh, second.photo_hosts[0].unchanged) == (1, 1)
    night(tmp_path, host, "/red.jpg", "/green.jpg", more=("catalog.photo_fresh_hours=1",))
    assert [one.path for one in host.asked] == ["/red.jpg"]


def test_a_photo_that_its_host_does_not_give_tonight_is_that_of_before(tmp_path: Path, host: PhotoServer) -> None:
    """A host that fails loses no photo that it gave before, and the report says how many are stale; one that says that
    a photo is gone loses it.
    """
    night(tmp_path, host, "/red.jpg", "/green.jpg")
    host.answers |= {"/red.jpg": answered(b"", "500 Oops"), "/green.jpg": answered(b"", "410 Gone")}
    _, report = night(tmp_path, host, "/red.jpg", "/green.jpg")
    assert (report.photos_lost, report.degraded) == (1, {"image_not_found": 1})
    assert (report.photo_hosts[0].stale, report.photo_hosts[0].failed) == (1, {"image_not_found": 1})
    assert [(one.what, one.count) for one in report.notices if one.what == "photos_stale"] == [("photos_stale", 1)]
    host.answers["/green.jpg"] = tagged(photo("green"), '"green"')
    _, third = night(tmp_path, host, "/red.jpg", "/green.jpg")
    assert (third.photos_lost, third.photo_hosts[0].fetched) == (0, 1)
