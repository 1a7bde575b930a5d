"""Photos by URL from a host on this machine: how near fetching comes to what the host gives, and whether decoding and
encoding are hidden behind it.

    python benchmarks/photos.py --photos 2000 --repeats 3

The host takes a while for each answer, as a CDN does. A bare client of asyncio's streams, 64 connections, says what it
gives; httpx's client what can be had by the library that fetching stands on; then come the fetcher's first night, its
second night, and one in which each twentieth photo misbehaves. At last whole runs: what the step `embed` takes with
photos to fetch, beside fetching alone and beside the same step with all photos in the cache.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from measure import apart, here, interleaved, publish
from photo_host import BYTES, CONNECTIONS, bare, by_httpx, photo_host

from pipeline.config.photo_hosts import host_rule, network
from pipeline.photos.net.settings import WebSettings
from pipeline.photos.session import counts_by_host, fetcher_of, fetching

SECONDS = 4.0  # that a photo may take
WAYS = ("hang", "drip", "reset", "500", "404", "html", "cut")
BAD = 20  # each so manieth photo of the bad night
RUN_MS, RUN_CONNECTIONS = 200, 16  # of whole runs: what the host takes for an answer, and the default
UNIT = 100  # rows of a unit of a run: photos of the next units come while one is encoded
Measure = Callable[[], dict[str, float]]


def main() -> None:
    """Measure one after the other, and publish the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--answer-ms", type=int, nargs="+", default=[0, 50, 150], help="that the host takes")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        run(Path(given.run[0]), int(given.run[1]), given.run[2] == "fresh")
        return
    rows = [row for ms in given.answer_ms for row in rates(ms, given.photos, given.repeats)]
    with tempfile.TemporaryDirectory() as folder, photo_host(Path(folder), max(given.answer_ms) / 1000) as port:
        counts = night(Path(folder), port, given.photos, way)
    rows.append(bad_row(max(given.answer_ms), given.photos, counts))
    chosen = " ".join(map(str, given.answer_ms))
    publish(
        "photos",
        "Photos by URL",
        f"python benchmarks/photos.py --photos {given.photos} --repeats {given.repeats} --answer-ms {chosen}",
        ["an answer takes ms", "who asks", "photos a second", "of the host's", "of httpx's", "CPU ms a photo"],
        rows,
        notes(given.photos, counts, hidden(given.photos, given.repeats)),
    )


def notes(photos: int, counts: dict[str, float], runs: dict[str, dict[str, float]]) -> str:
    """What stands below the table."""
    longer = max(runs[name]["wall_s"] for name in ("fetch", "encode"))
    seconds = {name: f"{one['wall_s']:.1f} | {one['cpu_s']:.1f}" for name, one in runs.items()}
    return f"""
{photos:,} photos of {BYTES / 1000:.0f} kB, {CONNECTIONS} connections of HTTP/1.1 over TLS; host and client share the
machine. The fetcher checks each address and each photo, and keeps it. In the last row each {BAD}th photo hangs, drips,
resets, fails, is gone, is HTML or is cut, and a photo may take {SECONDS:g} s: {counts["missing"]:,.0f} photos were not
had, in {counts["requests"]:,.0f} requests.

## Decoding behind fetching

{photos:,} photos of 600 x 600, {RUN_CONNECTIONS} connections, an answer takes {RUN_MS} ms; `configs/weightless.yaml`,
units of {UNIT} rows: photos of the units to come are fetched while one is encoded.

| what | s | CPU s |
| --- | --- | --- |
| fetch them, and no more | {seconds["fetch"]} |
| the step `embed` of a run, with all of them in the cache: read, decode, encode, write | {seconds["encode"]} |
| the step `embed` of a run that fetches them | {seconds["both"]} |

The run takes {runs["both"]["wall_s"] / longer:.2f} of the longer one of the two.
"""


# --- rates ---


def rates(ms: int, photos: int, repeats: int) -> list[list[str]]:
    """The rows of a host that takes so long for an answer."""
    with tempfile.TemporaryDirectory() as name, photo_host(Path(name), ms / 1000) as port:
        folder, ca = Path(name), f"{name}/ca.pem"

        def first() -> dict[str, float]:
            put_away(folder)
            return night(folder, port, photos, fine)

        variants: dict[str, Measure] = {
            "asyncio's streams": lambda: here(lambda: asyncio.run(bare(port, ca, photos))),
            "httpx": lambda: here(lambda: asyncio.run(by_httpx(port, ca, photos))),
            "first night": first,
            "second night": lambda: night(folder, port, photos, fine),
        }
        found = interleaved(variants, repeats)
    given, library = (photos / found[name]["wall_s"] for name in list(variants)[:2])
    rows = []
    for name, one in found.items():
        rate = photos / one["wall_s"]
        shares = [f"{rate / given:.2f}", f"{rate / library:.2f}"]
        rows.append([str(ms), name, f"{rate:,.0f}", *shares, f"{1000 * one['cpu_s'] / photos:.2f}"])
    return rows


