"""Records that carry their digest: what was written comes back, and anything else counts as nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookup.store.fields import NamedRecord, Record
from lookup.store.records import read_record, write_record
from lookup.store.store import Store
from pipeline.publish.verify import verify_store
from tests.support.command import config_for, run
from tests.support.stores import digests

ONE = "runs/one.json"


class Count(NamedRecord):
    """Some record."""

    reason: str
    rows: int


RECORD = Count(name=ONE, reason="Kitchen > Mugs\n", rows=3)


def test_a_record_comes_back(tmp_path: Path) -> None:
    """What was written is what is read."""
    store = Store.create(str(tmp_path))
    write_record(store, ONE, RECORD)
    assert read_record(store, ONE, Count) == RECORD
    assert read_record(store, "runs/two.json", Count) is None


def test_a_record_that_lies_elsewhere_is_none(tmp_path: Path) -> None:
    """A whole record is believed under the name that it bears and no other, by default the path."""
    store = Store.create(str(tmp_path))
    for path in (ONE, "runs/two.json"):
        write_record(store, path, RECORD)
    assert read_record(store, "runs/two.json", Count) is None
    assert read_record(store, "runs/two.json", Count, name=ONE) == RECORD
    assert read_record(store, ONE, Count, name="one") is None


def test_a_record_of_another_version_is_none(tmp_path: Path) -> None:
    """A field that is unknown inside a nested record counts as no record, as one at the top does."""

    class Inner(Record):
        rows: int

    class Outer(NamedRecord):
        inner: Inner

    class OtherInner(Record):
        rows: int
        bytes: int

    class OtherOuter(NamedRecord):
        inner: OtherInner

    store = Store.create(str(tmp_path))
    write_record(store, ONE, OtherOuter(name=ONE, inner=OtherInner(rows=1, bytes=2)))
    assert read_record(store, ONE, OtherOuter) is not None
    assert read_record(store, ONE, Outer) is None
    assert read_record(store, ONE, Count) is None


@given(st.data())
def test_an_altered_record_is_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any changed, missing or added byte makes a record count as not there."""
    store = Store.create(str(tmp_path_factory.getbasetemp() / "records"))
    write_record(store, ONE, RECORD)
    path = store.backend.local(ONE)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "more"]))
    bad = {"flip": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], "cut": whole[:at], "more": whole + b"x"}[kind]
    path.write_bytes(bad)
    assert read_record(store, ONE, Count) is None


def test_a_run_writes_damaged_records_again(demo: Path, tmp_path: Path) -> None:
    """A run after damage to every record of shards and indexes ends in the very same files."""
    config = config_for(demo, tmp_path)
    run(config)
    before = digests(tmp_path)
    for record in [*tmp_path.glob("shards/*.json"), *tmp_path.glob("indexes/*/record.json")]:
        record.write_bytes(
            record.read_bytes().replace(b'"rows', b'"rowz', 1)[: -10 if "shards" in str(record) else None]
        )
    run(config)
    after = digests(tmp_path)
    measured = [name for name in before if name.endswith("record.json")]  # holds measured times
    assert {n: d for n, d in after.items() if n not in measured} == {
        n: d for n, d in before.items() if n not in measured
    }
    assert verify_store(str(tmp_path)).files > 0
