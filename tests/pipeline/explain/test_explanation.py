"""`vitrine explain` says where a product is, why it is not, and where it stands, as brute force says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from foundation.metric import Metric
from tests.support.brute_force import embed, read_flat
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.partitions import brute_force
from tests.support.shard_rows import embedded
from tests.support.shop import Shop, paint
from tests.support.stores import manifest_of, publications


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def explain(store: Path, *words: object) -> dict[str, Any]:
    """The document of `vitrine explain`."""
    done = vitrine("explain", store, *words, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose second night has a product more, a photo less, a row without a modality, and an id twice. Tests
    must not change it.
    """
    with pytest.MonkeyPatch.context() as patch:
        shop = Shop(tmp_path_factory.mktemp("two-nights"), patch)
        shop.night()
        return second_night(shop)


def second_night(shop: Shop) -> Path:
    ids, titles, links = (shop.values(name) for name in ("id", "title", "image_link"))
    ids[7], ids[30] = "NEW-7", "P29"
    titles[45], links[45] = None, None
    (shop.photos / "41.png").unlink()
    for name, values in (("id", ids), ("title", titles), ("image_link", links)):
        shop.change(name, values)
    shop.night()
    return shop.folder / "store"


def test_a_product_is_told_with_its_row_and_where_that_came_from(two_nights: Path) -> None:
    """Every product's place is that of its row in the shard and in the catalog, and history says since when."""
    manifest, numbers = manifest_of(two_nights), [int(name.removesuffix(".json")) for name in publications(two_nights)]
    rows = {row["id"]: row for row in embedded(two_nights).to_pylist()}
    catalog = pq.read_table(two_nights.parent / "c.parquet")
    for name, first in (("P0", 1), ("NEW-7", 2), ("P29", 1), ("P41", 1)):
        found = explain(two_nights, f" {name}\u00a0")
        row, source = found["row"], found["row"]["source"]
        assert (found["id"], found["outcome"], found["near"], found["rank"]) == (name, "indexed", [], None)
        shard = pq.ParquetFile(two_nights / row["shard"]).read_row_group(row["row_group"]).to_pylist()[row["row"]]
        assert shard == rows[name]
        assert [row[key] for key in ("attributes", "photo", "degraded", "detail", "photos_lost")] == [
            shard[key] for key in ("attributes", "photo", "degraded", "detail", "photos_lost")
        ]
        assert bytes.fromhex(row["text_fingerprint"]) == shard["text_fingerprint"]
        assert catalog.slice(20 * source["row_groups"][0] + source["row"], 1)["id"].to_pylist() == [name]
        entry = next(one for one in manifest.partitions if one.name == row["partition"])
        ids = pq.read_table(two_nights / entry.index.files["ids"].path)["id"].to_pylist()
        assert ids[row["position"]] == name
        assert found["provenance"]["run"] == manifest.run
        since = found["since"]
        assert (since["product"]["number"], since["shard"]["number"]) == (first, 2)
        assert since["before"] == ("it is the first" if first == numbers[0] else "the one before has no such product")
    printed = vitrine("explain", two_nights, "P41").stdout
    assert "image_not_found" in printed
    assert "41.png" in printed
    assert "rejected for duplicate_id" in vitrine("explain", two_nights, "P29").stdout


def test_a_product_that_is_not_there_is_told_why(two_nights: Path) -> None:
    """With exit code 0: a reject's reason, detail, row and what to do; of an unknown id those that are nearly it."""
    found = explain(two_nights, "P45")
    (one,) = found["rejected"]
    assert (found["outcome"], found["row"], one["reason"]) == ("rejected", None, "no_modality")
    assert one["source"] == {"file": str(two_nights.parent / "c.parquet"), "row_groups": [2, 3], "row": 5}
    assert "give the row a text or a photo" in vitrine("explain", two_nights, "P45").stdout
    gone = explain(two_nights, "new-8", "--text", "dress")
    assert (gone["outcome"], gone["near"][0], gone["rank"]) == ("absent", "NEW-7", None)
    assert "had no row of that id" in vitrine("explain", two_nights, "P7").stdout


