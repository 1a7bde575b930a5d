"""Nights after nights: what changed is encoded, what did not is copied, and what is published is what a fresh store
publishes.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.embed import fingerprinted_units
from pipeline.embed.earlier.fingerprint_table import TableWriter
from pipeline.plan.units import Unit
from tests.support.command import ANY_NIGHT, vitrine
from tests.support.shop import ROWS, Shop, content, paint
from tests.support.stores import digests, manifest_of, publish_by_hand


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def titles(shop: Shop) -> None:
    shop.change("title", [f"blue {title}" if n % 20 == 3 else title for n, title in enumerate(shop.values("title"))])


def pictures(shop: Shop) -> None:
    for n in range(3, ROWS, 20):
        paint(shop.photos / f"{n}.png", n + 1)


def prices(shop: Shop) -> None:
    shop.change("price", [price + 1 for price in shop.values("price")])


def row_groups(shop: Shop) -> None:
    shop.group_rows = 17


def deletion(shop: Shop) -> None:
    shop.table = shop.table.slice(1)


def shuffle(shop: Shop) -> None:
    shop.table = shop.table.take(random.Random(0).sample(range(ROWS), ROWS))


def ids(shop: Shop) -> None:
    shop.change("id", [f"new-{name}" for name in shop.values("id")])


def moves(shop: Shop) -> None:
    shop.change("product_type", [*shop.values("product_type")[1:], "Home"])


def nothing(shop: Shop) -> None:
    """The config changes."""


class Night(NamedTuple):
    """What changes, and how many texts and photos have to be encoded for it."""

    change: Callable[[Shop], None]
    texts: int
    photos: int
    more: tuple[str, ...] = ()


LOOSE = (*ANY_NIGHT,)
NIGHTS = {
    "titles": Night(titles, 3, 0),
    "photos": Night(pictures, 0, 3),
    "prices": Night(prices, 0, 0),
    "row groups": Night(row_groups, 0, 0),
    "first row deleted": Night(deletion, 0, 0),
    "shuffled": Night(shuffle, 0, 0),
    "ids": Night(ids, 0, 0),
    "categories": Night(moves, 0, 0),
    "fusion weight": Night(nothing, 0, 0, ("fusion.text_weight=0.3",)),
    "towers off": Night(nothing, 0, 0, ("shards.towers=false",)),
    "another text encoder": Night(nothing, ROWS, 0, ("encoders.text.dim=64",)),
    "limits of photos": Night(nothing, 0, ROWS, ("catalog.max_photo_seconds=9",)),
}


@pytest.mark.parametrize("night", NIGHTS.values(), ids=NIGHTS.keys())
def test_a_night_encodes_what_changed(shop: Shop, night: Night) -> None:
    """Encoders are asked for what changed and no more, the report counts it, and shards and indexes are byte for byte
    those of a store that is new.
    """
    first = shop.night()
    assert (shop.texts, shop.images) == (first["texts_encoded"], first["photos_encoded"]) == (ROWS, ROWS)
    night.change(shop)
    report = shop.night(*LOOSE, *night.more)
    assert (shop.texts, shop.images) == (night.texts, night.photos)
    counts = [report[name] for name in ("texts_encoded", "texts_copied", "photos_encoded", "photos_copied")]
    there = len(shop.table)
    assert counts == [night.texts, there - night.texts, night.photos, there - night.photos]
    shop.night(*LOOSE, *night.more, store="fresh")
    assert content(shop.folder / "store") == content(shop.folder / "fresh")
    assert vitrine("verify", shop.folder / "store", "--all").exit_code == 0


TEXTS_ALONE = ("catalog.image=null", "catalog.image_root=null", "encoders.image=null", "fusion={type: single}")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the units of which rows were read."""
    units, rows_of = list[int](), fingerprinted_units.rows_of

    def noted(unit: Unit, *more: Any) -> pa.Table:
        units.append(unit.number)
        return rows_of(unit, *more)

    monkeypatch.setattr(fingerprinted_units, "rows_of", noted)
    return units


def test_a_catalog_of_the_same_bytes_is_not_read_again(shop: Shop, read: list[int]) -> None:
    """Texts that are exported anew, byte for byte as they were, are known by that; other bytes are read."""
    first = shop.night(*TEXTS_ALONE)
    assert sorted(read) == [0, 1, 2]
    read.clear()
    report = shop.night(*TEXTS_ALONE)
    found = [report[name] for name in ("status", "snapshot", "units_reused", "rows_embedded")]
    assert (found, read) == (["unchanged", first["snapshot"], 3, ROWS], [])
    assert shop.night(*TEXTS_ALONE)["status"] == "unchanged"
    assert read == []
    prices(shop)
    assert shop.night(*TEXTS_ALONE)["status"] == "published"
    assert sorted(read) == [0, 1, 2]


@pytest.mark.parametrize(
    "setting", ["catalog.attributes=[title]", "catalog.partition_levels=2", "encoders.text.dim=64"]
)
def test_the_same_bytes_are_read_by_other_settings(shop: Shop, read: list[int], setting: str) -> None:
    """What rows become is a matter of the settings too."""
    shop.night(*TEXTS_ALONE)
    read.clear()
    shop.night(*TEXTS_ALONE, setting)
    assert sorted(read) == [0, 1, 2]