def bad_row(ms: int, photos: int, counts: dict[str, float]) -> list[str]:
    """That of a host that misbehaves."""
    rate = f"{photos / counts['wall_s']:,.0f}"
    return [str(ms), f"each {BAD}th misbehaves", rate, "", "", f"{1000 * counts['cpu_s'] / photos:.2f}"]


def night(
    folder: Path, port: int, photos: int, how: Callable[[int], str], connections: int = CONNECTIONS
) -> dict[str, float]:
    """What fetching so many photos takes, as a run fetches them; requests and photos that were not had beside it."""
    urls = [f"https://localhost:{port}/{photo}.{how(photo)}.jpg" for photo in range(photos)]
    outcomes = []
    with fetching():

        def work() -> None:
            futures = fetcher_of(settings(folder, port, connections)).want(urls)
            wait(futures)
            outcomes.extend(future.result() for future in futures)

        figures = here(work)
        (counts,) = counts_by_host().values()
    missing = sum(one.digest is None for one in outcomes)
    assert missing < photos / 10, outcomes[0]
    return {**figures, "missing": missing, "requests": counts["requests"]}


def put_away(folder: Path) -> None:
    """Have no cache. The files stay: ext4 takes long to make others soon after as many were deleted."""
    if (folder / "cache").exists():
        (folder / "cache").rename(folder / uuid.uuid4().hex)


def settings(folder: Path, port: int, connections: int) -> WebSettings:
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
        connections=connections,
        rate=None,
        max_bytes=20_000_000,
    )


def fine(_: int) -> str:
    """A photo that comes."""
    return "fine"


def way(photo: int) -> str:
    """How the photo of this number misbehaves, as a part of its path."""
    return WAYS[photo // BAD % len(WAYS)] if photo % BAD == 0 else "fine"


# --- whole runs ---


def hidden(photos: int, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds, of the CPU too, to fetch photos alone, to encode those that are in the cache, and to do both."""
    with tempfile.TemporaryDirectory() as name, photo_host(Path(name), RUN_MS / 1000) as port:
        folder = Path(name)
        urls = [f"https://localhost:{port}/{photo}.fine.jpg" for photo in range(photos)]
        table = {
            "id": list(map(str, range(photos))),
            "title": [f"dress {photo}" for photo in range(photos)],
            "image_link": urls,
        }
        pq.write_table(pa.table(table), folder / "a.parquet", row_group_size=UNIT)

        def anew(work: Measure) -> Measure:
            def measure() -> dict[str, float]:
                put_away(folder)
                return work()

            return measure

        return interleaved(
            {
                "fetch": anew(lambda: night(folder, port, photos, fine, RUN_CONNECTIONS)),
                "both": anew(lambda: apart(__file__, "--run", name, str(port), "anew")),
                "encode": lambda: apart(__file__, "--run", name, str(port), "fresh"),
            },
            repeats,
        )


def run(folder: Path, port: int, fresh: bool) -> None:
    """A run in this process; prints the seconds of its step `embed`, and the CPU seconds of all of it, as JSON."""
    from pipeline.config.load import load_config
    from pipeline.run import Request
    from pipeline.run import run as run_once

    with tempfile.TemporaryDirectory() as store:
        keys = {
            "catalog.path": folder / "a.parquet",
            "catalog.image_root": folder,
            "catalog.image": "image_link",
            "catalog.text": "[title]",
            "catalog.attributes": "[title]",
            "catalog.partition": "null",
            "catalog.photo_hosts": f'["localhost:{port}"]',
            "catalog.photo_networks": "[127.0.0.0/8, '::1']",
            "catalog.photo_ca": folder / "ca.pem",
            "catalog.photo_cache": folder / "cache",
            "catalog.photo_connections": RUN_CONNECTIONS,
            "catalog.photo_fresh_hours": 1 if fresh else 0,
            "shards.unit_rows": UNIT,
            "store.path": f"{store}/store",
        }
        words = [f"{key}={value}" for key, value in keys.items()]
        reports = []
        request = Request(load_config("configs/weightless.yaml", words, {}).config)
        figures = here(lambda: reports.append(run_once(request)))
        (report,) = reports
    assert report.photos_lost == 0, report.losses
    (seconds,) = (step.seconds for step in report.steps if step.name == "embed")
    print(json.dumps({**figures, "wall_s": seconds}))


if __name__ == "__main__":
    main()
