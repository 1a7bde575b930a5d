"""The plan: units within their limits, every repeated id, every category, and what makes a run impossible."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import InputError
from pipeline.catalog import pieces
from pipeline.catalog import rows as catalog_rows
from pipeline.config.load import Config, load_config
from pipeline.plan import units as plan_module
from pipeline.plan.unit_sizes import Before, rows_of_unit
from pipeline.plan.units import Plan, make_plan
from tests.support.command import config_for
from tests.support.units import fused_units, write_catalog

PLAIN = (
    "catalog.text=[title]", "catalog.image=null", "encoders.image=null", "catalog.attributes=[title]",
    "encoders.text.dim=16", "catalog.image_root=null",
)  # fmt: skip


def planned(config: Config, category: str | None = None) -> Plan:
    """The plan of a run by `config`."""
    return make_plan(config.settings.embedding, config.gates, category)


def config(path: Path, *more: str) -> Config:
    """Titles only, from this path."""
    given = [f"catalog.path={path}", f"store.path={path}-store", *PLAIN, *more]
    return load_config("configs/weightless.yaml", given, {}).config


def rows(
    ids: Sequence[Any], categories: Sequence[str | None] | None = None, titles: Sequence[str] | None = None
) -> pa.Table:
    kind = pa.string() if not all(isinstance(one, int) for one in ids) or not ids else pa.int64()
    return pa.table(
        {
            "id": pa.array(ids, kind),
            "title": pa.array(titles or ["tea"] * len(ids), pa.string()),
            "product_type": pa.array(categories or [None] * len(ids), pa.string()),
        }
    )


def found_duplicates(plan: Plan) -> dict[str, list[int]]:
    """File name and first row group -> rows of the unit whose id came before."""
    packed = {
        f"{Path(u.path).name}/{u.first_group}": np.frombuffer(u.duplicates, np.int32).tolist() for u in plan.units
    }
    return {unit: found for unit, found in packed.items() if found}


# An id as it is written, and what it is: what nobody sees at its ends is no part of it, nor how an accent is composed.
MEANT: dict[str | None, str | None] = {
    "a": "a", " a": "a", "a\u200b": "a", "\ufeffa\u00a0": "a", "A": "A", "a b": "a b", "a  b": "a  b",
    "a&amp;": "a&amp;", "\u00e9": "\u00e9", "e\u0301": "\u00e9", "茶": "茶", "b": "b", "c": "c",
    "": None, " ": None, "\u3000": None, None: None,
}  # fmt: skip
IDS = st.lists(st.sampled_from([*MEANT]) | st.text("xyz", max_size=2), max_size=30)


@contextmanager
def pieces_of(rows: int) -> Iterator[None]:
    """Row groups are cut at so many rows, as if they were large."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pieces, catalog_rows, plan_module):
            patch.setattr(module, "PIECE_ROWS", rows)
        patch.setattr(pieces, "_BATCH_ROWS", 3)
        yield


