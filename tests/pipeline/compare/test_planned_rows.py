"""`vitrine plan --rows` says beforehand what the run then does, and what a plain comparison of rows says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lookup.store.store import Store
from pipeline.plan.history import Rates, measured_rates
from tests.support.chance import LOOSE, Chance
from tests.support.command import config_for, vitrine
from tests.support.shop import ROWS, Shop, paint
from tests.support.stores import everything, manifest_of

DONE = ("texts_encoded", "texts_copied", "photos_encoded", "photos_copied")
TEXTS_ALONE = ("catalog.image=null", "catalog.image_root=null", "encoders.image=null", "fusion={type: single}")
BEFORE_ENCODING = {"duplicate_id", "missing_id", "no_modality"}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def planned(shop: Shop, *more: str) -> dict[str, Any]:
    """The rows that `vitrine plan --rows` tells of the catalog as it is by now."""
    done = vitrine("plan", *shop.words(*more)[1:], "--rows", "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["compared"]
    assert {kind: sum(one[kind] for one in found["partitions"].values()) for kind in found["counts"]} == found["counts"]
    return found


def agree(shop: Shop, *more: str) -> tuple[dict[str, int], dict[str, Any]]:
    """What was planned, and the report of the run after it, which did that."""
    before = everything(shop.folder / "store")
    found = planned(shop, *more)
    assert everything(shop.folder / "store") == before  # a plan writes nothing
    report = shop.night(*more)
    assert [found["counts"][name] for name in DONE] == [report[name] for name in DONE]
    assert (found["units"], found["units_stand"]) == (report["units"], report["units_reused"])
    return found["counts"], report


def compared(shop: Shop) -> dict[str, int]:
    """What `vitrine diff`, whose counts are proved on their own, says of the last two snapshots."""
    history = [one.snapshot for one in Store.open(str(shop.folder / "store")).publications()]
    done = vitrine("diff", shop.folder / "store", *history[-2:], "--json")
    found: dict[str, int] = json.loads(done.stdout)["counts"]
    return found


@pytest.mark.parametrize("seed", [11, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(12, 22))])
def test_plans_of_random_nights_are_what_runs_do(shop: Shop, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Texts and photos encoded and copied, units that stand, also after a run that was stopped; and of published nights
    the rows that are new, changed, gone and rejected.
    """
    chance, seen = Chance(shop, seed), Counter[str]()
    counts, report = agree(shop, *LOOSE)
    assert (counts["new"], counts["texts_encoded"], counts["unchanged"]) == (ROWS, ROWS, 0)
    things = [[chance.lose, chance.edit], [chance.add, chance.repeat], [chance.come, chance.move, chance.delete]]
    for number, some in enumerate(things):
        chance.happen()
        for thing in some:
            thing()
        if number == 1:
            with monkeypatch.context() as patch:
                patch.setattr("pipeline.run.build_indexes", lambda *_: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    shop.night(*LOOSE)
            chance.swap()
        counts, report = agree(shop, *LOOSE)
        seen.update(counts)
        rejected = Counter(report["rejects"])
        assert counts["rejected"] == sum(rejected[reason] for reason in BEFORE_ENCODING)
        assert sum(counts[kind] for kind in ("new", "rejected_before", "changed", "unchanged", "rejected")) == len(
            shop.table
        )
        if report["status"] == "published" and set(rejected) <= BEFORE_ENCODING:
            wanted = compared(shop)
            assert {kind: counts[kind] for kind in ("text", "photo", "attributes", "moved", "gone")} == {
                kind: wanted[kind] for kind in ("text", "photo", "attributes", "moved", "gone")
            }
            assert counts["new"] + counts["rejected_before"] == wanted["added"]
    for kind in ("new", "text", "photo", "moved", "gone", "rejected", "photos_unreadable", *DONE):
        assert seen[kind], kind


@pytest.mark.parametrize("identity", ["version", pytest.param("bytes", marks=pytest.mark.nightly)])
def test_photos_by_other_identities(shop: Shop, identity: str) -> None:
    """By content and by a version column: one that changes, one that is lost, one that is late, and one that lost one
    of its photos.
    """
    more = [["late.png"] if n == 7 else [] for n in range(ROWS)]
    shop.table = shop.table.append_column("more", [more]).append_column("version", [["1"] * ROWS])
    said = ("catalog.more_images=more", f"catalog.image_identity={identity}", "catalog.version_column=version")
    (shop.photos / "9.png").unlink()
    agree(shop, *said)
    paint(shop.photos / "33.png", 2)
    (shop.photos / "50.png").unlink()
    shop.change("version", [f"{1 + (n in (33, 50))}" for n in range(ROWS)])
    assert agree(shop, *said)[0]["photo"] == 2
    paint(shop.photos / "late.png", 50)
    paint(shop.photos / "9.png", 3)
    agree(shop, *said)


def test_a_category_another_encoder_and_a_fusion(shop: Shop) -> None:
    """A plan of one category counts that alone; another tower encodes its side, another fusion copies all."""
    shop.night()
    shop.change("title", [f"hat {n}" if n in (2, 3) else title for n, title in enumerate(shop.values("title"))])
    counts, _ = agree(shop, "--category", "Home")
    assert (counts["text"], counts["unchanged"], counts["gone"], counts["texts_encoded"]) == (1, 19, 0, 1)
    counts, _ = agree(shop, "encoders.text.dim=128")
    assert (counts["texts_encoded"], counts["photos_copied"], counts["unchanged"]) == (ROWS, ROWS, ROWS - 1)
    found = planned(shop, "encoders.text.dim=128", "fusion.text_weight=0.25")
    assert (found["units_stand"], found["counts"]["texts_copied"], found["cost"]["indexes"]) == (0, ROWS, 3)
    printed = vitrine("plan", *shop.words("encoders.text.dim=128")[1:], "--rows").stdout
    assert "all 3 units stand: nothing is encoded" in printed


def test_a_catalog_of_the_same_bytes_is_told(shop: Shop) -> None:
    """Texts that are exported anew as they were; with photos, files that nobody touched."""

    def told(*more: str) -> list[str]:
        done = vitrine("plan", *shop.words(*more)[1:], "--json")
        return [one["told"] for one in json.loads(done.stdout)["notices"] if one["what"] == "catalog_unchanged"]

    shop.night(*TEXTS_ALONE)
    (line,) = told(*TEXTS_ALONE)
    assert "encodes nothing" in line
    assert planned(shop, *TEXTS_ALONE)["units_stand"] == 3
    shop.change("price", [price + 1 for price in shop.values("price")])
    assert told(*TEXTS_ALONE) == []


def test_the_cost_is_that_of_earlier_runs(shop: Shop) -> None:
    """Seconds of embedding are explained by rows, texts and photos; indexes take what they took."""
    shop.night()
    paint(shop.photos / "3.png", 40)  # of Clothing
    found = planned(shop)
    (took,) = (one["seconds"] for one in runs(shop)[0]["steps"] if one["name"] == "embed")
    built = next(one for one in manifest_of(shop.folder / "store").partitions if one.name == "Clothing")
    assert found["cost"]["build_seconds"] == built.index.build_seconds
    assert (found["cost"]["indexes"], found["cost"]["runs"]) == (1, 1)
    assert found["cost"]["encode_seconds"] == pytest.approx(took / (2 * ROWS), rel=1e-3)
    for number, (texts, photos) in enumerate(((0, 0), (100, 0), (0, 50))):
        report = runs(shop)[0]
        seconds = 0.001 * 1000 + 0.02 * texts + 0.3 * photos
        report.update(rows_in=1000, texts_encoded=texts, photos_encoded=photos)
        report["steps"] = [{"name": "embed", "seconds": seconds, "counts": {}}]
        folder = shop.folder / "store" / "runs" / f"2999010{number}T000000Z-000000"
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(report))
    first = sorted((shop.folder / "store" / "runs").iterdir())[0]
    (first / "run.json").unlink()
    encoders = config_for(shop.folder, shop.folder / "store").encoders
    rates = measured_rates(str(shop.folder / "store"), encoders)
    assert rates is not None
    assert (rates.row, rates.text, rates.photos, rates.runs) == pytest.approx((0.001, 0.02, 0.3, 3))
    assert rates.seconds(2000, 10, 10) == pytest.approx(2 + 0.2 + 3)
    assert Rates(0.1, 0.1, None, 1).seconds(1, 1, 1) is None
    assert Rates(0.0, 0.1, 0.1, 1).seconds(9, 0, 0) is None  # what reading takes is not known yet


def runs(shop: Shop) -> list[dict[str, Any]]:
    """run.json of each run."""
    return [json.loads(path.read_text()) for path in sorted((shop.folder / "store" / "runs").glob("*/run.json"))]
