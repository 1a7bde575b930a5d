"""Groups of linked rows, held against a walk over the links; near vectors, against every pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.metric import Metric
from index_builders.duplicates.groups import equal_links, grouped, grouped_by_blocks, sizes_of
from index_builders.duplicates.near import near_links
from index_builders.measure.trial import drawn_by, trial
from index_builders.rows.vectors_file import VectorsFile
from index_builders.settings import IndexSettings
from tests.support.examples import index_examples, named, with_lists
from tests.support.partitions import DIM, clustered, write_ids

SPECS = {named(spec): with_lists(spec, 16) for spec in index_examples(DIM)}


def walked(rows: int, links: list[tuple[int, int]]) -> list[int]:
    """The least row that each row reaches, by a search from each."""
    beside: dict[int, set[int]] = {row: set() for row in range(rows)}
    for a, b in links:
        beside[a].add(b)
        beside[b].add(a)
    found = []
    for row in range(rows):
        seen, left = {row}, [row]
        while left:
            new = beside[left.pop()] - seen
            seen |= new
            left += new
        found.append(min(seen))
    return found


@given(data=st.data(), rows=st.integers(1, 40))
def test_a_group_is_all_that_is_linked(data: st.DataObject, rows: int) -> None:
    """Its number is its least row, whatever the order of links, and by way of however many others."""
    places = st.integers(0, rows - 1)
    links = data.draw(st.lists(st.tuples(places, places), max_size=60))
    first, second = (np.array([link[side] for link in links], np.int64) for side in (0, 1))
    groups = grouped(rows, first, second)
    assert groups.tolist() == walked(rows, links)
    np.testing.assert_array_equal(grouped(rows, second[::-1], first[::-1]), groups)
    cut = data.draw(st.integers(1, 20))
    blocks = [(first[at : at + cut], second[at : at + cut]) for at in range(0, len(first), cut)]
    np.testing.assert_array_equal(grouped_by_blocks(rows, blocks), groups)
    assert sizes_of(groups).tolist() == [groups.tolist().count(one) for one in groups]


def test_a_long_chain_is_one_group() -> None:
    """100,000 rows, each linked to the next one alone, in a drawn order."""
    order = np.random.default_rng(3).permutation(100_000)
    assert (grouped(100_000, order[:-1], order[1:]) == 0).all()


@given(values=st.lists(st.sampled_from([None, "a", "b", "c", ""]), max_size=30), cut=st.integers(0, 30))
def test_equal_values_link_rows_and_null_none(values: list[str | None], cut: int) -> None:
    """Also where a column comes in several chunks."""
    column = pa.chunked_array([pa.array(values[:cut], pa.string()), pa.array(values[cut:], pa.string())])
    wanted = [at if one is None else values.index(one) for at, one in enumerate(values)]
    assert grouped(len(values), *equal_links(column)).tolist() == wanted


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("name", [name for name in SPECS if "flat" in name or "sq8" in name])
@pytest.mark.usefixtures("one_faiss_thread")
def test_near_rows_are_linked_whatever_the_metric(name: str, metric: Metric, tmp_path: Path) -> None:
    """Copies with a little noise, and of another length where that is no matter: groups are those of all pairs."""
    rng, bound = np.random.default_rng(8), 0.98
    xb = clustered(600)
    xb[500:] = (xb[:100] * (1 if metric is Metric.COSINE else 0.7)).astype(np.float16)
    xb[520] += rng.standard_normal(DIM) * 0.002
    xb = xb.astype(np.float16).astype(np.float32)
    (tmp_path / "made").mkdir()
    vectors = VectorsFile(xb.astype(np.float16), metric)
    rows = drawn_by(IndexSettings(exact_below=512, held_out_queries=50), vectors, write_ids(tmp_path, len(xb)))
    index = trial(SPECS[name], rows, 0.95, tmp_path / "made").index
    index = replace(index, nprobe=index.widest)
    links = near_links(index, lambda: (xb[at : at + 100] for at in range(0, 600, 100)), bound)
    unit = xb / np.linalg.norm(xb, axis=1, keepdims=True)
    pairs = np.argwhere(unit @ unit.T >= bound)
    wanted = walked(600, [(int(a), int(b)) for a, b in pairs])
    found = grouped_by_blocks(600, links).tolist()
    assert sum(a == b for a, b in zip(found, wanted, strict=True)) >= 590
    assert all(found[at] <= at for at in range(600))
    assert len(set(found)) >= len(set(wanted))  # what the index does not see stays apart; nothing is joined wrongly