@settings(max_examples=80, deadline=None)
@given(
    ids=IDS,
    cuts=st.lists(st.integers(0, 30), max_size=2),
    group=st.integers(1, 30),
    unit=st.integers(1, 12),
    piece=st.integers(1, 12),
)
def test_duplicates_are_those_of_a_plain_set(
    ids: list[str | None], cuts: list[int], group: int, unit: int, piece: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Across row groups, their pieces, units and files, the rows are found whose id a Python set has seen, in any
    spelling; blanks are none.
    """
    folder = tmp_path_factory.mktemp("catalog")
    edges = [0, *sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    want: list[str | None] = []
    seen: set[str] = set()
    for name in (MEANT.get(one, one) for one in ids):
        want.append("missing_id" if name is None else "duplicate_id" if name in seen else None)
        seen |= set() if name is None else {name}
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        write_catalog(folder / f"{number}.parquet", rows(ids[start:stop]), row_group_rows=group)
    chosen = config(folder, f"shards.unit_rows={unit}")
    if not seen:
        with pytest.raises(InputError, match="an id for each product" if ids else "at least one row"):
            planned(chosen)
        return
    with pieces_of(piece):
        plan = planned(chosen)
        assert plan.rows == len(ids)
        assert plan.duplicates == want.count("duplicate_id")
        assert max(unit.rows for unit in plan.units) <= piece
        assert [one for _, table in fused_units(chosen) for one in table.column("reject").to_pylist()] == want


TITLES = ["red tea", "green tea", "jam", "<b>bun</b>", "", "茶", "red tea"]
PRODUCTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None, *(f"p{n}" for n in range(20))]),
        st.sampled_from(TITLES),
        st.sampled_from(["x", "y > z", None]),
    ),
    min_size=1,
    max_size=25,
).filter(lambda products: any(name is not None for name, *_ in products))  # a catalog without any id is refused


@settings(max_examples=50, deadline=None)
@given(
    products=PRODUCTS,
    group=st.integers(1, 25),
    other=st.integers(1, 9),
    unit=st.integers(1, 30),
    piece=st.integers(1, 12),
)
def test_no_result_depends_on_units(
    products: list[Any], group: int, other: int, unit: int, piece: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the sizes of row groups, pieces and units: the same rows, reasons, partitions and vectors, to the last
    bit.
    """
    folder = tmp_path_factory.mktemp("catalog")
    ids, titles, categories = (list(column) for column in zip(*products, strict=True))

    def embedded(row_group_rows: int, unit_rows: int) -> Counter[Any]:
        write_catalog(folder / "one.parquet", rows(ids, categories, titles), row_group_rows)
        units = fused_units(config(folder / "one.parquet", f"shards.unit_rows={unit_rows}"))
        keys = ("id", "partition", "reject", "degraded", "embedding", "text_fingerprint", "attributes")
        return Counter(repr([row[key] for key in keys]) for _, table in units for row in table.to_pylist())

    with pieces_of(piece):
        found = embedded(group, unit)
    assert found == embedded(other, 1) == embedded(len(products), 1000)


@given(n=st.integers(1, 10**9), partitions=st.integers(1, 256))
def test_the_size_of_units_follows_the_catalog(n: int, partitions: int) -> None:
    """Units times partitions stay under 100,000, units are 64 at most, and a partition has 64 rows of a unit; a power
    of two, no larger than it has to be, so that a catalog that grows by a hundredth is mostly cut as before.
    """
    found = rows_of_unit(n, partitions)
    assert found & (found - 1) == 0
    assert found >= max(1024, 64 * partitions)
    assert n / found * partitions <= 100_000
    assert n / found <= 64
    assert found < 2 * max(1024, 64 * partitions, n * partitions / 100_000, n / 64)


def test_a_catalog_whose_size_goes_up_and_down_is_cut_once(tmp_path: Path) -> None:
    """It keeps the larger units, until half of them would do twice over; where they are too small they grow at once."""
    around = [rows_of_unit(n, 100, before) for n, before in ((520_000, 8192), (530_000, 8192), (520_000, 16384))]
    assert around == [8192, 16384, 16384]
    assert rows_of_unit(500_000, 100, 32768) == 8192
    write_catalog(tmp_path / "a.parquet", rows([f"a{n}" for n in range(3_000)], ["b"] * 3_000), row_group_rows=500)
    loaded = config(tmp_path / "a.parquet")
    sizes = {
        before: [u.rows for u in make_plan(loaded.settings.embedding, loaded.gates, before=Before((), before)).units]
        for before in (None, 2048, 4096)
    }
    assert sizes == {None: [1000] * 3, 2048: [2000, 1000], 4096: [1000] * 3}


def test_a_category_leaves_the_size_of_units_to_the_whole_catalog(tmp_path: Path) -> None:
    """A run of one category in smaller units is no reason to cut, and build, all others anew the night after."""
    write_catalog(tmp_path / "a.parquet", rows([f"a{n}" for n in range(3_000)], ["b"] * 3_000), row_group_rows=500)
    loaded = config(tmp_path / "a.parquet", "shards.unit_rows=500")
    found = [
        make_plan(loaded.settings.embedding, loaded.gates, category, before=Before((), before))
        for category, before in (("b", 2048), ("b", None), (None, 2048))
    ]
    assert [(plan.unit_rows, max(unit.rows for unit in plan.units)) for plan in found] == [
        (2048, 500), (500, 500), (500, 500)
    ]  # fmt: skip


def test_a_catalog_of_many_categories_has_larger_units(tmp_path: Path) -> None:
    """By default: of 40 categories a unit has 4,096 rows, of one 1,024."""
    ids = [f"a{n}" for n in range(9_000)]
    for categories, most in ((40, 4000), (1, 1000)):
        kinds = [f"kind {n % categories}" for n in range(9_000)]
        write_catalog(tmp_path / "a.parquet", rows(ids, kinds), row_group_rows=500)
        sizes = [unit.rows for unit in planned(config(tmp_path / "a.parquet")).units]
        assert max(sizes) == most
        assert sum(sizes) == 9_000


def test_units_take_row_groups_up_to_their_limits(tmp_path: Path) -> None:
    """Consecutive row groups of one file share a unit while rows and bytes fit; a larger one is alone."""
    write_catalog(tmp_path / "a.parquet", rows([f"a{n}" for n in range(50)]), row_group_rows=10)
    write_catalog(tmp_path / "b.parquet", rows([f"b{n}" for n in range(30)]), row_group_rows=30)

    def units(*more: str) -> list[tuple[str, int, int, int]]:
        plan = planned(config(tmp_path, *more))
        assert [unit.number for unit in plan.units] == list(range(len(plan.units)))
        return [(Path(u.path).name[0], u.first_group, u.end_group, u.rows) for u in plan.units]

    assert units("shards.unit_rows=25") == [("a", 0, 2, 20), ("a", 2, 4, 20), ("a", 4, 5, 10), ("b", 0, 1, 30)]
    assert units() == [("a", 0, 5, 50), ("b", 0, 1, 30)]
    one = planned(config(tmp_path, "shards.unit_rows=1")).units
    assert [unit.end_group - unit.first_group for unit in one] == [1] * 6
    limit = max(unit.size for unit in one)
    assert len(units(f"shards.max_unit_bytes={limit}")) > 2
    assert all(unit.size <= limit for unit in planned(config(tmp_path, f"shards.max_unit_bytes={limit}")).units)


def test_a_row_group_over_the_limit_is_refused(tmp_path: Path) -> None:
    """A row group that no worker can hold is named with its bytes and two ways out; unused columns do not count."""
    table = rows(["a", "b"], titles=["tea" * 1000, "jam" * 1000]).append_column("unused", pa.array(["x" * 10**6, "y"]))
    path = write_catalog(tmp_path / "a.parquet", table)
    planned(config(path, "shards.max_unit_bytes=20000"))
    with pytest.raises(InputError) as caught:
        planned(config(path, "shards.max_unit_bytes=5000"))
    for said in ("at most 5,000 bytes", "a.parquet: row group 0 has", "row_group_size", "shards.max_unit_bytes"):
        assert said in str(caught.value)


def test_a_large_row_group_is_cut_into_pieces(tmp_path: Path) -> None:
    """No unit has more rows than a piece; rows count from the row group's first, and each is that row of the file."""
    path = write_catalog(
        tmp_path / "a.parquet", rows([f"{n % 23}" for n in range(25)], ["x", "y > z"] * 12 + ["x"]), 20
    )
    chosen = config(path)
    with pieces_of(8):
        units, made = fused_units(chosen), planned(chosen)
        tea = fused_units(chosen, "y")
    assert [(u.first_group, u.end_group, u.first_row, u.rows) for u, _ in units] == [
        (0, 1, 0, 8),
        (0, 1, 8, 8),
        (0, 1, 16, 4),
        (1, 2, 0, 5),
    ]
    assert [(u.first_row, u.rows) for u, _ in tea] == [(0, 4), (8, 4), (16, 2), (0, 2)]
    assert found_duplicates(made) == {"a.parquet/1": [3, 4]}
    for unit, table in (*units, *tea):
        for row in table.to_pylist():
            assert row["id"] == str((20 * unit.first_group + row["row"]) % 23)
    assert made.key != planned(chosen).key


def test_pieces_count_by_their_own_bytes(tmp_path: Path) -> None:
    """A row group over shards.max_unit_bytes is no fault where its pieces are within."""
    titles = [f"{n}" * 200 for n in range(100, 200)]
    path = write_catalog(tmp_path / "a.parquet", rows([str(n) for n in range(100)], titles=titles))
    chosen = config(path, "shards.max_unit_bytes=20000")
    with pytest.raises(InputError, match="row group 0 has"):
        planned(chosen)
    with pieces_of(10):
        assert [unit.rows for unit, _ in fused_units(chosen)] == [10] * 10


def test_an_empty_file_beside_a_full_one(tmp_path: Path) -> None:
    """A file without rows, with a row group or with none, adds nothing and stops nothing."""
    write_catalog(tmp_path / "a.parquet", rows([]))
    write_catalog(tmp_path / "b.parquet", rows(["x", "y"], ["Tea", "Tea"]))
    write_catalog(tmp_path / "c.parquet", rows([]))
    plan = planned(config(tmp_path))
    assert (plan.rows, plan.partitions, len(plan.units)) == (2, {"Tea": 2}, 1)
    with pytest.raises(InputError, match="at least one row"):
        planned(config(tmp_path / "a.parquet"))


def test_files_of_different_encodings_are_one_catalog(tmp_path: Path) -> None:
    """int64 ids of one file repeat the string ids of another."""
    write_catalog(tmp_path / "a.parquet", rows([1, 2, 3]))
    write_catalog(tmp_path / "b.parquet", rows(["2", "x", "3"]))
    assert found_duplicates(planned(config(tmp_path))) == {"b.parquet/0": [0, 2]}


def test_a_category_is_a_part_of_the_same_units(tmp_path: Path) -> None:
    """--category reads its rows of the units that have some; duplicates and partitions stay the catalog's."""
    categories = ["Tea > Green", "Jam", None, "Tea", "Jam", "Jam", "Tea"]
    path = write_catalog(
        tmp_path / "a.parquet", rows(["a", "b", "c", "b", "d", "e", "a"], categories), row_group_rows=2
    )
    chosen = config(path, "shards.unit_rows=2")
    plan = planned(chosen, "Tea")
    assert plan.partitions == {"Jam": 3, "Tea": 3, "_none": 1}
    assert [(unit.first_group, unit.rows, unit.category) for unit in plan.units] == [
        (0, 1, "Tea"),
        (1, 1, "Tea"),
        (3, 1, "Tea"),
    ]

    def embedded(category: str | None) -> dict[tuple[int, int], Any]:
        units = fused_units(chosen, category)
        return {(unit.first_group, row["row"]): row for unit, table in units for row in table.to_pylist()}

    read, every = embedded("Tea"), embedded(None)
    assert [(row["id"], row["reject"]) for row in read.values()] == [
        ("a", None),
        ("b", "duplicate_id"),
        ("a", "duplicate_id"),
    ]
    assert read == {key: row for key, row in every.items() if row["partition"] == "Tea"}
    assert [row["id"] for _, table in fused_units(chosen, "_none") for row in table.to_pylist()] == ["c"]
    with pytest.raises(InputError, match=r"'Tea'.*\ncame: 'tee'\nto do: correct --category"):
        planned(chosen, "tee")


def test_too_many_partitions_are_taken_for_a_mistake(tmp_path: Path) -> None:
    """257 categories are refused with advice, 256 are not, and fewer levels help."""
    categories = [f"All > {n}" for n in range(257)]
    path = write_catalog(tmp_path / "a.parquet", rows([str(n) for n in range(257)], categories))
    assert planned(config(path)).partitions == {"All": 257}
    with pytest.raises(
        InputError, match=r"at most 256 partitions\ncame: 257 or more in .*product_type.*\nto do: .*partition_levels"
    ):
        planned(config(path, "catalog.partition_levels=2"))
    write_catalog(path, rows([str(n) for n in range(256)], categories[:256]))
    assert len(planned(config(path, "catalog.partition_levels=2")).partitions) == 256


def test_the_key_names_what_a_run_would_do(tmp_path: Path) -> None:
    """Equal for the same run; other for another category, config or unit size, and for a catalog of other bytes."""
    path = write_catalog(tmp_path / "a.parquet", rows(["a", "b"], ["x", "y"]), row_group_rows=1)
    changes = ("encoders.text.dim=32", "shards.unit_rows=1", "catalog.max_text_chars=5")
    keys = [planned(config(path)).key, planned(config(path), "x").key]
    keys += [planned(config(path, change)).key for change in changes]
    assert planned(config(path, "run.workers=1", "gates.min_recall=0.5")).key == keys[0]
    path.touch()
    assert planned(config(path)).key == keys[0]
    write_catalog(path, rows(["a", "b"], ["x", "y"], ["tea", "pea"]), row_group_rows=1)
    assert len({*keys, planned(config(path)).key}) == 6


def test_the_key_of_a_catalog_with_photos_is_that_of_its_files(tmp_path: Path) -> None:
    """Where photos are looked at, a file that was written again is another one."""
    path = write_catalog(tmp_path / "a.parquet", rows(["a"]))
    photos = ("catalog.image=title", "encoders.image={type: photo_descriptors}", "fusion={type: concat}")
    key = planned(config(path, *photos)).key
    assert planned(config(path, *photos)).key == key
    path.touch()
    assert planned(config(path, *photos)).key != key


def test_the_plan_is_kept_as_json(tmp_path: Path) -> None:
    """What a run's folder keeps has the units, with duplicates as a count, and the totals."""
    path = write_catalog(tmp_path / "a.parquet", rows(["a", "a", "b"]))
    kept = json.loads(planned(config(path)).to_bytes())
    assert (kept["rows"], kept["duplicates"], kept["partitions"]) == (3, 1, {"_none": 3})
    assert [(unit["rows"], unit["duplicates"], unit["path"]) for unit in kept["units"]] == [(3, 1, str(path))]


def test_a_folder_of_photos_that_is_not_there_is_found_by_the_plan(demo: Path, tmp_path: Path) -> None:
    """A wrong catalog.image_root is told before any work, by its key and value, not row by row."""
    config = config_for(demo, tmp_path / "store", f"catalog.image_root={tmp_path / 'absent'}")
    with pytest.raises(InputError, match=r"catalog\.image_root=.*absent, which is none"):
        planned(config)


SUMS = ["{type: sum}", "{type: weighted_sum}", "{type: single, shared: true}"]


@pytest.mark.parametrize("fusion", SUMS)
def test_towers_that_cannot_be_added_are_found_by_the_plan(demo: Path, tmp_path: Path, fusion: str) -> None:
    """A fusion that adds towers refuses unequal lengths, and one tower alone, before any work."""
    unequal = config_for(demo, tmp_path, f"fusion={fusion}", "encoders.text.dim=64")
    with pytest.raises(InputError, match=r"equal length, to add them\ncame: text 64, photo \d+"):
        planned(unequal)
    with pytest.raises(InputError, match=r"encoders\.image"):
        config_for(demo, tmp_path, f"fusion={fusion}", "encoders.image=null")


def test_a_single_tower_may_stand_beside_a_longer_one(demo: Path, tmp_path: Path) -> None:
    """Where nothing is added, lengths need not agree."""
    single = config_for(demo, tmp_path, "fusion={type: single}", "encoders.text.dim=64")
    assert planned(single).rows == 120