@pytest.mark.parametrize("name", ["nwe-7", "NEW7", "NEW-77", "NEW+7"])
def test_an_id_that_is_one_letter_off_is_found_among_many(
    two_nights: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Two letters in another order, one less, one more, one other: where too many ids look alike to be compared."""
    monkeypatch.setattr("lookup.near_ids._MOST_NEAR", 0)
    assert explain(two_nights, name)["near"] == ["NEW-7"]


def test_unknown_stores_and_blank_ids_are_refused(two_nights: Path) -> None:
    """With exit code 2, as is a photo that is not there."""
    for words in ((two_nights.parent / "none", "P1"), (two_nights, " "), (two_nights, "P1", "--image", "none.png")):
        done = vitrine("explain", *words)
        assert done.exit_code == 2
        told(done.stderr)


def test_the_rank_for_a_query_is_that_of_brute_force(two_nights: Path) -> None:
    """By text, by photo and by both: rank in all and in the partition, score, its parts, and what is above."""
    photo = two_nights.parent / "photos" / "12.png"
    flat, rows = read_flat(two_nights), {row["id"]: row for row in embedded(two_nights).to_pylist()}
    for words, asked in (
        (("--text", "red dress number 12"), {"text": "red dress number 12"}),
        (("--image", photo), {"image": photo.read_bytes()}),
        (("--text", "number 33", "--image", photo), {"text": "number 33", "image": photo.read_bytes()}),
    ):
        xq = embed(two_nights, **asked)  # type: ignore[arg-type]
        order = flat.best(xq, len(rows))
        for name in ("P12", "P33", "P41"):
            found = explain(two_nights, name, *words, "-k", 5)
            rank, place = found["rank"], next(i for i, (one, _) in enumerate(order) if one == name)
            assert (rank["rank"], rank["products"]) == (place + 1, len(rows))
            inside = [one for one, _ in flat.best(xq, len(rows), found["row"]["partition"])]
            assert (rank["rank_in_partition"], rank["products_in_partition"]) == (inside.index(name) + 1, len(inside))
            assert rank["score"] == pytest.approx(order[place][1], abs=1e-6)
            assert [one["id"] for one in rank["above"]] == [one for one, _ in order[: min(place, 5)]]
            assert rank["hit"] == (place + 1 if place < 5 else None)
            assert set(rank["parts"]) == set(asked)
            assert sum(rank["parts"].values()) == pytest.approx(rank["score"], abs=2e-3)


def test_the_parts_of_a_weighted_sum_add_up(shop: Shop) -> None:
    """Of a product with both modalities; one that lacks its photo has a stand-in, and no parts, nor has a distance."""
    (shop.photos / "4.png").unlink()
    towers = (
        "encoders.text.dim=256",
        "encoders.image.dim=256",
        "fusion={type: weighted_sum, alignment: 0.5, text_weight: 0.3}",
    )
    shop.night(*towers)
    store = shop.folder / "store"
    image = shop.folder / "asked.png"
    paint(image, 9)
    rank = explain(store, "P9", "--text", "number 9", "--image", image)["rank"]
    assert sum(rank["parts"].values()) == pytest.approx(rank["score"], abs=2e-3)
    assert min(rank["parts"].values()) > 0.01
    assert explain(store, "P4", "--text", "number 4")["rank"]["parts"] is None
    shop.night(*towers, "index.metric=l2")
    rank, flat = explain(store, "P9", "--text", "number 5")["rank"], read_flat(store)
    scores = brute_force(Metric.L2, embed(store, text="number 5"), flat.vectors)[0].tolist()
    mine = scores[[row["id"] for row in flat.rows].index("P9")]
    assert (rank["parts"], rank["rank"]) == (None, 1 + sum(score > mine for score in scores))
    assert rank["score"] == pytest.approx(mine, abs=1e-5)


def test_what_an_index_misses_is_told(tmp_path: Path) -> None:
    """A product whose rank says that it is a hit, and which codes and lists leave out: at how many lists it is one."""
    titles = [f"{n % 7} lamp {n % 13} of {n % 31} parts {n}" for n in range(700)]
    catalog, store = write_titles(tmp_path / "c.parquet", titles), tmp_path / "store"
    coarse = ("index.exact_below=512", "index.target_recall=0.01", "index.large={type: ivf_flat, nlist: 32}")
    assert run_titles(catalog, store, *coarse, "gates.min_recall=0").exit_code == 0
    flat, asked = read_flat(store), "lamp parts of 5"
    best = [name for name, _ in flat.best(embed(store, text=asked), 10)]
    hits = searched(store, asked)
    missed = [name for name in best if name not in hits]
    assert missed
    for name in missed[:2]:
        rank = explain(store, name, "--text", asked)["rank"]
        assert (rank["hit"], rank["hit_in_partition"], rank["rank"]) == (None, None, best.index(name) + 1)
        needed = rank["nprobe_needed"]
        assert name in searched(store, asked, "--nprobe", needed)
        assert name not in searched(store, asked, "--nprobe", needed // 2)
        assert f"with {needed} it is" in vitrine("explain", store, name, "--text", asked).stdout
    assert explain(store, hits[0], "--text", asked)["rank"]["nprobe_needed"] is None


def searched(store: Path, text: str, *words: object) -> list[str]:
    done = vitrine("search", store, "--text", text, *words, "--json")
    return [hit["id"] for hit in json.loads(done.stdout)["hits"]]
