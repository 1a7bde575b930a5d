"""Nights on which texts stand beside other products' photos, through the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.support.command import ANY_NIGHT, told, vitrine
from tests.support.stores import in_another_second, last_log, manifest_of

LESS = ("index.text_queries=false", "index.photo_queries=false", *ANY_NIGHT)  # not what is looked at here
TEXTS = ("title", "title_zh", "description", "description_zh")


def night(folder: Path, table: pa.Table, photos: Path, *more: str) -> tuple[int, str]:
    """Exit code and stderr of a run of `table`."""
    pq.write_table(table, folder / "c.parquet", row_group_size=30)
    where = (f"catalog.path={folder / 'c.parquet'}", f"catalog.image_root={photos}", f"store.path={folder / 'store'}")
    done = vitrine("run", "-c", "configs/weightless.yaml", *where, "shards.unit_rows=30", *LESS, *more)
    return done.exit_code, done.stderr


def gates(folder: Path) -> list[dict[str, Any]]:
    """What the gate said of the last run."""
    found = json.loads(last_log(folder / "store", "run.json"))["gates"]
    return [one for one in found if one["name"] == "agreement"]


def shuffled(table: pa.Table, share: float) -> pa.Table:
    """The texts of a share of the products, each with another's."""
    at = np.random.default_rng(5).permutation(len(table))[: int(share * len(table))]
    order = np.arange(len(table))
    order[at] = np.roll(at, 1)
    for name in TEXTS:
        table = table.set_column(table.schema.get_field_index(name), name, table[name].take(pa.array(order)))
    return table


@pytest.fixture(scope="module")
def first(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of 120 products in one category's partition. Tests must not change it."""
    folder = tmp_path_factory.mktemp("first")
    code, said = night(folder, ds.dataset(demo / "catalog").to_table(), demo)
    assert code == 0, said
    return folder


def test_shuffled_texts_are_stopped_and_turnover_is_not(first: Path, demo: Path, tmp_path: Path) -> None:
    """Half of the texts at other products: refused, naming both figures; published where it is accepted, which the next
    night is then compared with. Twelve products gone and two texts changed: published.
    """
    folder = Path(shutil.copytree(first, tmp_path / "a"))
    table = ds.dataset(demo / "catalog").to_table()
    ordinary = pa.concat_tables([shuffled(table.slice(0, 2), 1), table.slice(2, 106)])
    assert night(folder, ordinary, demo)[0] == 0
    assert gates(folder)[0]["passed"]
    code, said = night(folder, shuffled(table, 0.5), demo)
    assert code == 3
    expected, came, _ = told(said)
    assert expected == "agreement <= 0.15"
    assert "in the parent; texts or photos may stand beside other products" in came
    in_another_second()
    code, said = night(folder, shuffled(table, 0.5), demo, "--accept", "agreement")
    assert code == 0, said
    kept = manifest_of(folder / "store")
    assert kept.agreement is not None
    assert kept.agreement.products == 120
    assert all(one.figures is not None for one in kept.partitions)


def test_without_towers_it_is_said(demo: Path, tmp_path: Path) -> None:
    """Shards that keep no tower vectors leave nothing to compare: the gate says so and stops nothing. Beside such ones
    a category that is run with them is measured alone.
    """
    table = ds.dataset(demo / "catalog").to_table().slice(0, 40)
    for rows in (40, 39):
        code, said = night(tmp_path, table.slice(0, rows), demo, "shards.towers=false")
        assert code == 0, said
    (gate,) = gates(tmp_path)
    assert gate["passed"]
    assert gate["advice"] == "not measured: shards.towers is false"
    code, said = night(tmp_path, table.slice(0, 39), demo, "--category", "Clothing")
    assert code == 0, said
    assert manifest_of(tmp_path / "store").agreement is None  # of fewer than 20 products
