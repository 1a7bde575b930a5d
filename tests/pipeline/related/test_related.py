"""The table of related products through the command: held against numpy, copied where nothing changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookup.personal import related as asking
from pipeline.related import related as making
from pipeline.related import table_file
from tests.support.brute_force import Flat, read_flat
from tests.support.command import told, vitrine
from tests.support.shop import Shop
from tests.support.stores import manifest_of

Lists = dict[str, list[tuple[str, float]]]
KINDS = ("Clothing", "Home")
DUPLICATES = "duplicates={photo: true}"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """40 products in 2 categories; one has no photo, and 6 of Clothing share one. Row groups of a table have 4 rows."""
    made = Shop(tmp_path, monkeypatch, 40, KINDS)
    photos = made.values("image_link")
    photos[3] = None
    photos[2:12:2] = [photos[0]] * 5
    made.change("image_link", photos)
    made.night(DUPLICATES)
    monkeypatch.setattr(asking, "_MOST", 4)
    monkeypatch.setattr(table_file, "_IDS", 1)
    return made


def write(shop: Shop, *words: object, out: str = "related.parquet") -> dict[str, Any]:
    """What the command says that it did."""
    done = vitrine("related", shop.folder / "store", "--out", shop.folder / out, "--json", *words)
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def brute_force(flat: Flat, groups: dict[str, str]) -> Lists:
    """All others of its partition for each product, best first, of each of `groups` the best: an item of a concat asks
    by itself over the square of its length.
    """
    found: Lists = {}
    vectors = flat.vectors.astype(np.float64)
    for at, row in enumerate(flat.rows):
        scores = vectors @ vectors[at] / (vectors[at] @ vectors[at])
        others = [n for n, other in enumerate(flat.rows) if other["partition"] == row["partition"]]
        seen = {groups.get(row["id"], row["id"])}
        found[row["id"]] = []
        for n in sorted(others, key=lambda n: -scores[n]):
            one = flat.rows[n]["id"]
            if groups.get(one, one) not in seen:
                seen.add(groups.get(one, one))
                found[row["id"]].append((one, float(scores[n])))
    return found


def assert_same(path: Path, wanted: Lists, k: int) -> None:
    """Each product once, as many related ones, of the same scores, and the same ones but where scores are equal."""
    rows = pq.read_table(path).to_pylist()
    assert sorted(row["id"] for row in rows) == sorted(wanted)
    for row in rows:
        truth = wanted[row["id"]]
        np.testing.assert_allclose(row["scores"], [score for _, score in truth[:k]], atol=2e-6)
        scores = dict(truth)
        assert len(set(row["related"])) == len(row["related"]) == min(k, len(truth))
        # of a group of equal photos, another one may score the same
        near = [
            abs(scores.get(one, mine) - mine) < 4e-6 for one, mine in zip(row["related"], row["scores"], strict=True)
        ]
        assert all(near)


def test_it_is_what_brute_force_finds(shop: Shop) -> None:
    """k others of the partition, or all there are, best first; columns, types and metadata are the documented ones."""
    flat, out = read_flat(shop.folder / "store"), shop.folder / "related.parquet"
    for k in (5, 50):
        said = write(shop, "--k", k)
        assert (said["products"], said["copied"], said["computed"], said["products_computed"]) == (40, 0, 2, 40)
        assert_same(out, brute_force(flat, {}), k)
    file = pq.ParquetFile(out)
    assert [(field.name, str(field.type)) for field in file.schema_arrow] == [
        ("id", "string"),
        ("partition", "string"),
        ("related", "list<element: string not null>"),
        ("scores", "list<element: float not null>"),
    ]
    assert file.num_row_groups == 2 * 5
    about, manifest = json.loads(file.schema_arrow.metadata[b"vitrine.related"]), manifest_of(shop.folder / "store")
    assert (about["snapshot"], about["k"], about["collapse"]) == (said["snapshot"], 50, None)
    assert {one["name"]: one["index"] for one in about["partitions"]} == {
        one.name: one.index.name for one in manifest.partitions
    }
    assert len(pq.read_table(out, filters=[("partition", "=", "Home")])) == 20


def test_of_near_duplicates_one_is_related_and_none_to_its_own(shop: Shop) -> None:
    """With --collapse the best of each group comes, however deep the index has to be asked."""
    kinds, photos = shop.values("product_type"), shop.values("image_link")
    groups = {f"P{n}": f"{kinds[n]} {photos[n]}" for n in range(40) if photos[n]}
    wanted = brute_force(read_flat(shop.folder / "store"), groups)
    assert len(wanted["P0"]) == 14
    for k in (2, 30):
        write(shop, "--k", k, "--collapse", "photo")
        assert_same(shop.folder / "related.parquet", wanted, k)


def test_only_what_changed_is_computed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next night asks the index of the partition that changed and no other, and its table has the bytes of one that
    is made from nothing; other settings copy nothing.
    """
    asked: list[str] = []
    blocks = making.related_blocks

    def counted(opened: Any, items: Any, name: str, *more: Any) -> Iterator[Any]:
        asked.append(name)
        return blocks(opened, items, name, *more)

    monkeypatch.setattr(making, "related_blocks", counted)
    write(shop)
    shutil.copy(shop.folder / "related.parquet", shop.folder / "before.parquet")
    titles = shop.values("title")
    titles[7] = "a blue cup"  # of Home
    shop.change("title", titles)
    shop.night(DUPLICATES)
    asked.clear()
    said = write(shop)
    assert (said["copied"], said["computed"], said["products_computed"], asked) == (1, 1, 20, ["Home"])
    assert write(shop, "--earlier", shop.folder / "before.parquet", out="other.parquet")["copied"] == 1
    assert write(shop, out="new.parquet")["copied"] == 0
    written = [(shop.folder / name).read_bytes() for name in ("related.parquet", "other.parquet", "new.parquet")]
    assert written[0] == written[1] == written[2]
    asked.clear()
    assert (write(shop)["copied"], asked) == (2, [])
    assert (shop.folder / "related.parquet").read_bytes() == written[0]
    assert write(shop, "--k", 3)["copied"] == 0
    assert write(shop, "--k", 3, "--collapse", "photo")["copied"] == 0
    done = vitrine("related", shop.folder / "store", "--out", shop.folder / "related.parquet", "--k", 3)
    assert "40 products" in done.stdout
    assert "of 2 partitions 0 copied, 2 computed" in done.stdout


