"""Products that are equal: an index is built of what differs among them, says so, and finds every one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookup
from foundation.errors import IntegrityError
from index_builders.base import BuilderSpec
from index_builders.fill.fill import write_index
from tests.support.command import told, vitrine
from tests.support.examples import index_examples, named, with_lists
from tests.support.nights import SMALL, index_of, last_run, night, titles
from tests.support.partitions import built, clustered

TRAINED = [with_lists(spec, 32) for spec in index_examples(32) if not spec.exact]


def built_of(folder: Path, rows: list[str], large: dict[str, Any]) -> Any:
    """A run on `rows` with this index.large; the index of its only partition."""
    done = night(folder, rows, *SMALL, f"index.large={json.dumps(large)}")
    assert done.exit_code == 0, done.stderr
    return index_of(folder)


@pytest.mark.parametrize("spec", TRAINED, ids=named)
def test_nearly_equal_products_are_searched_exactly(tmp_path: Path, spec: BuilderSpec) -> None:
    """Of 1,990 equal products and 10 others each is found by its own words; record, log and inspect say why flat."""
    index = built_of(tmp_path, ["red dress"] * 1990 + ["green ball", "blue mug"] * 5, spec.model_dump(mode="json"))
    assert index.type == "flat"
    assert index.note.startswith("searched exactly: ")
    assert index.note in (last_run(tmp_path) / "log.txt").read_text()
    assert index.note in vitrine("inspect", tmp_path / "store").stdout
    reader = lookup.open(str(tmp_path / "store"))
    for text, first in (("green ball", [f"P{1990 + 2 * i}" for i in range(5)]), ("red dress", ["P0", "P1", "P2"])):
        hits = [hit.id for hit in reader.search(text, k=2000)]
        assert hits[: len(first)] == first
        assert len(set(hits)) == 2000
        assert [hit.id for hit in reader.search(text, k=10)] == hits[:10]


def test_lists_are_made_of_what_differs(tmp_path: Path) -> None:
    """1,500 equal products and 500 others: as many lists as asked for, and each of the others is found by its words."""
    others = titles(500)
    index = built_of(tmp_path, ["steel pan"] * 1500 + others, {"type": "ivf_flat", "nlist": 32})
    assert (index.type, index.note) == ("ivf_flat", "")
    assert index.train_rows < 600
    reader = lookup.open(str(tmp_path / "store"))
    found = [reader.search(title, k=10) for title in others[::5]]
    assert {len(hits) for hits in found} == {10}
    assert sum(hits[0].id == f"P{1500 + 5 * i}" for i, hits in enumerate(found)) >= 98


def test_fewer_lists_where_fewer_products_differ(tmp_path: Path) -> None:
    """2,800 products of 200 titles: 16 lists instead of 256, with the reason."""
    index = built_of(tmp_path, titles(200) * 14, {"type": "ivf_sq8", "nlist": 256})
    assert (index.type, index.parameters["nlist"]) == ("ivf_sq8", 16)
    assert index.note.startswith("16 lists: ")


def test_more_lists_than_rows_is_a_mistake(tmp_path: Path) -> None:
    """Where rows are too few although they differ, the setting is refused as before."""
    done = night(tmp_path, titles(600), *SMALL, "index.large={type: ivf_flat, nlist: 580}")
    assert done.exit_code == 2
    assert "at least 580 training rows" in told(done.stderr)[0]


def test_equal_rows_have_no_say_in_the_choice(tmp_path: Path) -> None:
    """With `auto` too, 2,000 equal products are found."""
    assert run_titles_of(tmp_path, ["red dress"] * 2000).exit_code == 0
    hits = lookup.open(str(tmp_path / "store")).search("blue mug", k=12)
    assert [hit.id for hit in hits] == [f"P{number}" for number in range(12)]


def run_titles_of(folder: Path, rows: list[str]) -> Any:
    """A run with the default index."""
    return night(folder, rows, "index.exact_below=512", "gates.min_recall=0.9")


def test_an_exact_index_of_other_vectors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One number that is not what went in, in any row, stops the build: no sample is needed to see it."""

    def altered(index: Any, path: Path) -> None:
        held = index.reconstruct_n(0, index.ntotal)
        held[123, 3] = np.nextafter(held[123, 3], np.float32(2))
        index.reset()
        index.add(held)
        write_index(index, path)

    monkeypatch.setattr("index_builders.measure.trial.write_index", altered)
    with pytest.raises(IntegrityError, match="position 123"):
        built(tmp_path, clustered(300))
