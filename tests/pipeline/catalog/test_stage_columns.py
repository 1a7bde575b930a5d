"""The columns of a unit: what functions of rows say that they need, add and drop is what they do; so are the stages."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoders.fusion.concat import Spec as Concat
from index_builders.rows.shards import shard_schema
from pipeline.catalog.stage_columns import (
    ENCODED,
    FILLED,
    FINGERPRINTED,
    FUSED,
    READ,
    ROW_FUNCTIONS,
    Shape,
    stage_schema,
)
from pipeline.config.load import load_config
from pipeline.embed.fingerprinted_units import read_fingerprinted
from pipeline.plan.unit_rows import duplicates_of, rows_of
from pipeline.plan.units import make_plan
from tests.support.odd_towers import DIM, LIMITS, RED, Colours, Lengths

PIPELINE = Path(__file__).parents[3] / "pipeline"
for path in sorted(PIPELINE.glob("*/*.py")):
    importlib.import_module(".".join(path.relative_to(PIPELINE.parent).with_suffix("").parts))
READING = ("column", "select", "drop_columns", "set_column", "append_column", "sort_by")
BESIDE = "of somebody else"


class Nothing:
    """Earlier shards that have no vectors."""

    def find(self, column: str, fingerprints: pa.Array) -> None:
        """Nowhere."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What functions of rows are given beside a table, by the names of their parameters; and the table as it is
    `read`.
    """
    folder = tmp_path_factory.mktemp("columns")
    photos = pa.array([{"bytes": RED, "path": None}, {"bytes": None, "path": "gone.png"}, None])
    table = pa.table(
        {"id": ["a", "b", None], "title": ["red", "teal", "x"], "image_link": photos, "version": ["1", "2", None]}
    )
    pq.write_table(table, folder / "c.parquet")
    config = load_config(
        None,
        [
            f"catalog.path={folder / 'c.parquet'}",
            f"store.path={folder / 'store'}",
            "catalog.text=[title]",
            "catalog.image_identity=version",
            "catalog.version_column=version",
            "lexical={}",
        ],
        {},
    ).config
    embedding = config.settings.embedding
    unit = make_plan(embedding, config.gates).units[0]
    read = rows_of(unit, embedding.catalog, config.shards, duplicates_of(unit))
    fingerprinted = read_fingerprinted(unit, embedding, str(folder))
    pool = ThreadPoolExecutor(1)
    known: dict[str, Any] = {
        "embedding": embedding, "settings": config.catalog, "root": str(folder), "limits": LIMITS, "pool": pool,
        "text_dim": DIM, "image_dim": DIM, "fusion": Concat(type="concat").load(DIM, DIM), "with_states": False,
        "states": None, "earlier": Nothing(), "read": read, "fingerprinted": fingerprinted,
    }  # fmt: skip
    return known


def called(function: Callable[..., Any], table: pa.Table, given: dict[str, Any]) -> pa.Table:
    """What a function of rows makes of a table."""
    names = list(inspect.signature(function).parameters)[1:]
    encoder = {"encode_texts": Lengths(), "encode_photos": Colours()}.get(function.__name__)
    found = function(table, *((given | {"encoder": encoder})[name] for name in names))
    return getattr(found, "table", found)


def stages(given: dict[str, Any]) -> dict[tuple[str, ...], pa.Table]:
    """A unit at each stage, made by the functions of rows alone."""
    by_name = {function.__name__: function for function in ROW_FUNCTIONS}
    found, table = {READ: given["read"]}, given["read"]
    for stage, names in (
        (FINGERPRINTED, ["fingerprint_rows"]),
        (FILLED, ["add_photo_states", "stamp_photos", "fill_vectors"]),
        (ENCODED, ["encode_texts", "encode_photos"]),
        (FUSED, ["fuse"]),
    ):
        for name in names:
            table = called(by_name.pop(name), table, given)
        found[stage] = table
    assert not by_name, "functions of rows that no stage is made of: put them where they belong"
    return found


@pytest.mark.parametrize("function", ROW_FUNCTIONS, ids=lambda function: function.__name__)
def test_a_function_does_what_it_says(function: Callable[..., Any], given: dict[str, Any]) -> None:
    """It works on the columns that it needs and no others, fails without any of them, adds and drops what it says, and
    leaves everything else as it was.
    """
    columns = ROW_FUNCTIONS[function]
    rows = next(table for table in stages(given).values() if set(columns.needs) <= set(table.column_names))
    table = rows.select([*columns.needs]).append_column(BESIDE, rows.column("id"))
    found = called(function, table, given)
    assert set(found.column_names) == {BESIDE, *columns.needs, *columns.adds} - {*columns.drops}
    assert found.column(BESIDE).equals(table.column(BESIDE))
    for name in {*columns.needs} - {*columns.adds, *columns.drops}:
        assert found.column(name).equals(table.column(name))
    for name in columns.needs:
        with pytest.raises(KeyError, match=name):
            called(function, table.drop_columns([name]), given)


def test_stages_are_as_they_are_declared(given: dict[str, Any]) -> None:
    """From the catalog to the shard each stage has the declared columns of the declared types, with rejects."""
    attributes, texts = (given["read"].schema.field(name).type for name in ("attributes", "texts"))
    assert [field.name for field in texts] == ["title"]
    shape = Shape(attributes, DIM, DIM, 2 * DIM, texts)
    for stage, table in stages(given).items():
        want = stage_schema(stage, shape)
        assert {field.name: field.type for field in table.schema} == {field.name: field.type for field in want}
        assert table.num_rows == 3
    assert given["fingerprinted"].schema.equals(stages(given)[FINGERPRINTED].schema)
    shard = shard_schema(2 * DIM, DIM, DIM, pa.schema(list(attributes)), {}, ["title"])
    assert {*shard.names} <= {*FUSED}


def test_a_tower_that_is_absent_has_nothing_but_nulls(given: dict[str, Any]) -> None:
    """Without a photo tower its columns are there all the same, so that no function asks whether they are."""
    without = given | {"image_dim": None, "fusion": Concat(type="concat").load(DIM, None)}
    by_name = {function.__name__: function for function in ROW_FUNCTIONS}
    table = called(by_name["fill_vectors"], stages(given)[FILLED], without)
    table = by_name["encode_texts"](table, Lengths()).table
    table = by_name["encode_photos"](table, None, without["root"], LIMITS, without["pool"]).table
    table = called(by_name["fuse"], table, without)
    types = [table.schema.field(name).type for name in ("attributes", "texts")]
    want = stage_schema(FUSED, Shape(*types[:1], DIM, None, DIM, types[1]))
    assert {field.name: field.type for field in table.schema} == {field.name: field.type for field in want}
    assert table.column("image_vector").null_count == table.column("image_fault").null_count == 3


def test_columns_are_named_in_one_file() -> None:
    """No other module asks a table for a column by a string of its own: a name is written once."""
    spelled = []
    for room in ("catalog", "embed", "plan", "train", "preflight", "build"):
        for path in sorted((PIPELINE / room).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READING:
                    lists = [one.elts if isinstance(one, ast.List | ast.Tuple) else [one] for one in node.args]
                    words = {one.value for each in lists for one in each if isinstance(one, ast.Constant)}
                    spelled += [f"{path.name}:{node.lineno}: {word}" for word in words & {*READ, *FUSED}]
    assert not spelled
