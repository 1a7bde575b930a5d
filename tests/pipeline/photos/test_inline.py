"""Photos that the catalog holds as text, in base64: declared, never guessed."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.command import vitrine
from tests.support.shop import Shop
from tests.support.stores import manifest_of

DECLARED = ("catalog.image_type=base64", "catalog.image_root=null")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop of 12 products, each with a photo."""
    return Shop(tmp_path, monkeypatch, rows=12)


def texts(shop: Shop) -> list[str]:
    return [base64.b64encode((shop.photos / name).read_bytes()).decode() for name in shop.values("image_link")]


def shards(shop: Shop) -> list[dict[str, Any]]:
    """The rows of the snapshot."""
    files = [shard.file for shard in manifest_of(shop.folder / "store").shards.entries if shard.file]
    return [row for file in files for row in pq.read_table(shop.folder / "store" / file.path).to_pylist()]


def test_photos_in_base64_as_feeds_write_them(shop: Shop) -> None:
    """Alone, in lines, as `data:` URIs: each is the photo that it would be as bytes, and is copied from such a night;
    the page shows it.
    """
    raw = [(shop.photos / name).read_bytes() for name in shop.values("image_link")]
    table, each = shop.table, texts(shop)
    shop.table = table.set_column(2, "image_link", pa.array(raw))
    shop.night()
    assert shop.images == 12
    each[1] = "\n".join(each[1][at : at + 76] for at in range(0, len(each[1]), 76)) + "\n"
    each[2] = f"data:image/png;base64,{each[2]}"
    each[3] = f"DATA:;charset=x;BASE64,{each[3]}"
    each[4] = f"data:image/png;base64,{quote(each[4], safe='')}"
    shop.table = table.set_column(2, "image_link", pa.array(each))
    assert shop.night(*DECLARED)["degraded"] == {}
    assert shop.images == 0
    page = shop.folder / "hits.html"
    assert vitrine("search", shop.folder / "store", "red dress", "-k", 3, "--html", page).exit_code == 0
    assert page.read_text().count("data:image/jpeg") == 3


def test_further_photos_in_base64(shop: Shop) -> None:
    """A list of texts is of as many photos, a text is one, commas and all; bytes without the mark of text are texts."""
    each = texts(shop)
    shop.change("image_link", [f"data:image/png;base64,{text}" for text in each])
    for more in (pa.array([[text, each[0]] for text in each]), pa.array([text.encode() for text in each])):
        shop.table = shop.table.select([*range(5)]).append_column("more", more)
        report = shop.night(*DECLARED, "catalog.more_images=more", store=f"store-{more.type}"[:10])
        assert report["degraded"] == {}
        assert report["photos"] == 12 * (3 if pa.types.is_list(more.type) else 2)


def test_what_cannot_be_decoded_says_why(shop: Shop) -> None:
    """Cut, foreign and empty texts are `image_undecodable`, each with its detail; a hit has no path of theirs."""
    each = texts(shop)
    each[0], each[1] = each[0][:41], "not*base64"
    each[2], each[3] = "data:image/png,%89PNG", base64.b64encode(b"no photo").decode()
    shop.change("image_link", each)
    report = shop.night(*DECLARED, "gates.max_degraded_share=1")
    assert report["degraded"] == {"image_undecodable": 4}
    details = [row["detail"] for row in shards(shop) if row["detail"]]
    told = ["a data: URI without", "cannot be 1 more than a multiple of 4", "only base64 data", "not a photo"]
    assert [next(detail for detail in details if one in detail) for one in told] == sorted(details)


def test_undeclared_base64_is_told_by_the_plan(shop: Shop) -> None:
    """Nothing is guessed: the plan names the setting, for `data:` URIs too; declared where there is none, likewise."""
    words = ("catalog.text=[]", "encoders.text=null")
    each = texts(shop)
    for values in (each, [f"data:image/png;base64,{text}" for text in each]):
        shop.change("image_link", values)
        done = vitrine("plan", *shop.words(*words)[1:])
        assert done.exit_code == 2
        assert "declare them: catalog.image_type=base64" in done.stderr
        assert len(done.stderr) < 2000
    shop.change("image_link", ["a photo.png" for _ in each])
    done = vitrine("plan", *shop.words(*words, *DECLARED)[1:])
    assert done.exit_code == 2
    assert "catalog.image_type=null" in done.stderr


def test_no_path_of_theirs_is_kept(shop: Shop) -> None:
    """The text of a photo is in no shard."""
    shop.change("image_link", [text[:-1] for text in texts(shop)])
    shop.night(*DECLARED, "gates.max_degraded_share=1", "gates.max_photos_lost_share=1")
    assert {row["photo"] for row in shards(shop)} == {None}
