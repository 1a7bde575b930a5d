"""Whatever photos come to, a run ends with a snapshot: each photo is a vector, or a reason with its detail."""

from __future__ import annotations

import gc
import json
import resource
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foundation.reasons import Reason
from tests.support.bounded import within
from tests.support.command import vitrine
from tests.support.mutated_photos import mutated
from tests.support.stores import manifest_of

OPEN = (
    "gates.max_reject_share=1", "gates.max_degraded_share=1", "gates.max_photos_lost_share=1", "gates.min_recall=0",
    "catalog.partition=null", "catalog.attributes=[title]", "catalog.text=[title]", "catalog.max_photo_seconds=2",
)  # fmt: skip
MOST_SECONDS = 300  # of one run: far more than any takes
MOST_GROWTH = 1_500  # MB, over all of them
OF_PHOTOS = {reason for reason in Reason if reason.startswith("image_")} | {Reason.NONFINITE_EMBEDDING}


def hold(photos: list[bytes], place: Path, seeds: range) -> Counter[str]:
    """Run the command on products with the photos of these seeds, half of them as bytes, half without a title; why
    photos were lost, after all that must hold did.
    """
    made = {seed: mutated(photos, seed) for seed in seeds}
    (place / "photos").mkdir(parents=True)
    links = []
    for seed, (raw, _) in made.items():
        (place / "photos" / f"{seed}.jpg").write_bytes(raw)
        links.append({"bytes": raw if seed % 2 else None, "path": f"photos/{seed}.jpg"})
    titles = ["red dress", *(f"red dress {seed}" if seed % 4 < 2 else None for seed in seeds)]
    table = {"id": ["good", *map(str, seeds)], "title": titles, "image_link": [None, *links]}
    (place / "catalog").mkdir()
    pq.write_table(pa.table(table), place / "catalog" / "a.parquet")
    where = (f"catalog.path={place / 'catalog'}", f"catalog.image_root={place}", f"store.path={place / 'store'}")
    with within(MOST_SECONDS):
        done = vitrine("run", "-c", "configs/weightless.yaml", *where, *OPEN, "--json")
    assert done.exit_code == 0, f"{seeds}: {done.stderr}"
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    assert report["rows_in"] == report["rows_embedded"] + report["rows_rejected"] == 1 + len(seeds)
    found = lost(place / "store")
    for row_id, (reason, detail) in found.items():
        assert reason in OF_PHOTOS, f"{row_id}: {made[int(row_id)][1]}: {reason}"
        assert detail, f"{row_id}: {made[int(row_id)][1]}"
    shutil.rmtree(place)
    return Counter(reason for reason, _ in found.values())


def lost(store: Path) -> dict[str, tuple[str, str]]:
    """id -> (reason, detail) of the rows that lost their photo."""
    found = {}
    for shard in manifest_of(store).shards.entries:
        for file, column in ((shard.file, "degraded"), (shard.rejects, "reason")):
            for row in pq.read_table(store / file.path).to_pylist() if file else ():
                if row[column] is not None:
                    found[row["id"]] = (row[column], row["detail"])
    return found


def good(demo: Path) -> list[bytes]:
    """Photos of the demo catalog."""
    return [file.read_bytes() for file in sorted(demo.glob("photos/*/*.jpg"))[:40]]


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_a_few_mutated_photos(demo: Path, tmp_path: Path) -> None:
    """60 mutated photos: some are decoded, some are lost, each with its detail."""
    assert 0 < hold(good(demo), tmp_path / "few", range(60)).total() < 60


@pytest.mark.nightly
def test_two_thousand_mutated_photos(demo: Path, tmp_path: Path) -> None:
    """2,000 mutated photos in one process: no hang, no traceback, no row lost, and memory does not grow."""
    photos = good(demo)
    hold(photos, tmp_path / "warm", range(50))
    before, reasons = peak_mb(), Counter[str]()
    for first in range(50, 2_050, 50):
        reasons += hold(photos, tmp_path / str(first), range(first, first + 50))
        gc.collect()
    assert reasons["image_undecodable"] > 200
    assert reasons.total() < 2_000
    assert peak_mb() - before < MOST_GROWTH
