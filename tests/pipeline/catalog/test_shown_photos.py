"""Photos on pages, through the commands that write these, wherever photos lie; or why they are not shown."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.schema import Schema
from pyiceberg.types import BinaryType, NestedField, StringType

from pipeline.photos import archives
from tests.support.archives import tarred, zipped
from tests.support.command import ANY_NIGHT, told, vitrine
from tests.support.iceberg_tables import new_table
from tests.support.photo_nights import night, photo
from tests.support.photo_runs import OPEN, PHOTOS
from tests.support.photo_server import answered, photo_server, tagged
from tests.support.shop import Shop
from tests.support.stores import last_log

SHOWN = "data:image/jpeg;base64,"
IN_COLUMN = "catalog.image_root=null"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop of 12 products, each with a photo, and a golden query."""
    made = Shop(tmp_path, monkeypatch, rows=12, kinds=("Clothing",))
    (tmp_path / "golden.yaml").write_text("- {text: red dress number 7, expect: [P7]}\n")
    return made


def of_shop(shop: Shop) -> list[bytes]:
    return [(shop.photos / name).read_bytes() for name in shop.values("image_link")]


def searched(store: Path, *asked: object) -> str:
    """The page of three hits."""
    page = store.parent / "hits.html"
    done = vitrine("search", store, *(asked or ["red dress"]), "-k", 3, "--html", page)
    assert done.exit_code == 0, done.stderr
    return page.read_text()


def placed(shop: Shop, kind: str) -> tuple[str, ...]:
    """The shop's photos in another kind of place, and what the config says of it."""
    names, each = shop.values("image_link"), of_shop(shop)
    if kind == "tar":
        shop.change("image_link", [f"shard.tar/{name}" for name in names])
        return (f"catalog.image_root={tarred(shop.folder / 'shard.tar', zip(names, each, strict=True))}",)
    if kind == "zip":
        return (f"catalog.image_root={zipped(shop.folder / 'photos.zip', zip(names, each, strict=True))}",)
    if kind == "bucket":
        root = f"{shop.folder}/bucket"
        fsspec.filesystem("memory").pipe({f"{root}/{name}": raw for name, raw in zip(names, each, strict=True)})
        return (f"catalog.image_root=memory:/{root}",)
    shop.change("image_link", [base64.b64encode(raw).decode() for raw in each])
    return (IN_COLUMN, "catalog.image_type=base64")


@pytest.mark.parametrize("kind", ["tar", "zip", "bucket", "base64"])
def test_hits_and_golden_queries_are_shown_wherever_photos_lie(shop: Shop, kind: str) -> None:
    """The page of hits and the report of the run have the photos of what was found."""
    shop.night(*placed(shop, kind), f"golden.path={shop.folder / 'golden.yaml'}")
    assert searched(shop.folder / "store").count(SHOWN) == 3
    report = last_log(shop.folder / "store", "report.html")
    assert report[report.index("Golden queries</h2>") :].count(SHOWN) == 4
    assert "not shown" not in report


