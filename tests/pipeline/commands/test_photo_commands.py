"""`vitrine photos fetch` and `evict`: the cache, filled ahead of a run and emptied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import told, vitrine
from tests.support.photo_nights import photo, words_for, write_products
from tests.support.photo_server import PhotoServer, answered, photo_server, tagged


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PhotoServer]:
    with photo_server(tmp_path) as server:
        server.answers = {f"/{one}.jpg": tagged(photo(one), f'"{one}"') for one in ("red", "green")}
        yield server


def test_photos_are_fetched_ahead_and_tried_again(tmp_path: Path, host: PhotoServer) -> None:
    """What a host gives is in the cache, by host and reason; exit code 1 until it gave all that it may give."""
    host.answers["/late.jpg"] = answered(b"", "503 Late")
    urls = [host.url(f"/{one}.jpg") for one in ("red", "green", "late", "gone")]
    write_products(tmp_path, [*urls, "https://cdn.example.com/a.jpg"])
    words = words_for(tmp_path, host.allowing(), "catalog.photo_fresh_hours=1")
    first = vitrine("photos", "fetch", *words, "--json")
    assert first.exit_code == 1
    found = json.loads(first.stdout)
    assert found["not_allowed"] == {"cdn.example.com": 1}
    (counts,) = found["photo_hosts"]
    assert (counts["fetched"], counts["failed"]) == (2, {"image_not_found": 1, "image_unavailable": 1})
    host.answers["/late.jpg"] = answered(photo("blue"))
    host.asked.clear()
    second = vitrine("photos", "fetch", *words)
    assert second.exit_code == 0
    assert [one.path for one in host.asked] == ["/late.jpg"]
    assert "1 URLs of cdn.example.com are not fetched" in second.stdout
    dropped = vitrine("photos", "evict", "--keep", "0B", *words, "--json")
    assert json.loads(dropped.stdout)["dropped"] == 3
    assert not [one for one in (tmp_path / "cache").glob("??/*") if one.is_file()]


def test_without_hosts_nothing_is_fetched(tmp_path: Path, host: PhotoServer) -> None:
    """A config that allows no host is told what to name."""
    write_products(tmp_path, [host.url("/red.jpg")])
    result = vitrine("photos", "fetch", *words_for(tmp_path, host.allowing(), "catalog.photo_hosts=[]"))
    assert result.exit_code == 2
    assert "catalog.photo_hosts=[cdn.example.com]" in told(result.stderr)[2]
