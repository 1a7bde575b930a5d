"""Every map of feeds through the same door: its sample is recognised, imported, and has what a catalog needs."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipeline.feeds
from pipeline.feeds.feed_map import FeedMap, map_names, shipped_maps
from pipeline.feeds.syntax.base import syntaxes
from tests.support.command import vitrine
from tests.support.feeds import column, imported

ROOM = Path(pipeline.feeds.__file__).parent
SAMPLES = {path.name.partition(".")[0]: path for path in sorted((ROOM / "samples").iterdir())}
GENERAL = ("csv", "jsonl", "xml", "table")  # maps for feeds that no other knows


def test_the_walk_finds_the_feeds_that_the_command_names() -> None:
    """Maps, a sample of each but for tables, and nothing beside them."""
    assert set(map_names()) >= {"google", "shopify", "woocommerce", "esci", "abo", "csv", "jsonl"}
    assert set(shipped_maps()) - set(SAMPLES) == {"table"}
    assert set(SAMPLES) - set(shipped_maps()) == {"google_xml"}  # the other writing of one map
    assert set(syntaxes()) >= {name for one in shipped_maps().values() for name in one.syntax}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_recognised_and_becomes_products(name: str, tmp_path: Path) -> None:
    """Without being told whose it is: no row is bad, no value is lost, ids are different, all have titles."""
    rows, report = imported(f"sample:{name}", tmp_path / "shop")
    assert report["map"] == _map_of(name).name
    assert report["rows_read"] == 20
    assert report["rejected"] == {}
    assert [one for one in report["columns"] if one["unparsed"]] == []
    assert len(set(column(rows, "id"))) == len(rows) >= 6
    assert all(column(rows, "title"))
    mapped = {one["name"]: one["values"] for one in report["columns"]}
    wanted = {"id", "title", "description", "brand"} | ({"price"} if name not in ("esci", "abo") else set())
    assert all(mapped[one] > 0 for one in wanted)
    if "image_link" in mapped:
        assert all(one.startswith("https://") for one in column(rows, "image_link"))
        assert not any(row["image_link"] in (row["additional_image_link"] or ()) for row in rows if len(row) > 12)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name in ("google_xml", "shopify_json", "abo")])
def test_naming_the_map_gives_what_finding_it_gives(name: str, tmp_path: Path) -> None:
    """`--as shopify` is CSV or JSON by what the file is."""
    found, _ = imported(f"sample:{name}", tmp_path / "found")
    named, _ = imported(f"sample:{name}", tmp_path / "named", "--as", _map_of(name).name)
    assert found == named


@pytest.mark.parametrize("name", shipped_maps())
def test_a_map_says_whose_feed_it_reads(name: str) -> None:
    """Its file begins with whose it is, where that is specified, and the command; only general ones know no columns."""
    text = (ROOM / f"{name}.yaml").read_text()
    found = shipped_maps()[name]
    assert text.startswith("# ")
    assert f"--as {found.name}" in text
    assert found.about
    assert bool(found.recognise) != (found.name in GENERAL)
    if found.recognise:
        assert "https://" in text


def test_two_writings_of_one_feed_are_one_catalog(tmp_path: Path) -> None:
    """Google's TSV and XML of the same products, but for shipping, which no map names."""
    tsv, _ = imported("sample:google", tmp_path / "tsv")
    xml, _ = imported("sample:google_xml", tmp_path / "xml")
    wanted = set(tsv[0]) - {"shipping"}
    assert [{name: row[name] for name in wanted} for row in xml] == [
        {name: row[name] for name in wanted} for row in tsv
    ]


def test_shopifys_rows_of_a_handle_are_one_product(tmp_path: Path) -> None:
    """All photos in their order, variants as attributes; of stock what one variant has; CSV and JSON agree."""
    rows, _ = imported("sample:shopify", tmp_path / "csv")
    dress, boots, *_ = rows
    assert dress["title"] == "Linen Summer Dress"
    photos = [f"https://cdn.example.com/photos/linen-summer-dress-{n}.jpg" for n in (1, 2, 3)]
    assert [dress["image_link"], *dress["additional_image_link"]] == photos
    assert (dress["color"], dress["size"], dress["options"]) == ("White, Blue", "S, M", "White, Blue, S, M")
    assert boots["size"] == "37, 38, 39, 40, 41, 42"
    assert [row["availability"] for row in rows] == ["in_stock"] * 3 + ["out_of_stock"] + ["in_stock"] * 2
    others, _ = imported("sample:shopify_json", tmp_path / "json")
    same = (
        "id",
        "title",
        "description",
        "image_link",
        "additional_image_link",
        "brand",
        "price",
        "availability",
        "sku",
    )
    assert [[row[name] for name in same] for row in others[: len(rows)]] == [
        [row[name] for name in same] for row in rows
    ]
    assert [row["color"] for row in others[: len(rows)]] == [row["color"] for row in rows]


def test_the_language_of_texts_is_a_choice(tmp_path: Path) -> None:
    """Of ABO's values the first language that was named and is there, else the first value."""
    english, _ = imported("sample:abo", tmp_path / "en", "--language", "en")
    german, _ = imported("sample:abo", tmp_path / "de", "--language", "de", "--language", "zh_CN")
    assert [row["title"] for row in english[:2]] == ["Mens Pique Polo Shirt"] * 2
    assert [row["title"] for row in german[:3]] == [
        "Artikel: Mens Pique Polo Shirt",
        "男士马球衫",
        "Women's Linen Summer Dress",
    ]


def test_a_map_extends_another(tmp_path: Path) -> None:
    """What it does not say is the other's; what it says is its own."""
    (tmp_path / "mine.yaml").write_text("extends: csv\nsyntax: delimited\ncolumns: {title: label}\n")
    (tmp_path / "feed.csv").write_text("sku,label,price,currency\n1,a lamp,12.50,EUR\n")
    rows, report = imported(tmp_path / "feed.csv", tmp_path / "shop", "--as", tmp_path / "mine.yaml")
    assert report["map"] == "mine"
    assert (rows[0]["id"], rows[0]["title"], rows[0]["price_currency"]) == ("1", "a lamp", "EUR")
    (tmp_path / "mine.yaml").write_text("extends: nobody\n")
    done = vitrine("import", tmp_path / "feed.csv", "--check", "--as", tmp_path / "mine.yaml")
    assert done.exit_code == 2
    assert "extends: came 'nobody'; expected: one of abo, csv" in done.stderr


def _map_of(sample: str) -> FeedMap:
    maps = shipped_maps()
    return maps[sample] if sample in maps else maps[sample.partition("_")[0]]
