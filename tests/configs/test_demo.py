"""`configs/demo.yaml`: what the demo promises, through the command."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from tests.support.command import vitrine

PRODUCTS = 400
ASKED = {  # query -> what the titles say of the products that it asks for
    "red dress": ("red", "dress"),
    "红色连衣裙": ("red", "dress"),
    "black backpack": ("black", "backpack"),
    "黑色双肩包": ("black", "backpack"),
}


@pytest.fixture(scope="module")
def photos_alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The store of the demo's config over a demo catalog whose titles were taken away, and id -> the lost title."""
    folder = tmp_path_factory.mktemp("photos-alone")
    write_demo_catalog(folder / "demo", DemoOptions(products=PRODUCTS))
    [file] = (folder / "demo/catalog").iterdir()
    table = pq.read_table(file)
    titles = dict(zip(table["id"].to_pylist(), table["title"].to_pylist(), strict=True))
    none = pa.nulls(len(table), pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("title"), "title", none), file)
    where = (f"catalog.path={folder / 'demo/catalog'}", f"catalog.image_root={folder / 'demo'}")
    done = vitrine("run", "-c", "configs/demo.yaml", *where, f"store.path={folder / 'store'}", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["rows_embedded"] == PRODUCTS
    return folder / "store", titles


@pytest.mark.parametrize("text", ASKED)
def test_photos_without_a_title_are_found_by_text(photos_alone: tuple[Path, dict[str, str]], text: str) -> None:
    """Products of which the index has a photo and no text are found by their names in English and in Chinese: all that
    fit are among the first five hits.
    """
    store, titles = photos_alone
    done = vitrine("search", store, "--text", text, "-k", 5, "--json")
    assert done.exit_code == 0, done.stderr
    fitting = {name for name, title in titles.items() if all(word in title.lower() for word in ASKED[text])}
    assert fitting
    assert fitting <= {hit["id"] for hit in json.loads(done.stdout)["hits"]}
