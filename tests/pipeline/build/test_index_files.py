"""The task files of indexes: what they name is checked before it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundation.errors import IntegrityError
from lookup.store.fields import FileRef
from lookup.store.manifest import Segment
from lookup.store.store import Store
from pipeline.build.index_files import Offer, read_task, write_task


def test_a_shard_is_checked_once_while_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many partitions of a shard the first has it checked; one that is altered meanwhile is found by the next."""
    store = Store.create(str(tmp_path / "store"))
    (tmp_path / "shard").write_bytes(b"rows")
    file = store.put(tmp_path / "shard", "shards/one.parquet", 3)
    offer = Offer(content="a" * 64, texts=None, reason="", parent=None)
    for number in range(3):
        segment = Segment(partition=f"p{number}", row_group=number, rows=1, digest="b" * 64)
        write_task(store, f"runs/{number}.json", f"index {number}", [(file, segment, "c.parquet", (0, 1))], offer)
    checked, verified = list[str](), Store.verified

    def watched(self: Store, one: FileRef) -> Path:
        checked.append(one.path)
        return verified(self, one)

    monkeypatch.setattr(Store, "verified", watched)
    for number in range(2):
        [ref], _ = read_task(store, f"runs/{number}.json", f"index {number}")
        assert (ref.row_group, ref.path.read_bytes()) == (number, b"rows")
    assert checked == [file.path]
    ref.path.unlink()
    ref.path.write_bytes(b"sown")
    with pytest.raises(IntegrityError, match=r"one\.parquet"):
        read_task(store, "runs/2.json", "index 2")