def test_an_earlier_file_that_is_no_table_is_refused(shop: Shop) -> None:
    """Text, another Parquet file, a table that was cut or damaged, a folder, none: exit code 2, and nothing changes."""
    write(shop)
    out, earlier = shop.folder / "related.parquet", shop.folder / "earlier.parquet"
    whole = out.read_bytes()
    pq.write_table(pa.table({"id": ["P0"]}), shop.folder / "foreign.parquet")
    foreign = (shop.folder / "foreign.parquet").read_bytes()
    damaged = whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]
    for raw in (b"related", foreign, whole[:-100], damaged):
        earlier.write_bytes(raw)
        done = vitrine("related", shop.folder / "store", "--out", out, "--earlier", earlier)
        assert done.exit_code == 2, (raw[:20], done.stdout)
        assert str(earlier) in told(done.stderr)[0]
    for wrong in (shop.folder, shop.folder / "none.parquet"):
        done = vitrine("related", shop.folder / "store", "--out", out, "--earlier", wrong)
        assert (done.exit_code, str(wrong) in told(done.stderr)[1]) == (2, True)
    assert out.read_bytes() == whole
    out.write_bytes(foreign)
    assert vitrine("related", shop.folder / "store", "--out", out).exit_code == 2
    assert out.read_bytes() == foreign
    done = vitrine("related", shop.folder / "store", "--out", shop.folder / "store" / "related.parquet")
    assert "outside of the store" in told(done.stderr)[0]
    done = vitrine("related", shop.folder / "store", "--out", earlier, "--collapse", "near")
    assert "collapse by any, photo" in told(done.stderr)[0]
    assert sorted(one.name for one in shop.folder.glob("*related*")) == ["related.parquet"]
