"""Maps: the ones that ship, one of a user's own, and what is said of one that cannot be followed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.feeds import grouping
from pipeline.feeds.delimited import text_encoding
from pipeline.feeds.feed_map import read_map, shipped_maps
from tests.support.command import told, vitrine
from tests.support.feeds import import_rows, import_text
from tests.support.places import ROOT

FEEDS = ROOT / "pipeline" / "feeds"


def test_a_map_of_ones_own_converts_as_its_keys_say(tmp_path: Path) -> None:
    """First of several, constant, split, first, join, HTML, replace, lower, types, a currency beside prices."""
    own = tmp_path / "own.yaml"
    own.write_text(
        """
syntax: delimited
columns:
  id: sku
  title: [name_en, name]
  description: {from: body, strip_html: true}
  product_type: {from: [level1, level2], join: " > "}
  image_link: {from: photos, split: "|", first: true}
  additional_image_link: {from: photos, type: list, split: "|"}
  price: {from: amount, type: price, currency: code}
  sale_price: {from: offer, type: price, currency: EUR}
  availability: {from: stock, type: availability, replace: {lieferbar: in stock, weg: out of stock}}
  brand: {constant: Acme}
  color: {from: farbe, lower: true}
  rating: {from: stars, type: number}
  rating_count: {from: votes, type: whole}
  new: {from: neu, type: boolean}