def test_the_same_bytes_are_read_after_another_run(shop: Shop, read: list[int]) -> None:
    """The published snapshot has to be that of the catalog: after a run of one category, or of another catalog, it may
    not be.
    """
    first = shop.night(*TEXTS_ALONE)
    shop.change("title", ["blue" if n < 9 else title for n, title in enumerate(shop.values("title"))])
    shop.night(*TEXTS_ALONE, "--category", "Home")
    read.clear()
    shop.night(*TEXTS_ALONE)
    assert sorted(read) == [0, 1, 2]
    publish_by_hand(shop.folder / "store", first["snapshot"])
    read.clear()
    assert shop.night(*TEXTS_ALONE)["status"] == "published"
    assert sorted(read) == [0, 1, 2]


def test_the_same_bytes_are_read_where_a_shard_is_damaged(shop: Shop, read: list[int]) -> None:
    """What stands is whole, or it is made again."""
    first = shop.night(*TEXTS_ALONE)
    shard = next((shop.folder / "store" / "shards").glob("*.parquet"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-9] + b"x" + whole[-8:])
    read.clear()
    report = shop.night(*TEXTS_ALONE)
    assert (report["status"], report["snapshot"], sorted(read)) == ("unchanged", first["snapshot"], [0, 1, 2])
    assert shard.read_bytes() == whole


