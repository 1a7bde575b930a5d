"""Why what a night encodes has to be encoded, night after night, as run.json, report and metrics tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support.shop import ROWS, Shop, paint
from tests.support.stores import last_log, manifest_of


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop after its first night."""
    made = Shop(tmp_path, monkeypatch)
    assert why(made.night()) == {"text new": ROWS, "photo new": ROWS}
    return made


def why(report: dict[str, Any]) -> dict[str, int]:
    """(modality and reason) -> products."""
    return {f"{one['modality']} {one['reason']}": one["products"] for one in report["encoded"]}


def test_new_rows_and_changed_texts_and_photos_are_told_apart(shop: Shop) -> None:
    """A product that was not there is new; one that was, with another title or photo, is changed; report and metrics
    have the same figures.
    """
    shop.change("id", ["N0", *shop.values("id")[1:]])
    shop.change("title", ["a new lamp", "blue shoe", "green shoe", *shop.values("title")[3:]])
    paint(shop.photos / "2.png", 59)
    report = shop.night()
    assert why(report) == {"text new": 1, "text changed": 2, "photo changed": 1}
    assert sum(why(report).values()) == report["texts_encoded"] + report["photos_encoded"]
    assert "vitrine_run_texts_encoded_for{" in last_log(shop.folder / "store", "metrics.prom")
    assert "Encoded, and why" in last_log(shop.folder / "store", "report.html")


def test_a_night_on_which_nothing_changed_encodes_for_no_reason(shop: Shop) -> None:
    """Nothing is encoded, and no reason is told; a moved row is copied."""
    assert why(shop.night()) == {}
    shop.table = pa.concat_tables([shop.table.slice(30), shop.table.slice(0, 30)])
    assert why(shop.night()) == {}


def test_another_encoder_and_other_limits_are_named(shop: Shop) -> None:
    """Texts of another encoder, photos under other limits, and vectors that were not kept are told as that."""
    report = shop.night("encoders.text.dim=32", "catalog.max_photo_pixels=9999999", "--accept", "encoder_changed")
    assert why(report) == {"text encoder_changed": ROWS, "photo limits_changed": ROWS}


def test_vectors_that_were_not_kept(shop: Shop) -> None:
    """Where shards of the night before have no vectors of towers, that is the reason."""
    shop.night("shards.towers=false", store="bare")
    shop.change("title", ["blue shoe", *shop.values("title")[1:]])
    report = shop.night("shards.towers=false", store="bare")
    assert why(report) == {"text changed": 1, "text not_kept": 19, "photo not_kept": 20}


def test_what_failed_is_tried_again(shop: Shop) -> None:
    """A product whose photo was lost is tried again while it is as it was, and has changed once it is there."""
    (shop.photos / "7.png").unlink()
    shop.night()
    shop.change("title", ["one more", *shop.values("title")[1:]])
    shop.change("title", [*shop.values("title")[:7], "another", *shop.values("title")[8:]])
    report = shop.night()
    assert why(report) == {"text changed": 2, "photo tried_again": 1}
    paint(shop.photos / "7.png", 7)
    assert why(shop.night()) == {"photo changed": 1}


def test_a_damaged_shard_is_the_reason(shop: Shop) -> None:
    """Rows whose vectors lay in a shard that is damaged are encoded for that."""
    shard = manifest_of(shop.folder / "store").shards.entries[0]
    assert shard.file is not None
    path = shop.folder / "store" / shard.file.path
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)
    assert why(shop.night()) == {"text shard_damaged": 20, "photo shard_damaged": 20}
