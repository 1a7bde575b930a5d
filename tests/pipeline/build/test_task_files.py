"""The task files of indexes: what they name is checked before it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundation.errors import IntegrityError
from lookup.store.fields import FileRef
from lookup.store.shard_record import Segment, ShardRecord
from lookup.store.shards import Shards
from lookup.store.store import Store
from pipeline.build.task_files import TrainingOffer, read_rows, read_task, write_shards, write_task

OFFER = TrainingOffer(content="a" * 64, texts=None, reason="", parent=None)


def shards_of(file: FileRef, *rows: dict[str, int]) -> Shards:
    """Shards of one file, with so many rows of each partition."""
    records = []
    for number, one in enumerate(rows):
        segments = tuple(
            Segment(partition=name, row_group=group, rows=count, digest=f"{number}{group}" * 32)
            for group, (name, count) in enumerate(one.items())
        )
        record = ShardRecord(
            name=str(number), rows_in=sum(one.values()), file=file, rejects=None, segments=segments, rejected=()
        )
        records.append((record, "c.parquet", (number, number + 1)))
    return Shards.of(records)


def test_a_shard_is_checked_once_while_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many partitions of a shard the first has it checked; one that is altered meanwhile is found by the next."""
    store = Store.create(str(tmp_path / "store"))
    (tmp_path / "shard").write_bytes(b"rows")
    file = store.put(tmp_path / "shard", "shards/one.parquet", 3)
    write_shards(store, "runs/shards.json", shards_of(file, {"p0": 1, "p1": 1, "p2": 1}))
    for number in range(3):
        write_task(store, f"runs/{number}.json", f"index {number}", f"p{number}", "runs/shards.json", OFFER)
    checked, verified = list[str](), Store.verified

    def watched(self: Store, one: FileRef) -> Path:
        checked.append(one.path)
        return verified(self, one)

    monkeypatch.setattr(Store, "verified", watched)
    for number in range(2):
        [ref], _ = read_task(store, f"runs/{number}.json", f"index {number}")
        assert (ref.row_group, ref.path.read_bytes()) == (number, b"rows")
    assert checked == ["runs/shards.segments", file.path]
    ref.path.unlink()
    ref.path.write_bytes(b"sown")
    with pytest.raises(IntegrityError, match=r"one\.parquet"):
        read_task(store, "runs/2.json", "index 2")
    with pytest.raises(IntegrityError, match="the task of index another"):
        read_task(store, "runs/1.json", "another")


def test_some_rows_of_a_partition_lie_in_some_segments(tmp_path: Path) -> None:
    """Every range of rows is covered, by no segment too many, and the first row of the first is told."""
    store = Store.create(str(tmp_path / "store"))
    (tmp_path / "shard").write_bytes(b"rows")
    file = store.put(tmp_path / "shard", "shards/one.parquet", 3)
    lengths = [3, 1, 5, 2]
    write_shards(store, "runs/shards.json", shards_of(file, *({"a": 4, "p": one} for one in lengths)))
    write_task(store, "runs/t.json", "i", "p", "runs/shards.json", OFFER)
    for start in range(11):
        for stop in range(start + 1, 12):
            first, refs = read_rows(store, "runs/t.json", "i", range(start, stop))
            at = sum(lengths[: refs[0].groups[0]])
            assert first == at <= start < at + refs[0].rows
            assert at + sum(ref.rows for ref in refs) >= stop
            assert at + sum(ref.rows for ref in refs[:-1]) < stop
