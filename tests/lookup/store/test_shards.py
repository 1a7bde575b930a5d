"""Segments in columns say what records say, through merges and files; checked against plain loops over the records."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import IntegrityError
from lookup.store.fields import FileRef
from lookup.store.format_1 import upgraded
from lookup.store.segment_table import SCHEMA, SegmentTable
from lookup.store.shard_record import DetailCount, RejectCount, Segment, ShardRecord
from lookup.store.shards import Shards, chained

NAMES = st.sampled_from(["a", "b", "Kleider & Schuhe", "连衣裙"])
REASONS = st.sampled_from(["missing_id", "image_not_found"])
COUNTS = st.integers(0, 9)
Part = tuple[int, str, int, int, dict[str, int], dict[str, int], dict[str, int]]
PART = st.tuples(
    COUNTS, st.integers(0, 2**256 - 1).map("{:064x}".format), COUNTS, COUNTS,
    st.dictionaries(REASONS, st.integers(1, 9), max_size=2),
    st.dictionaries(st.sampled_from(["price", "brand"]), COUNTS, max_size=2),
    st.dictionaries(REASONS, st.integers(1, 9), max_size=2),
)  # fmt: skip
SHARDS = st.lists(st.dictionaries(NAMES, PART, max_size=4), max_size=4)


def record(number: int, parts: dict[str, Part]) -> ShardRecord:
    """The record of a shard: partitions with no rows are those of rejects alone."""
    segments, rejected, details = list[Segment](), list[RejectCount](), list[DetailCount]()
    for name, (rows, digest, photos, lost, degraded, unread, rejects) in sorted(parts.items()):
        if rows:
            segments.append(
                Segment(
                    partition=name,
                    row_group=len(segments),
                    rows=rows,
                    digest=digest,
                    degraded=tuple(degraded.items()),
                    unread=tuple(unread.items()),
                    photos=photos,
                    photos_lost=lost,
                )
            )
        for reason, count in rejects.items():
            rejected.append(RejectCount(partition=name, reason=reason, rows=count))
            kind = {"partition": name, "outcome": "rejected", "reason": reason, "detail": f"{reason} so"}
            details.append(DetailCount(rows=count, example=f"{number} {name}", **kind))
    embedded, lost_rows = sum(one.rows for one in segments), sum(one.rows for one in rejected)
    return ShardRecord(
        name=f"{number:032x}",
        rows_in=embedded + lost_rows,
        file=FileRef(path=f"shards/{number}.parquet", bytes=1, rows=embedded, blake3="0" * 64) if embedded else None,
        rejects=None,
        segments=tuple(segments),
        rejected=tuple(rejected),
        details=tuple(details),
    )


def shards_of(several: list[dict[str, Part]], first: int = 0) -> tuple[Shards, list[ShardRecord]]:
    records = [record(first + number, parts) for number, parts in enumerate(several)]
    return Shards.of((one, "c.parquet", (n, n + 1)) for n, one in enumerate(records)), records


def check(shards: Shards, records: list[ShardRecord], gone: str | None = None) -> None:
    """`shards` say what `records` say, but for a partition that is gone."""
    live = [(one, segment) for one in records for segment in one.segments if segment.partition != gone]
    lost = [(one, reject) for one in records for reject in one.rejected if reject.partition != gone]
    names = {segment.partition for _, segment in live}
    for name in names | {"nowhere"}:
        found = [(one.shard.name, one.row_group, one.rows, one.digest) for one in shards.located(name)]
        wanted = [(one.name, s.row_group, s.rows, s.digest) for one, s in live if s.partition == name]
        assert found == wanted
        positions = [end for n in range(len(wanted)) for end in [sum(rows for *_, rows, _ in wanted[: n + 1])]]
        assert shards.segments.of(name).ends.tolist() == positions
    assert shards.segments.rows_of() == Counter(_summed((s.partition, s.rows) for _, s in live))
    for scope in (None, frozenset(["a"]), frozenset(["b", "连衣裙", "nowhere"])):
        within = [s for _, s in live if scope is None or s.partition in scope]
        rejects = [r for _, r in lost if scope is None or r.partition in scope]
        table = shards.segments
        assert table.lost("degraded", scope) == _summed(one for s in within for one in s.degraded)
        assert table.lost("unread", scope) == _summed(one for s in within for one in s.unread)
        assert table.lost("rejected", scope) == _summed((r.reason, r.rows) for r in rejects)
        assert table.photos(scope) == (sum(s.photos for s in within), sum(s.photos_lost for s in within))
        kinds = [d for one in records for d in one.details if d.partition != gone]
        kinds = [d for d in kinds if scope is None or d.partition in scope]
        assert {(one.reason, one.detail): one.rows for one in table.kinds(scope)} == _summed(
            ((d.reason, d.detail), d.rows) for d in kinds
        )
    by_shard = shards.segments.by_shard(len(shards.entries)).tolist()
    assert by_shard == [sum(s.rows for one, s in live if one.name == entry.name) for entry in shards.entries]
    both = list(shards.shard_by_shard(sorted(names)))
    assert sorted(one.digest for _, one in both) == sorted(s.digest for _, s in live)
    order = [[entry.name for entry in shards.entries].index(one.shard.name) for _, one in both]
    assert order == sorted(order)


def _summed(counts: Any) -> dict[Any, int]:
    total = Counter[Any]()
    for name, rows in counts:
        total[name] += rows
    return {name: rows for name, rows in total.items() if rows}


@given(SHARDS, SHARDS)
@settings(deadline=None)
def test_columns_say_what_records_say(now: list[dict[str, Part]], then: list[dict[str, Part]]) -> None:
    """Of any shards; of those of a run of one category after what is left of others; and read from their file."""
    shards, records = shards_of(now)
    check(shards, records)
    more, later = shards_of([{"a": parts["a"]} for parts in then if "a" in parts], first=100)
    rest = shards.without(frozenset("a"))
    check(rest, records, gone="a")
    merged = chained([rest, more])
    kept = [one for one in records if {p.partition for p in (*one.segments, *one.rejected)} - {"a"}]
    assert [entry.name for entry in merged.entries] == [one.name for one in [*kept, *later]]
    check(merged.without(frozenset("a")), records, gone="a")
    if not rest.entries:
        check(merged, later)
    raw = merged.segments.to_bytes()
    assert SegmentTable.from_bytes(raw) == merged.segments
    assert bytes(SegmentTable.from_bytes(raw).to_bytes()) == bytes(raw)
    assert SegmentTable.from_bytes(raw).digest() == merged.segments.digest()


@given(SHARDS, st.booleans())
@settings(deadline=None)
def test_format_1_is_the_same_in_json(several: list[dict[str, Part]], replaced: bool) -> None:
    """Live segments and rejects are those that an entry lists, details those of its live partitions."""
    shards, records = shards_of(several)
    gone = "a" if replaced else None
    entries = [
        {
            "record": one.model_dump(mode="json"),
            "source": "c.parquet",
            "row_groups": [n, n + 1],
            "segments": [s.model_dump(mode="json") for s in one.segments if s.partition != gone],
            "rejected": [r.model_dump(mode="json") for r in one.rejected if r.partition != gone],
        }
        for n, one in enumerate(records)
    ]
    found = upgraded({"format": 1, "shards": entries})
    check(found["shards"], records, gone)
    if not replaced:
        assert found["shards"] == shards


def test_a_live_segment_without_a_file_is_damage() -> None:
    """No reader goes on with rows that lie nowhere."""
    segment = Segment(partition="a", row_group=0, rows=1, digest="0" * 64)
    record = ShardRecord(name="n", rows_in=1, file=None, rejects=None, segments=(segment,), rejected=())
    with pytest.raises(IntegrityError, match="a file of shard n"):
        list(Shards.of([(record, "c", (0, 1))]).located("a"))


def test_another_table_is_none() -> None:
    """An Arrow file of other columns is refused."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema(SCHEMA).remove(1)) as file:
        file.write_table(pa.schema(SCHEMA).remove(1).empty_table())
    with pytest.raises(pa.ArrowInvalid, match="a table of partition, row_group"):
        SegmentTable.from_bytes(sink.getvalue())