drop: [margin]
others: text
"""
    )
    text = (
        "sku;name;name_en;body;level1;level2;photos;amount;code;offer;stock;farbe;stars;votes;neu;margin;note\n"
        '1;Kleid;Dress;"<p>A <b>red</b> dress</p><p>of linen &amp; silk</p>";Mode;Kleider;a.jpg | b.jpg;'
        "1.299,50;CHF;99,90;Lieferbar;ROT;4,5;1.204;ja;12;hello\n"
        "2;Hose;;plain;Mode;;c.jpg;20;;;weg;Blau;;;yes;13;\n"
    )
    rows, report = import_rows(tmp_path, text, "--as", own)
    first, second = rows
    assert (first["title"], second["title"]) == ("Dress", "Hose")
    assert first["description"] == "A red dress of linen & silk"
    assert (first["product_type"], second["product_type"]) == ("Mode > Kleider", "Mode")
    assert (first["image_link"], first["additional_image_link"]) == ("a.jpg", ["a.jpg", "b.jpg"])
    assert (first["price"], first["price_currency"], second["price_currency"]) == (Decimal("1299.50"), "CHF", None)
    assert (first["sale_price"], first["sale_price_currency"]) == (Decimal("99.9"), "EUR")
    assert second["sale_price"] is second["sale_price_currency"] is None
    assert (first["availability"], second["availability"]) == ("in_stock", "out_of_stock")
    assert (first["brand"], first["color"]) == ("Acme", "rot")
    assert (first["rating"], first["rating_count"]) == (4.5, 1204)
    assert (first["new"], second["new"]) == (None, True)
    assert (first["note"], report["dropped"]) == ("hello", ["margin"])
    assert report["map"] == "own"
    assert [(one["what"], one["came"]) for one in report["examples"]] == [("new", "ja")]


def test_names_of_columns_count_without_case_and_spaces_and_lists_take_all_of_a_name(tmp_path: Path) -> None:
    """`Image Link` is image_link, and of a column that comes twice a list has both."""
    text = "ID,Title,Image Link,additional image link,additional image link\n1,a,a.jpg,b.jpg,c.jpg\n2,b,,,d.jpg\n"
    rows, _ = import_rows(tmp_path, text)
    assert [row["additional_image_link"] for row in rows] == [["b.jpg", "c.jpg"], ["d.jpg"]]
    assert rows[0]["image_link"] == "a.jpg"


def test_commas_inside_of_urls_separate_nothing(tmp_path: Path) -> None:
    """Photos of hosts that are told their size in the path; names of files are separated by any comma."""
    text = (
        "id\ttitle\tlink\timage_link\tadditional_image_link\n"
        "1\ta\th\ti\thttps://x/w_100,h_100/a.jpg,https://x/b.jpg , HTTP://x/c.jpg\n2\tb\th\ti\ta.jpg, b.jpg\n"
    )
    rows, _ = import_rows(tmp_path, text, name="feed.tsv")
    assert [row["additional_image_link"] for row in rows] == [
        ["https://x/w_100,h_100/a.jpg", "https://x/b.jpg", "HTTP://x/c.jpg"],
        ["a.jpg", "b.jpg"],
    ]


def test_rows_of_one_item_are_put_together(tmp_path: Path) -> None:
    """Their photos are one list, also of rows further down, after others; rows without a value are items alone."""
    text = "Handle,Title,Image Src,Price\na,A,1.jpg,1.50\na,,2.jpg,2\nb,B,3.jpg,3\na,,4.jpg,5\n,Nobody,,\n,No one,,\n"
    rows, report = import_rows(tmp_path, text, "--as", _grouping(tmp_path))
    assert [(row["id"], row["additional_image_link"], str(row["price"])) for row in rows] == [
        ("a", ["1.jpg", "2.jpg", "4.jpg"], "1.5000"),
        ("b", ["3.jpg"], "3.0000"),
    ]
    assert (report["rows_read"], report["rows_joined"], report["rejected"]) == (6, 2, {"missing_id": 2})
    assert [(one["what"], one["row"], one["line"]) for one in report["examples"]] == [
        ("missing_id", 5, 6),
        ("missing_id", 6, 7),
    ]


@pytest.mark.parametrize("block", [40, 2**22])
def test_rows_far_behind_their_item_are_bad_rows(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items wait for theirs until many rows do; then each row of them is counted, with its place, and none is lost."""
    monkeypatch.setattr(grouping, "MOST_ROWS", 8)
    monkeypatch.setattr(text_encoding, "BLOCK_BYTES", block)
    lines = [f"{name},{name},{name}{n}.jpg,{n}" for name in "abcdefghijklmnopqrst" for n in range(3)]
    lines += ["a,late,5.jpg,5", "a,late,6.jpg,6", "s,soon,7.jpg,7"]
    text = "Handle,Title,Image Src,Price\n" + "\n".join(lines)
    rows, report = import_rows(tmp_path, text, "--as", _grouping(tmp_path))
    assert sorted(row["id"] for row in rows) == list("abcdefghijklmnopqrst")
    found = {row["id"]: row["additional_image_link"] for row in rows}
    assert all(found[name][:3] == [f"{name}{n}.jpg" for n in range(3)] for name in found)
    bad = report["rejected"].get("bad_row", 0)
    if block == 40:
        assert found["s"][3:] == ["7.jpg"]
        assert [(one["row"], one["line"]) for one in report["examples"]] == [(61, 62), (62, 63)]
    assert report["rows_read"] == 63 == report["rows_written"] + report["rows_joined"] + bad


def _grouping(folder: Path) -> Path:
    own = folder / "own.yaml"
    own.write_text(
        "syntax: delimited\ngroup: {by: Handle}\ncolumns:\n  id: Handle\n  title: Title\n"
        "  additional_image_link: {from: Image Src, type: list}\n  price: {from: Price, type: price, currency: EUR}\n"
    )
    return own


