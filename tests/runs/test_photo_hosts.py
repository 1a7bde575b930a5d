"""Ten thousand photos by URL, of hosts that misbehave with most of them, of dead ones and of forbidden ones: two nights
of the command, in processes of their own.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from pipeline.report.run_report import RunReport
from tests.support.photo_hosts import FINE, PhotoHosts, photo_hosts
from tests.support.photo_nights import newest_report, words_for, write_products
from tests.support.photo_ways import MOST, WAYS, path_of

PHOTOS, HOSTS, EACH, CHANGED = 10_000, 8, 200, 7
OF_OTHERS = 100  # photos of each host that gives none
SECONDS, PATIENCE = 6, 140  # of a photo, and of a host
MOST_SECONDS = 2 * PATIENCE  # of a night: what a dead host may cost, and as much for all the rest
MOST_MB = 1_000
MOST_SENT = 300  # bytes of an answer without a photo
RUN = """
import atexit, os, re
from pathlib import Path
from pipeline.commands.cli import main

peak = lambda: re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]
atexit.register(lambda: Path(os.environ["PEAK"]).write_text(peak()))
main()
"""


class Product(NamedTuple):
    """A product's photo, and what becomes of it: the reason that there is none, or nothing."""

    url: str
    reason: str | None


@contextmanager
def dead_ports() -> Iterator[tuple[int, int]]:
    """(one that takes connections and never says a word, one that takes none)."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as mute, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield mute.getsockname()[1], closed.getsockname()[1]


def products(hosts: PhotoHosts, dead: Sequence[int]) -> list[Product]:
    """Those of hosts that misbehave, of hosts that give nothing, and good ones, in any order."""
    found = []
    for way, (_, came) in WAYS.items():
        reason = came[0] if isinstance(came, tuple) else None
        found += [Product(hosts.url(n % HOSTS, f"{path_of(way)}?{n}"), reason) for n in range(EACH)]
    for base, reason in (
        *((f"https://localhost:{port}", "image_unavailable") for port in dead),
        (hosts.url(HOSTS, ""), "image_unavailable"),  # its certificate
        ("https://169.254.169.254", "image_forbidden"),  # allowed, and of no public address
        ("https://cdn.example.com", "image_forbidden"),
    ):
        found += [Product(f"{base}{FINE}?{n}", reason) for n in range(OF_OTHERS)]
    found += [Product(hosts.url(n % HOSTS, f"{FINE}?{n}"), None) for n in range(PHOTOS - len(found))]
    random.Random(0).shuffle(found)
    return found


def night(folder: Path, words: Sequence[str]) -> RunReport:
    """A run in a process of its own, within time and memory."""
    command, peak, began = [sys.executable, "-c", RUN, "run", *words], folder / "peak", time.monotonic()
    done = subprocess.run(command, env={**os.environ, "PEAK": str(peak)}, capture_output=True, timeout=2 * MOST_SECONDS)
    took, megabytes = time.monotonic() - began, int(peak.read_text()) * 1024 / 1e6
    assert done.returncode == 0, done.stderr.decode()
    assert took < MOST_SECONDS
    assert megabytes < MOST_MB
    return newest_report(folder)


def check_each_is_told(report: RunReport, expected: Sequence[Product]) -> None:
    """Whatever was asked for came or failed, by its host; and what did not come is a reason of its row."""
    lost = Counter(one.reason for one in expected if one.reason is not None)
    lost["image_undecodable"] += EACH  # cut in its pixels, which its host does not tell
    assert report.degraded == lost
    assert report.rows_in == report.rows_embedded == PHOTOS + 1
    told = Counter[str]()
    for host in report.photo_hosts:
        had = host.fetched + host.unchanged + host.fresh + host.stale
        told[host.host] = had + sum(host.failed.values())
    assert told == Counter(httpx2.URL(one.url).netloc.decode() for one in expected if "example.com" not in one.url)


@pytest.mark.nightly
def test_two_nights_of_hosts_that_misbehave(tmp_path: Path) -> None:
    """All photos that come come, each other has its reason, within time and memory. The night after, no host sends a
    photo that it had not changed, and only what it changed is encoded.
    """
    with photo_hosts(tmp_path / "hosts", HOSTS + 1) as hosts, dead_ports() as dead:
        named = [f'"localhost:{port}"' for port in (*hosts.ports, *dead)] + ['"169.254.169.254"']
        allowing = [
            f"catalog.photo_hosts=[{', '.join(named)}]",
            "catalog.photo_networks=[127.0.0.0/8, '::1']",
            f"catalog.photo_ca={hosts.ca}",
        ]
        bounds = (f"catalog.photo_fetch_seconds={SECONDS}", f"catalog.photo_patience={PATIENCE}")
        more = (f"catalog.max_photo_bytes={MOST}", "gates.max_photos_lost_share=1", "shards.unit_rows=1000")
        words = words_for(tmp_path, allowing, *bounds, *more)
        expected = products(hosts, dead)
        write_products(tmp_path, [one.url for one in expected])
        first = night(tmp_path, words)
        check_each_is_told(first, expected)
        good = {one.url for one in expected if one.reason is None and FINE in one.url}
        changed = set(sorted(good)[:CHANGED])
        hosts.change(*changed)
        second = night(tmp_path, words)
        asked = [one for one in hosts.change() if one.path.startswith(FINE)]
    check_each_is_told(second, expected)
    assert (second.status, second.photos_encoded, second.texts_encoded) == ("published", CHANGED, 0)
    assert sum(host.fetched for host in second.photo_hosts) == CHANGED
    assert {hosts.url(one.host, one.path) for one in asked} == good
    assert all(one.conditional for one in asked)
    assert {hosts.url(one.host, one.path) for one in asked if one.sent > MOST_SENT} == changed
