"""XML feeds from the door: RSS, Atom, others; what is refused, and that nothing outside is touched."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.command import told, vitrine
from tests.support.feeds import column, import_rows, import_text

G = 'xmlns:g="http://base.google.com/ns/1.0"'
ITEM = "<item><g:id>{0}</g:id><title>lamp {0}</title><link>https://s.example/{0}</link>{1}</item>"


def _rss(*items: str, space: str = G, more: str = "") -> str:
    return f'<?xml version="1.0"?>{more}<rss version="2.0" {space}><channel>\n' + "\n".join(items) + "</channel></rss>"


def test_rss_with_googles_elements(tmp_path: Path) -> None:
    """`g:` or not, several photos, nested shipping as a path, CDATA with markup."""
    more = (
        "<g:additional_image_link>https://s.example/b.jpg</g:additional_image_link>"
        "<g:additional_image_link>https://s.example/c.jpg</g:additional_image_link>"
        "<g:shipping><g:country>DE</g:country><g:price>4.90 EUR</g:price></g:shipping>"
        "<description><![CDATA[<p>of oak &amp; brass</p>]]></description><g:price>12.50 EUR</g:price>"
    )
    text = _rss(ITEM.format(1, more + "<g:image_link>https://s.example/a.jpg</g:image_link>"), ITEM.format(2, ""))
    rows, report = import_rows(tmp_path, text, name="feed.xml")
    assert report["map"] == "google"
    assert rows[0]["description"] == "of oak & brass"
    assert rows[0]["additional_image_link"] == ["https://s.example/b.jpg", "https://s.example/c.jpg"]
    (tmp_path / "mine.yaml").write_text(
        "extends: google\nsyntax: xml_document\ncolumns: {shipping_price: {from: 'g:shipping.g:price', type: price}}\n"
    )
    rows, _ = import_rows(tmp_path, text, "--as", str(tmp_path / "mine.yaml"), name="feed.xml")
    assert [str(row["shipping_price"]) for row in rows] == ["4.9000", "None"]


def test_atom_has_ids_and_links_of_its_own(tmp_path: Path) -> None:
    """Google's id counts before Atom's, a link is an attribute, XHTML is text."""
    entry = (
        "<entry><id>tag:s.example,2026:1</id><title>a lamp</title><link href='https://s.example/1' rel='alternate'/>"
        "<content type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'>of <b>oak</b></div></content>"
        "<g:id>A1</g:id><g:image_link>https://s.example/1.jpg</g:image_link></entry>"
    )
    rows, _ = import_rows(tmp_path, f'<feed xmlns="http://www.w3.org/2005/Atom" {G}>{entry}</feed>', name="feed.xml")
    assert (rows[0]["id"], rows[0]["link"], rows[0]["description"]) == ("A1", "https://s.example/1", "of oak")


def test_a_feed_of_any_elements_is_found_by_what_repeats(tmp_path: Path) -> None:
    """Attributes of an item are columns, and `items` of a map says which elements they are."""
    offers = "".join(f'<offer id="{n}"><name>lamp {n}</name><price>{n}.50</price></offer>' for n in range(3))
    text = f"<shop><categories><category><name>x</name></category></categories><offers>{offers}</offers></shop>"
    rows, report = import_rows(tmp_path, text, name="feed.xml")
    assert report["found"]["items"] == "offer"
    assert [(row["id"], row["title"]) for row in rows] == [(str(n), f"lamp {n}") for n in range(3)]
    (tmp_path / "mine.yaml").write_text("extends: xml\nitems: category\ncolumns: {id: name}\n")
    rows, _ = import_rows(tmp_path, text, "--as", str(tmp_path / "mine.yaml"), name="feed.xml")
    assert column(rows, "id") == ["x"]


def test_text_around_elements_is_not_lost(tmp_path: Path) -> None:
    """Markup inside of a value, and a comment in it."""
    more = "<description>warm <b>and</b> soft</description><g:brand>Cal<!-- of us -->la</g:brand>"
    rows, _ = import_rows(tmp_path, _rss(ITEM.format(1, more)), "--as", "google", name="feed.xml")
    assert (rows[0]["description"], rows[0]["brand"]) == ("warm and soft", "Calla")


def test_items_without_ids_of_their_own_say_what_to_do(tmp_path: Path) -> None:
    """Elements inside of elements that repeat as well: a map names them."""
    inner = "<product sku='{0}'><name>lamp {0}</name></product>"
    text = "".join(f"<category name='{n}'>{inner.format(n)}{inner.format(n + 2)}</category>" for n in (1, 2))
    done = import_text(tmp_path, f"<shop>{text}</shop>", name="feed.xml")
    assert done.exit_code == 2
    assert told(done.stderr)[2].startswith("say in a map where the items are")
    own = tmp_path / "own.yaml"
    own.write_text("extends: xml\nitems: product\n")
    rows, _ = import_rows(tmp_path, f"<shop>{text}</shop>", "--as", own, name="feed.xml")
    assert sorted(row["id"] for row in rows) == ["1", "2", "3", "4"]


def test_a_prefix_that_nobody_declares_is_read(tmp_path: Path) -> None:
    """As some shops write: the elements are what they are called."""
    rows, _ = import_rows(tmp_path, _rss(ITEM.format(1, ""), space=""), "--as", "google", name="feed.xml")
    assert rows[0]["id"] == "1"


def test_entities_of_a_dtd_that_nobody_fetches_are_not_lost(tmp_path: Path) -> None:
    """`&nbsp;` and the text behind it, where a DTD elsewhere may declare it."""
    text = _rss(
        ITEM.format(1, "<g:brand>A&amp;B&nbsp;C <b>d&eacute;e</b></g:brand>"), more='<!DOCTYPE rss SYSTEM "x.dtd">'
    )
    rows, _ = import_rows(tmp_path, text, "--as", "google", name="feed.xml")
    assert rows[0]["brand"] == "A&B C dée"


def test_paths_into_what_nests_need_no_prefix(tmp_path: Path) -> None:
    """`shipping.price` is what is inside of `g:shipping`, several of them or one."""
    ship = "<g:shipping><g:country>{}</g:country><g:price>{} EUR</g:price></g:shipping>"
    own = tmp_path / "own.yaml"
    own.write_text(
        "extends: google\ncolumns:\n  shipping: {from: shipping.price, type: price}\n"
        "  ships_to: {from: shipping.country, type: list}\n"
    )
    text = _rss(ITEM.format(1, ship.format("AT", 5) + ship.format("DE", 4)), ITEM.format(2, ship.format("AT", 3)))
    rows, _ = import_rows(tmp_path, text, "--as", own, name="feed.xml")
    assert column(rows, "ships_to") == [["AT", "DE"], ["AT"]]
    assert [(int(row["shipping"]), row["shipping_currency"]) for row in rows] == [(5, "EUR"), (3, "EUR")]


def test_items_may_be_attributes_alone(tmp_path: Path) -> None:
    """Elements without any inside."""
    text = '<shop><row id="1" name="lamp" price="2.50"/><row id="2" name="vase" price="3"/></shop>'
    rows, _ = import_rows(tmp_path, text, name="feed.xml")
    assert [(row["id"], row["title"], str(row["price"])) for row in rows] == [
        ("1", "lamp", "2.5000"),
        ("2", "vase", "3.0000"),
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "iso-8859-1"])
def test_encodings_are_what_the_document_says(encoding: str, tmp_path: Path) -> None:
    """By its mark or its declaration."""
    text = _rss(ITEM.format(1, "<g:brand>Käthe</g:brand>"))
    text = text.replace('version="1.0"', f'version="1.0" encoding="{encoding.removesuffix("-sig")}"', 1)
    rows, _ = import_rows(tmp_path, text.encode(encoding), "--as", "google", name="feed.xml")
    assert rows[0]["brand"] == "Käthe"


LAUGHS = "<!DOCTYPE r [<!ENTITY a 'ha'>" + "".join(f"<!ENTITY a{n} '{'&a;' * 10}'>" for n in range(9)) + "]>"
BAD = {
    "truncated": (_rss(ITEM.format(1, ""), ITEM.format(2, ""))[:-60], "well-formed XML", "item 2"),
    "an ampersand": (_rss(ITEM.format(1, ""), ITEM.format(2, "<g:brand>A & B</g:brand>")), "well-formed XML", "line 3"),
    "an entity of HTML": (_rss(ITEM.format(1, "<g:brand>A&nbsp;B</g:brand>")), "well-formed XML", "Entity 'nbsp'"),
    "laughs": (_rss(ITEM.format(1, "<g:brand>&a8;</g:brand>"), more=LAUGHS), "a feed without declarations", "DOCTYPE"),
    "no items": (_rss(), "XML with a list of items", "without any <item>"),
    "deep": (_rss(ITEM.format(1, "<g:x>" * 300 + "</g:x>" * 300)), "well-formed XML", "item 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_to_the_end_is_refused(case: str, tmp_path: Path) -> None:
    """With the item and the line; nothing is written."""
    text, expected, came = BAD[case]
    done = import_text(tmp_path, text, "--as", "google", name="feed.xml")
    assert done.exit_code == 2
    assert expected in told(done.stderr)[0]
    assert came in told(done.stderr)[1]
    assert not (tmp_path / "shop" / "products.parquet").exists()


def test_nothing_outside_of_the_document_is_opened(tmp_path: Path) -> None:
    """An external DTD on the net, and an entity of a file, are not asked for."""
    asked = list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        dtd = f'<!DOCTYPE rss SYSTEM "http://127.0.0.1:{server.server_port}/feed.dtd">'
        rows, _ = import_rows(tmp_path, _rss(ITEM.format(1, ""), more=dtd), "--as", "google", name="feed.xml")
        assert column(rows, "id") == ["1"]
        (tmp_path / "secret").write_text("secret")
        inner = f'<!DOCTYPE rss [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>'
        text = _rss(ITEM.format(1, "<g:brand>&x;</g:brand>"), more=inner)
        assert import_text(tmp_path, text, "--as", "google", name="feed.xml").exit_code == 2
    finally:
        server.shutdown()
        server.server_close()
    assert not asked


def test_a_page_is_no_feed(tmp_path: Path) -> None:
    """XHTML too."""
    page = (
        '<?xml version="1.0"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><body><p>503</p></body></html>'
    )
    done = import_text(tmp_path, page, name="feed.xml")
    assert done.exit_code == 2
    assert "HTML page" in done.stderr


def test_places_are_those_of_the_file(tmp_path: Path) -> None:
    """An item without an id is counted, with its number and its line."""
    text = _rss(ITEM.format(1, ""), "<item><title>nameless</title></item>", ITEM.format(3, ""))
    done = vitrine("import", _write(tmp_path / "feed.xml", text), "--to", tmp_path / "shop", "--as", "google", "--json")
    assert '"missing_id": 1' in done.stdout
    assert '"row": 2' in done.stdout
    assert '"line": 3' in done.stdout


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
