"""The config that an import writes, by what the feed has."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pipeline.config.load import Config, load_config
from tests.support.feeds import import_rows


def written(folder: Path, text: str, *more: object) -> tuple[Config, str]:
    """(the config, its text) of an import of a feed."""
    import_rows(folder, text, *more)
    path = folder / "shop" / "_vitrine.yaml"
    return load_config(str(path), env={}).config, path.read_text()


@pytest.mark.parametrize(
    ("between", "separator"), [(" > ", ">"), (" / ", " / "), ("/", "/"), (" » ", "»"), ("|", "|"), (" ", ">")]
)
def test_the_separator_of_categories_is_found(between: str, separator: str, tmp_path: Path) -> None:
    """What most categories have between their levels; where there is none, the default stays."""
    rows = "".join(f"{n},a{n},Home{between}Lamps {n}\n" for n in range(20))
    config, _ = written(tmp_path, f"id,title,product_type\n{rows}")
    assert config.catalog.partition == "product_type"
    assert config.catalog.partition_separator == (separator,)


def test_a_feed_without_currencies_says_where_to_name_one(tmp_path: Path) -> None:
    """The line is in the config for prices that have none, all or some, and only for these."""
    some = written(tmp_path, "id,title,price\n1,a,5.50\n2,b,6.50 USD\n3,c,\n")[1]
    assert "  # currency: EUR  # the feed names none for 1 of 2 of price, and `price < 20 EUR`" in some
    assert "  # currency: EUR  # the feed names none for price," in written(tmp_path, "id,title,price\n1,a,5.50\n")[1]
    assert "# currency" not in written(tmp_path, "id,title,price\n1,a,5.50 USD\n")[1]


def test_a_hit_shows_a_currency_once(tmp_path: Path) -> None:
    """What is searched first among the attributes has prices, in which their currencies are shown."""
    config, _ = written(tmp_path, "sku;Bezeichnung;Preis;Größe;Warengruppe\n1;Rote Äpfel;2,99 €;L;Obst\n")
    assert config.catalog.attributes == ("title", "price", "product_type", "size", "price_currency")
    assert config.catalog.partition == "product_type"


def test_too_many_categories_split_nothing(tmp_path: Path) -> None:
    """A run would refuse them: the config says how many there are."""
    rows = "".join(f"{n},a{n},Kind {n}\n" for n in range(300))
    config, text = written(tmp_path, f"id,title,product_type\n{rows}")
    assert config.catalog.partition is None
    assert "300 first levels" in text


def test_a_category_that_is_a_description_splits_nothing(tmp_path: Path) -> None:
    """Of a column that is no category's a run would be refused; levels behind the first may be long."""
    for category, split in ((f"{'a' * 999} > b", True), (f"a > {'b' * 2_000}", True), ("a" * 1_001, False)):
        import_rows(tmp_path, f"id,title,category\n1,a,{category}\n2,b,Lamps > Oak\n")
        catalog = load_config(str(tmp_path / "shop" / "_vitrine.yaml"), env={}).config.catalog
        assert (catalog.partition is not None) is split


def test_photos_beside_the_feed_are_taken(tmp_path: Path) -> None:
    """Paths whose files are there are photos of the run, relative to the feed's folder."""
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "1.png")
    text = "id,title,image\n1,a,photos/1.png\n"
    config, _ = written(tmp_path, text)
    assert (config.catalog.image, config.catalog.image_root) == ("image_link", str(tmp_path))
    assert config.encoders.image is not None
    (tmp_path / "photos" / "1.png").unlink()
    config, said = written(tmp_path, text)
    assert (config.catalog.image, config.encoders.image) == (None, None)
    assert "no file is beside the feed" in said


def test_photos_that_are_no_names_end_nothing(tmp_path: Path) -> None:
    """As photos inside of the feed, which are longer than a name may be."""
    rows, _ = import_rows(tmp_path, f"id\ttitle\timage\n1\ta\tdata:image/png;base64,{'A' * 5_000}\n")
    assert len(rows) == 1
    assert "no file is beside the feed" in (tmp_path / "shop" / "_vitrine.yaml").read_text()


def test_photos_on_other_hosts_are_left_out_and_how_to_allow_them_is_said(tmp_path: Path) -> None:
    """Nothing is asked of a host that only the feed names."""
    links = ["https://user@CDN.shop.example/1.png", "http://b.example/x", "https://c.example:8443/1", "https://-odd-/1"]
    feed = "id,title,image\n" + "".join(f"{n},a,{link}\n" for n, link in enumerate(links))
    config, text = written(tmp_path, feed)
    assert config.catalog.image is None
    assert '  # photo_hosts: ["c.example:8443", "cdn.shop.example"]' in text
    assert 'nobody knows who answers: "http://b.example"' in text
    config, text = written(tmp_path, feed, "--photos")
    assert (config.catalog.image, config.encoders.image is not None) == ("image_link", True)
    assert config.catalog.photo_hosts == ("c.example:8443", "cdn.shop.example")
    assert "a name that a host has: 1\n" in text


def test_photos_of_both_kinds_are_all_found(tmp_path: Path) -> None:
    """Of a feed with paths and URLs the config names the folder of the paths beside the hosts."""
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    config, _ = written(tmp_path, "id,title,image\n1,a,1.png\n2,b,https://a.example/2.png\n", "--photos")
    assert (config.catalog.image_root, config.catalog.photo_hosts) == (str(tmp_path), ("a.example",))


def test_odd_names_make_a_config_that_loads(tmp_path: Path) -> None:
    """Columns with quotes, colons, hashes and other scripts, and no title at all."""
    text = 'id,brand,"we""ird: #1",weiß,色,- x,{a}\n1,b,1,2,3,4,5\n'
    config, _ = written(tmp_path, text)
    assert config.catalog.text == ("brand",)
    assert config.catalog.attributes == ("brand",)