def test_photos_of_an_untouched_catalog_are_looked_at(
    shop: Shop, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo may change though the catalog does not."""
    shop.night()
    nothing_is_written = SimpleNamespace(write_table=lambda *_, **__: None)
    monkeypatch.setattr("tests.support.shop.pq", nothing_is_written)  # the catalog is not exported any more
    assert shop.night()["status"] == "unchanged"
    read.clear()
    paint(shop.photos / "5.png", 6)
    assert shop.night()["photos_encoded"] == 1
    assert sorted(read) == [0, 1, 2]


def test_a_category_uses_vectors_of_all(shop: Shop) -> None:
    """A product that comes from another category is copied."""
    shop.night()
    shop.change("product_type", ["Home" if n < 10 else kind for n, kind in enumerate(shop.values("product_type"))])
    shop.change("title", ["new words" if n == 11 else title for n, title in enumerate(shop.values("title"))])
    report = shop.night(*ANY_NIGHT, "--category", "Home", refused=True)
    assert (shop.texts, shop.images) == (1, 0)
    assert "ids_unique" in report["error"]  # the others have these products still


def test_a_failure_costs_its_row_alone(shop: Shop) -> None:
    """A photo that is late is read when it comes; until then, and after that, nothing else is encoded."""
    late = shop.photos / "5.png"
    late.unlink()
    shop.night()
    assert shop.images == ROWS - 1
    report = shop.night()
    assert (report["status"], shop.texts, shop.images) == ("unchanged", 0, 0)
    paint(late, 5)
    assert shop.night()["degraded"] == {}
    assert (shop.texts, shop.images) == (0, 1)


def test_one_of_several_photos_that_was_lost_is_read_when_it_comes(shop: Shop) -> None:
    """The vector of a product that lost one of its photos is not copied, though its fingerprint may stay."""
    more = [["late.png"] if n == 7 else [] for n in range(ROWS)]
    shop.table = shop.table.append_column("more", pa.array(more)).append_column("version", pa.array(["1"] * ROWS))
    said = ("catalog.more_images=more", "catalog.image_identity=version", "catalog.version_column=version")
    assert shop.night(*said)["photos_lost"] == 1
    shop.night(*said)
    assert shop.images == 0
    paint(shop.photos / "late.png", 50)
    report = shop.night(*said)
    assert (report["photos_lost"], shop.images) == (0, 2)
    shop.night(*said, store="fresh")
    assert content(shop.folder / "store") == content(shop.folder / "fresh")


def test_what_a_killed_run_did_is_copied_for_another_catalog(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first night that stops half-way has published nothing; the night after uses its shards for what is left of
    them, though its plan is another.
    """
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.run.build_indexes", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            shop.night()
    titles(shop)
    deletion(shop)
    report = shop.night()
    assert (shop.texts, shop.images) == (3, 0)
    assert report["texts_copied"] == ROWS - 4


@pytest.mark.parametrize("kind", ["a vector", "a fingerprint", "cut", "gone", "swapped"])
def test_a_damaged_shard_is_encoded_again(shop: Shop, kind: str) -> None:
    """Its rows are, nobody else's; the report says which, and the snapshot is whole."""
    shop.night("run.workers=1")
    one, other, _ = (
        shop.folder / "store" / entry.file.path for entry in manifest_of(shop.folder / "store").shards.entries
    )
    raw = one.read_bytes()
    column = {"a vector": "image_vector", "a fingerprint": "text_fingerprint"}.get(kind)
    if column is not None:
        group = pq.ParquetFile(one).metadata.row_group(0)
        chunk = next(c for c in (group.column(i) for i in range(group.num_columns)) if c.path_in_schema == column)
        at = chunk.data_page_offset + chunk.total_compressed_size - 9
        one.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    elif kind == "cut":
        one.write_bytes(raw[:-20])
    elif kind == "gone":
        one.unlink()
    else:
        one.write_bytes(other.read_bytes())
    prices(shop)
    report = shop.night()
    again = 40 if kind == "swapped" else 20  # those whose shard it is a copy of are looked for in it
    assert (report["texts_encoded"], report["photos_encoded"]) == (shop.texts, shop.images) == (again, again)
    (said,) = (one for one in report["notices"] if one["what"] == "shards_damaged")
    assert (said["count"], said["examples"]) == (1, [str(one.relative_to(shop.folder / "store"))])
    assert vitrine("verify", shop.folder / "store").exit_code == 0
    shop.night(store="fresh")
    assert content(shop.folder / "store") == content(shop.folder / "fresh")


def test_a_catalog_in_another_order_takes_rows_at_random(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """From shards that are laid out once; of one that is damaged its rows are encoded, and it is told."""
    monkeypatch.setattr("pipeline.embed.earlier.reuse._FEW", 0)
    shop.night()
    store = shop.folder / "store"
    shuffle(shop)
    report = shop.night()
    assert (shop.texts, shop.images, report["photos_copied"]) == (0, 0, ROWS)
    shop.night(store="fresh")
    assert content(store) == content(shop.folder / "fresh")
    damaged = store / manifest_of(store).shards.entries[1].file.path
    damaged.write_bytes(damaged.read_bytes()[:-9] + b"no footer")
    shop.table = shop.table.take(list(range(ROWS))[::-1])
    report = shop.night()
    assert (shop.texts, shop.images) == (20, 20)
    (said,) = (one for one in report["notices"] if one["what"] == "shards_damaged")
    assert said["examples"] == [str(damaged.relative_to(store))]
    assert list(store.glob("parts/*")) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_footer_with_other_bits_is_damage(shop: Shop, seed: int) -> None:
    """Parquet's footers have no checksum: whatever a flipped bit makes of one, the run ends well and says which."""
    shop.night("run.workers=1")
    store, draw = shop.folder / "store", random.Random(seed)
    prices(shop)
    for entry in manifest_of(store).shards.entries:
        path = store / entry.file.path
        raw = bytearray(path.read_bytes())
        for _ in range(3):
            raw[-draw.randrange(9, int.from_bytes(raw[-8:-4], "little"))] ^= 1 << draw.randrange(8)
        path.write_bytes(raw)
    report = shop.night()
    assert report["status"] == "published"
    assert (shop.texts, shop.images) == (report["texts_encoded"], report["photos_encoded"]) == (ROWS, ROWS)
    assert vitrine("verify", store).exit_code == 0


def test_what_cannot_be_copied_is_said(shop: Shop) -> None:
    """With its reason, in the report of the run."""
    shop.night("shards.towers=false")
    titles(shop)
    report = shop.night()
    assert (shop.texts, shop.images) == (ROWS, ROWS)
    (said,) = (one for one in report["notices"] if one["what"] == "vectors_not_copied")
    assert said["told"] == "no vector is copied: the snapshot before was made with shards.towers: false"
    report = shop.night("encoders.text.dim=64")
    assert (shop.texts, shop.images) == (ROWS, 0)
    (said,) = (one for one in report["notices"] if one["what"] == "vectors_not_copied")
    assert said["told"].startswith("no vector of the text tower is copied, it is another one: dim 64")
    assert "instead of dim 1024" in said["told"]


def test_a_disk_that_fills_while_tables_are_written(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends in three parts, what was published stays, and the next run goes on."""
    shop.night()
    prices(shop)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = manifest_of(shop.folder / "store")
    with monkeypatch.context() as patch:
        patch.setattr(TableWriter, "close", full)
        assert "space" in shop.night(refused=True)["error"]
    assert manifest_of(shop.folder / "store") == before
    assert shop.night()["texts_copied"] == ROWS


FULL = Path("/dev/full")  # takes no byte


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, a device that is always full")
@pytest.mark.parametrize("name", ["text_vector.0", "image_vector.0", "text_vector", "text_vector.rest"])
def test_a_disk_that_is_full_while_tables_are_built(shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whichever of their files takes no byte: exit 1, nothing half-written is left, and the next run copies all."""
    shop.night()
    prices(shop)
    store, real, seen = shop.folder / "store", Path.open, list[str]()

    def opened(path: Path, *how: Any, **more: Any) -> Any:
        if path.name != name or store not in path.parents:
            return real(path, *how, **more)
        seen.append(path.name)
        return real(FULL, *how, **more)

    before = digests(store)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        report = shop.night(refused=True)
    assert seen == [name]
    assert (report["status"], report["exit_code"]) == ("failed", 1)
    assert "No space left on device" in report["error"]
    assert digests(store) == before
    assert not list(store.glob("tmp/*/*"))
    report = shop.night()
    assert (report["texts_copied"], report["photos_copied"]) == (ROWS, ROWS)
    assert not list(store.glob("parts/*"))  # tables of the run that failed
