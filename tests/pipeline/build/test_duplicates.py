"""Near-duplicates through the command: found by a run, kept while nothing changes, one of each group in a search."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookup
from tests.support.command import told, vitrine
from tests.support.shop import Shop
from tests.support.stores import manifest_of

LOOKED_FOR = (
    "duplicates={photo: true, near: 0.999, group: item_group_id, told: 3}",
    "catalog.attributes=[title,item_group_id]",
)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """60 products in 3 categories: 8 of Clothing share one photo, 3 of Shoes a group id, 2 of Home all but the id."""
    made = Shop(tmp_path, monkeypatch)
    kinds = made.values("product_type")
    photos, titles = made.values("image_link"), made.values("title")
    clothing, shoes, home = (
        [at for at, one in enumerate(kinds) if one == kind] for kind in ("Clothing", "Shoes", "Home")
    )
    for at in clothing[:8]:
        photos[at] = photos[clothing[0]]
    titles[home[5]], photos[home[5]] = titles[home[2]], photos[home[2]]
    groups: list[str | None] = [None] * len(kinds)
    for at in shoes[:3]:
        groups[at] = "G1"
    groups[shoes[9]] = ""
    made.change("image_link", photos)
    made.change("title", titles)
    made.table = made.table.append_column("item_group_id", [groups])
    return made


def search(store: Path, *words: str) -> list[dict[str, Any]]:
    """The hits of the command."""
    done = vitrine("search", store, "--json", *words)
    assert done.exit_code == 0, done.stderr
    hits: list[dict[str, Any]] = json.loads(done.stdout)["hits"]
    return hits


def test_a_run_finds_groups_and_a_search_shows_one_of_each(shop: Shop) -> None:
    """Groups by each kind and by all; a flood is a notice; hits count the others, are as many as asked for, and each is
    the best of its group; verify reads what was written.
    """
    report = shop.night(*LOOKED_FOR)
    store = shop.folder / "store"
    found = {one.name: one.duplicates for one in manifest_of(store).partitions}
    counts = {name: {kind: (c.groups, c.rows) for kind, c in one.kinds.items()} for name, one in found.items() if one}
    assert counts["Clothing"]["photo"] == counts["Clothing"]["any"] == (1, 8)
    assert counts["Shoes"] == {"photo": (0, 0), "group": (1, 3), "near": (0, 0), "any": (1, 3)}
    assert counts["Home"] == {"photo": (1, 2), "group": (0, 0), "near": (1, 2), "any": (1, 2)}
    (flood,) = [one for one in report["notices"] if one["what"] == "flood"]
    assert flood["examples"] == ["8 products share one photo in Clothing, such as 'P0'"]
    assert vitrine("verify", store).exit_code == 0

    everything = search(store, "--text", "red dress number 7", "-k", "60")
    for kind, groups in (("any", 13 + 18 + 19), ("photo", 13 + 20 + 19), ("near", 20 + 20 + 19), ("group", 58)):
        hits = search(store, "--text", "red dress number 7", "-k", "60", "--collapse", kind)
        assert len(hits) == groups
        place = {hit["id"]: at for at, hit in enumerate(everything)}
        assert [place[hit["id"]] for hit in hits] == sorted(place[hit["id"]] for hit in hits)
        assert sum(1 + hit["others"] for hit in hits) == 60
    assert "others" not in everything[0]
    reader = lookup.open(str(store))
    photo = (shop.photos / "0.png").read_bytes()
    best = reader.search(image=photo, k=60)[0]
    assert [hit.others for hit in reader.search(image=photo, k=1, collapse=True)] == [7]
    assert reader.search(image=photo, k=1, collapse="photo")[0].id == best.id
    assert len(reader.search(image=photo, category="Clothing", k=13, collapse="photo")) == 13
    assert len(reader.search(image=photo, category="Clothing", k=13, collapse="photo", where="title is null")) == 0
    shown = vitrine("search", store, "--text", "red dress", "--collapse", "photo", "--html", shop.folder / "hits.html")
    assert "others" in shown.stdout
    assert "7 more like it" in (shop.folder / "hits.html").read_text()


def test_groups_are_found_again_only_where_something_changed(shop: Shop) -> None:
    """A price changes no group, a group id those of its partition alone; without the section nothing is looked for."""
    shop.night(*LOOKED_FOR)
    store = shop.folder / "store"

    def names() -> dict[str, str]:
        return {one.name: one.duplicates.name for one in manifest_of(store).partitions if one.duplicates}

    before = names()
    shop.change("price", [one + 1 for one in shop.values("price")])
    shop.night(*LOOKED_FOR, "catalog.attributes=[title,item_group_id,price]")
    assert names() == before
    groups, kinds = shop.values("item_group_id"), shop.values("product_type")
    at = kinds.index("Home")
    groups[at] = groups[kinds.index("Home", at + 1)] = "H"
    shop.change("item_group_id", groups)
    shop.night(*LOOKED_FOR, "catalog.attributes=[title,item_group_id,price]")
    assert {name for name in before if names()[name] != before[name]} == {"Home"}
    (groups_of_home,) = [
        np.load(store / one.duplicates.files["group"].path)
        for one in manifest_of(store).partitions
        if one.name == "Home" and one.duplicates
    ]
    assert groups_of_home[:, 1].tolist() == [0, 2]
    shop.night("catalog.attributes=[title,item_group_id,price]")
    assert names() == {}
    refused = vitrine("search", store, "--text", "a", "--collapse", "photo")
    assert refused.exit_code == 2
    assert "duplicates={photo: true}" in told(refused.stderr)[2]


def test_a_category_looks_for_what_the_others_have(shop: Shop) -> None:
    """Other settings, or none, would leave partitions with and without; when the run tells of groups may differ."""
    shop.night(*LOOKED_FOR)
    category = (LOOKED_FOR[1], "--category", "Home")
    shop.change("title", [f"new {one}" for one in shop.values("title")])
    for other in ("duplicates=null", "duplicates={photo: true, near: 0.9, group: item_group_id, told: 3}"):
        refused = vitrine(*shop.words(other, *category))
        assert refused.exit_code == 2, other
        assert "duplicates as in the published snapshot" in told(refused.stderr)[0]
    shop.night("duplicates={photo: true, near: 0.999, group: item_group_id, told: 9}", *category)


def test_a_file_of_groups_that_is_damaged_is_found_and_made_again(shop: Shop) -> None:
    """verify names it, a search by it ends with exit code 4, and the next run writes it anew."""
    shop.night(*LOOKED_FOR)
    store = shop.folder / "store"
    record = next(one.duplicates for one in manifest_of(store).partitions if one.name == "Clothing")
    assert record is not None
    path = store / record.files["photo"].path
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)
    assert vitrine("verify", store).exit_code == 4
    assert vitrine("search", store, "--text", "dress", "--collapse", "photo").exit_code == 4
    assert vitrine("search", store, "--text", "dress").exit_code == 0
    path.unlink()
    shop.night(*LOOKED_FOR)
    assert vitrine("verify", store).exit_code == 0


def test_a_group_that_no_shard_keeps_is_refused(shop: Shop) -> None:
    """Before any work, with the key to set."""
    words = shop.words("duplicates.group=colour")
    done = vitrine(*words)
    assert done.exit_code == 2
    assert "catalog.attributes" in done.stderr
    assert not list((shop.folder / "store").glob("shards/*"))
    shutil.rmtree(shop.folder / "store", ignore_errors=True)
