"""Parts merged on disk: the file that FAISS itself writes of an index that got all rows, bit by bit, for every type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import faiss
import numpy as np
import pytest

from foundation.errors import IntegrityError
from foundation.metric import Metric
from index_builders.base import BuilderSpec, builder_class, builder_spec
from index_builders.fill import merge as merging
from index_builders.fill.fill import fill_index, write_index
from index_builders.fill.merge import merge
from index_builders.fill.threads import threads
from index_builders.rows.training_set import TrainingSet
from tests.support.examples import index_examples, named, with_lists
from tests.support.partitions import clustered

DIM, BLOCK = 20, 350
SPECS = [spec for spec in index_examples(DIM) if spec.mergeable]
LISTED = [spec for spec in SPECS if spec.lists]
Blocks = Sequence[np.ndarray]


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few codes at a time, so that a list takes several; and FAISS on one thread."""
    monkeypatch.setattr(merging, "_ROWS", 96)
    with threads(1):
        yield


def empty_of(spec: BuilderSpec, metric: Metric, xb: np.ndarray) -> bytes:
    """The trained index without rows, serialized."""
    index = spec.empty(TrainingSet(xb if spec.trained else xb[:0], metric), xb.shape[1], metric)
    return bytes(faiss.serialize_index(index).tobytes())


def opened(raw: bytes) -> faiss.Index:
    return faiss.deserialize_index(np.frombuffer(raw, dtype=np.uint8))


def written(raw: bytes, blocks: Blocks, first: int, path: Path) -> Path:
    """A copy of the empty index with `blocks` from position `first` on, in a file."""
    write_index(fill_index(opened(raw), blocks, first), path)
    return path


def check_merged(folder: Path, raw: bytes, blocks: Blocks, parts: Sequence[int]) -> None:
    """Merge parts of so many `blocks` each, and compare with FAISS's own file, of rows added without numbers."""
    index = opened(raw)
    for block in blocks:
        index.add(block)
    write_index(index, folder / "whole")
    ends = np.cumsum(parts)
    assert ends[-1] == len(blocks)
    paths = []
    for number, (start, end) in enumerate(zip(ends - parts, ends, strict=True)):
        first = sum(map(len, blocks[:start]))
        paths.append(written(raw, blocks[start:end], first, folder / f"part{number}"))
    merge(opened(raw), paths, folder / "merged")
    assert (folder / "merged").read_bytes() == (folder / "whole").read_bytes()


def cut(xb: np.ndarray, size: int = BLOCK) -> Blocks:
    return [xb[start : start + size] for start in range(0, len(xb), size)]


def test_what_is_not_mergeable_says_so() -> None:
    """Some types are merged below; a graph cannot be, and says so."""
    assert len(LISTED) > 4
    assert not builder_class("hnsw").mergeable


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_merged_parts_are_the_index_of_all_rows(tmp_path: Path, spec: BuilderSpec, metric: Metric) -> None:
    """Any number of parts of any sizes gives the bytes of one go."""
    xb = metric.stored(clustered(2100, dim=DIM))
    raw = empty_of(spec, metric, xb[:1200])
    for number, parts in enumerate(([1, 1, 1, 1, 1, 1], [4, 2], [1, 3, 2], [6])):
        folder = tmp_path / str(number)
        folder.mkdir()
        check_merged(folder, raw, cut(xb), parts)


@pytest.mark.parametrize("spec", LISTED, ids=named)
def test_lists_may_be_empty_or_hold_nearly_all(tmp_path: Path, spec: BuilderSpec) -> None:
    """Most rows in one list, most lists empty in the index, in some parts or in all: the same bytes all the same."""
    xb = clustered(2100, dim=DIM)
    raw = empty_of(with_lists(spec, 400), Metric.L2, xb[:1200])
    xb[:1800] = xb[3]
    check_merged(tmp_path, raw, cut(xb), [2, 1, 3])


@pytest.mark.parametrize("rows", [32, 256, 512, 768])
def test_lists_that_end_with_a_block(tmp_path: Path, rows: int) -> None:
    """Where a part's list fills its last block, which FAISS's own merge_from writes beside, nothing goes astray."""
    xb = clustered(rows + 300, dim=DIM)
    of_one_list = builder_spec({"type": "ivf_pq", "nlist": 1, "m": 10, "nbits": 4, "fast_scan": True})
    raw = empty_of(of_one_list, Metric.L2, xb[:100])
    check_merged(tmp_path, raw, [xb[:rows], xb[rows:]], [1, 1])


def test_a_part_of_another_index_is_refused(tmp_path: Path) -> None:
    """A part that was filled from another trained index, or is cut short, is named, whatever else is the same."""
    xb = clustered(700, dim=DIM)
    others = [(spec, with_lists(spec, 4), xb) for spec in LISTED]
    others += [(spec, spec, xb[:600]) for spec in LISTED]
    for spec, of_other, rows in others:
        raw = empty_of(spec, Metric.L2, xb)
        part = written(empty_of(of_other, Metric.L2, rows), [xb], 0, tmp_path / "other")
        with pytest.raises(IntegrityError, match=r"other to be filled from the trained index[\s\S]*vitrine run"):
            merge(opened(raw), [part], tmp_path / "merged")
    for spec in SPECS:
        raw = empty_of(spec, Metric.L2, xb)
        part = written(raw, [xb], 0, tmp_path / "short")
        part.write_bytes(part.read_bytes()[:-5])
        with pytest.raises(IntegrityError, match="short to be filled from the trained index"):
            merge(opened(raw), [part], tmp_path / "merged")