WRONG = {
    "an unknown key": ("  id: sku\n  title: {form: name}\n", "line 4: columns.title.form"),
    "an unknown type": ("  id: sku\n  price: {from: p, type: money}\n", "line 4: columns.price.type"),
    "a currency of no price": ("  id: sku\n  title: {from: p, currency: EUR}\n", "line 4: columns.title"),
    "first of a list": ("  id: sku\n  t: {from: p, split: ',', first: true, type: list}\n", "line 4: columns.t"),
    "from and constant": ("  id: sku\n  t: {from: p, constant: x}\n", "line 4: columns.t"),
    "a number for a name": ("  id: sku\n  t: {from: 5}\n", "came 5; expected: a name, or a list of names"),
    "no id": ("  title: name\n", "line 1: the map"),
    "a price's own currency": ("  id: a\n  p: {from: p, type: price}\n  p_currency: c\n", "p_currency is made by"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_map_that_cannot_be_followed_is_refused_with_line_and_key(case: str, tmp_path: Path) -> None:
    """Exit code 2, before the feed is looked at."""
    text, expected = WRONG[case]
    own = tmp_path / "own.yaml"
    own.write_text(f"syntax: delimited\ncolumns:\n{text}")
    done = vitrine("import", "sample:google", "--to", tmp_path / "shop", "--as", own)
    assert done.exit_code == 2
    assert expected in told(done.stderr)[1]
    assert not (tmp_path / "shop").exists()


def test_what_woocommerce_escapes_is_what_the_shop_wrote(tmp_path: Path) -> None:
    """Ends of lines of a description, and commas inside of a category and of an attribute's value."""
    head = "ID,Type,SKU,Name,Categories,Regular price,Attribute 1 name,Attribute 1 value(s),Description\n"
    text = r'1,simple,S,Hat,"Hats\, Caps > Wool, Sale",5,Color,"Red\, dark, Blue","warm\nand soft"' + "\n"
    rows, report = import_rows(tmp_path, head + text)
    assert report["map"] == "woocommerce"
    assert (rows[0]["product_type"], rows[0]["color"]) == ("Hats, Caps > Wool", "Red, dark, Blue")
    assert rows[0]["description"].split() == ["warm", "and", "soft"]


def test_what_a_map_of_ones_own_names_has_to_be_in_the_feed(tmp_path: Path) -> None:
    """Of a table all that is missing is said by key; one of several names is enough, and what it extends may lack."""
    own = tmp_path / "own.yaml"
    own.write_text(
        "extends: csv\ncolumns:\n  id: sku\n  title: [name_en, name]\n  color: {from: [farbe, couleur]}\n"
        "  size: {from: wert, where: {names: merkmal, are: groesse}}\n"
        "  price: {from: amount, type: price, currency: [waehrung, points]}\n"
    )
    done = import_text(tmp_path, "sku,name,amount,wert\n1,one,2.50,M\n", "--as", own)
    assert done.exit_code == 2
    wrong = (
        "columns.color.from: farbe or couleur",
        "columns.size.where.names: merkmal",
        "columns.price.currency: waehrung or points",
    )
    assert told(done.stderr)[1] == f"none for {'; '.join(wrong)}; columns sku, name, amount, wert"
    own.write_text("extends: csv\ncolumns:\n  title: [name_en, name]\n")
    assert import_rows(tmp_path, "sku,name\n1,one\n", "--as", own)[0][0]["title"] == "one"


def test_an_extended_map_whose_columns_are_none_is_refused(tmp_path: Path) -> None:
    """A list where names belong: exit code 2 with the line."""
    own = tmp_path / "own.yaml"
    own.write_text("extends: csv\ncolumns: [title, id]\n")
    done = vitrine("import", "sample:csv", "--to", tmp_path / "shop", "--as", own)
    assert done.exit_code == 2
    assert "line 2: columns" in told(done.stderr)[1]


def test_all_that_is_wrong_with_a_map_is_said_at_once(tmp_path: Path) -> None:
    """Each with its line."""
    own = tmp_path / "own.yaml"
    own.write_text("syntax: delimited\ncolumns:\n  id: sku\n  a: {form: x}\n  b: {from: y, type: z}\nothers: keep\n")
    done = vitrine("import", "sample:google", "--to", tmp_path / "shop", "--as", own)
    came = told(done.stderr)[1]
    assert all(f"line {line}: " in came for line in (4, 5, 6))


def test_a_map_is_known_by_what_it_says() -> None:
    """Its identity is in the file's footer: of equal maps equal, whatever their comments."""
    found = read_map(FEEDS / "google.yaml")
    assert found.identity == shipped_maps()["google"].identity
    assert len(found.identity) == 64