def test_a_comparison_shows_members_of_archives(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of `vitrine compare` has the photos of what was asked and of what both sides found; a page without the
    archive says that.
    """
    where = placed(shop, "tar")
    shop.night(*where)
    shop.change("title", ["blue shoe" if n == 7 else title for n, title in enumerate(shop.values("title"))])
    shop.night(*where)
    judged = []
    shutil.copy(shop.folder / "shard.tar", shop.folder / "asked.tar")
    query = {"text": ["red dress number 7"], "image": ["asked.tar/7.png"]}
    for name, column in (("queries", query), ("qrels", {"id": ["P7"], "gain": [1]})):
        pq.write_table(pa.table({"query_id": ["q"], **column}), shop.folder / f"{name}.parquet")
        judged += [f"--{name}", str(shop.folder / f"{name}.parquet")]
    page = shop.folder / "compared.html"
    assert vitrine("compare", shop.folder / "store", *judged, "--html", page).exit_code == 0
    assert page.read_text().count(SHOWN) >= 8
    (shop.folder / "shard.tar").unlink()
    monkeypatch.setattr(archives, "_INDEXES", {})  # another process would have none
    assert vitrine("compare", shop.folder / "store", *judged, "--html", page).exit_code == 0
    assert f"catalog.image_root={shop.folder}/shard.tar, which is not there." in page.read_text()


def test_photos_by_url_are_shown_from_the_cache_alone(tmp_path: Path) -> None:
    """What a run fetched is shown, and no host is asked; what its host did not give, and what the cache has no more,
    says so.
    """
    with photo_server(tmp_path) as host:
        for colour in ("red", "green"):
            host.answers[f"/{colour}.jpg"] = tagged(photo(colour), f'"{colour}"')
        host.answers["/gone.jpg"] = answered(b"", "404 Not Found")
        night(tmp_path, host, "/red.jpg", "/gone.jpg", more=("catalog.attributes=[title]",))
        host.asked.clear()
        page = searched(tmp_path / "store", "dress")
        assert page.count(SHOWN) == 2
        assert "1 photo is not shown: not had when asked last, the host answers HTTP 404" in page
        asked = tmp_path / "queries.parquet"
        pq.write_table(pa.table({"image": [host.url("/red.jpg")]}), asked)
        assert searched(tmp_path / "store", "--queries", asked).count(SHOWN) == 3
        shutil.rmtree(tmp_path / "cache")
        page = searched(tmp_path / "store", "dress")
        assert page.count(SHOWN) == 1
        assert "2 photos are not shown: not in the cache of photos, where `vitrine photos fetch` puts it" in page
        refused = vitrine("search", tmp_path / "store", "--queries", asked)
        assert refused.exit_code == 2
        assert "red.jpg: not in the cache of photos" in told(refused.stderr)[1]
        assert not (tmp_path / "cache").exists()
        assert not host.asked


def test_hosts_that_are_not_allowed(shop: Shop) -> None:
    """Such photos were never fetched, and the page names the setting."""
    shop.change("image_link", [f"https://cdn.example.com/{n}.png" for n in range(12)])
    shop.night(*OPEN)
    page = searched(shop.folder / "store")
    assert "3 photos are not shown: a URL, and catalog.photo_hosts allows no host" in page


def test_photos_in_a_table_whose_columns_were_renamed(tmp_path: Path) -> None:
    """Bytes in a Delta table with column mapping are found by the names that its files have."""
    table, store = tmp_path / "t", tmp_path / "store"
    names = [f"P{n}" for n in range(3)]
    columns = {"id": names, "title": [f"red dress {name}" for name in names], "image_link": [photo("red")] * 3}
    write_deltalake(table, pa.table(columns), configuration={"delta.columnMapping.mode": "name"})
    schema = json.loads(DeltaTable(table).schema().to_json())["fields"]
    assert {one["name"]: one["metadata"]["delta.columnMapping.physicalName"] for one in schema}["id"] != "id"
    where = (f"catalog.path={table}", "catalog.table=delta", IN_COLUMN, f"store.path={store}")
    done = vitrine("run", "-c", "configs/weightless.yaml", *where, *PHOTOS, *OPEN, *ANY_NIGHT)
    assert done.exit_code == 0, done.stderr
    assert searched(store).count(SHOWN) == 3


def test_photos_in_a_table_whose_columns_have_ids(tmp_path: Path) -> None:
    """Bytes in an Iceberg table are found in files of before a column was renamed, and of after."""
    fields = enumerate((StringType(), StringType(), BinaryType()), 1)
    names = ("id", "title", "image_link")
    schema = Schema(*(NestedField(at, name, kind) for name, (at, kind) in zip(names, fields, strict=True)))
    table, store = new_table(tmp_path / "w", schema), tmp_path / "store"
    for name in ("image_link", "picture"):
        if name != "image_link":
            with table.update_schema() as update:
                update.rename_column("image_link", name)
        table.append(pa.table({"id": [name], "title": [f"red dress {name}"], name: [photo("red")]}))
    where = (f"catalog.path={tmp_path}/w/db/products", "catalog.table=iceberg", IN_COLUMN, f"store.path={store}")
    renamed = "catalog.columns.image_link=picture"
    done = vitrine("run", "-c", "configs/weightless.yaml", *where, *PHOTOS, renamed, *OPEN, *ANY_NIGHT)
    assert done.exit_code == 0, done.stderr
    assert searched(store).count(SHOWN) == 2


def test_what_is_not_there_any_more_is_told(shop: Shop) -> None:
    """A photo that is gone, a catalog that was written anew, and one that is gone: each page says which it is."""
    shop.night()
    for path in shop.photos.iterdir():
        path.unlink()
    assert "3 photos are not shown: no such file<" in searched(shop.folder / "store")
    shop.table = shop.table.set_column(2, "image_link", pa.array([photo("red")] * 12))
    shop.night(IN_COLUMN)
    shop.change("id", [f"P{(n + 1) % 12}" for n in range(12)])
    shop.words()  # which writes it
    assert "3 photos are not shown: the catalog was written anew since" in searched(shop.folder / "store")
    shop.table = shop.table.slice(0, 1)
    shop.words()
    assert "photos are not shown: the catalog was written anew since" in searched(shop.folder / "store")
    (shop.folder / "c.parquet").unlink()
    assert f"3 photos are not shown: {shop.folder}/c.parquet: " in searched(shop.folder / "store")
