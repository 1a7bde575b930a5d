"""Runs after runs: what is done again, what is kept byte by byte, and that every row stays accounted for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

import lookup
from foundation.errors import GateError, InputError, IntegrityError, VitrineError
from pipeline.config.load import Config
from pipeline.embed import transforms
from tests.support.command import run
from tests.support.stores import everything, manifest_of, products, publications
from tests.support.three_kinds import KINDS, Rows, accounted, answers, entries, texts_only, write


def test_a_second_run_of_the_same_input_does_nothing(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str]
) -> None:
    """Nothing is encoded, nothing is published, and every byte that readers see stays."""
    write(tmp_path, rows)
    first = run(config())
    assert (first.status, first.units, first.units_reused, first.rows_embedded) == ("published", 4, 0, 40)
    assert len(encoded) == 40
    before = everything(tmp_path / "store")
    second = run(config())
    assert (second.status, second.units_reused, second.indexes_reused) == ("unchanged", 4, 3)
    assert second.snapshot == first.snapshot
    assert len(encoded) == 40
    assert everything(tmp_path / "store") == before
    assert accounted(manifest_of(tmp_path / "store"), 40)


def test_one_changed_title_costs_itself_and_its_partition(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str]
) -> None:
    """Only the title is encoded and only the partition's index is built again; other partitions' entries are equal."""
    write(tmp_path, rows)
    run(config())
    before, kept = entries(tmp_path / "store"), products(tmp_path / "store")
    encoded.clear()
    rows[12]["title"] = "violet fruit"
    write(tmp_path, rows)
    report = run(config())
    assert (report.status, report.units_reused, report.indexes_reused) == ("published", 3, 2)
    assert encoded == ["violet fruit"]
    after = entries(tmp_path / "store")
    assert [name for name in KINDS if before[name] != after[name]] == [rows[12]["kind"]]
    assert {name: raw for name, raw in products(tmp_path / "store").items() if name in kept} == kept
    assert accounted(manifest_of(tmp_path / "store"), 40)
    run(config(store="fresh"))
    assert manifest_of(tmp_path / "fresh").content == manifest_of(tmp_path / "store").content


def test_a_changed_photo_under_the_same_path_is_seen(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str]
) -> None:
    """The catalog file is untouched, yet the photo is encoded and its product is found by the new one."""
    write(tmp_path, rows)
    run(config())
    encoded.clear()
    chequered = Image.new("RGB", (64, 64), (255, 255, 255))
    for at in range(0, 64, 16):
        chequered.paste((0, 0, 0), (at, 0, at + 8, 64))
    chequered.save(tmp_path / rows[25]["photo"])
    report = run(config())
    assert (report.status, report.units_reused, report.indexes_reused) == ("published", 3, 2)
    assert (encoded, report.photos_encoded) == ([], 1)
    hit = lookup.open(str(tmp_path / "store")).search(image=(tmp_path / rows[25]["photo"]).read_bytes(), k=1)[0]
    assert (hit.id, round(hit.score, 3)) == ("p25", 1.0)


def test_a_removed_row_is_found_no_more(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """The partition shrinks by it, the others stay, and the store ends as a fresh one of the same catalog."""
    write(tmp_path, rows)
    run(config())
    before = entries(tmp_path / "store")
    gone = rows.pop()
    write(tmp_path, rows)
    report = run(config())
    assert (report.rows_in, report.rows_embedded, report.units_reused, report.indexes_reused) == (39, 39, 3, 2)
    after = entries(tmp_path / "store")
    assert after[gone["kind"]].rows == before[gone["kind"]].rows - 1
    assert all(hit.id != gone["id"] for hit in lookup.open(str(tmp_path / "store")).search(gone["title"], k=39))
    run(config(store="fresh"))
    assert manifest_of(tmp_path / "fresh").content == manifest_of(tmp_path / "store").content


def test_rows_that_moved_to_another_category(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """A run of the new category alone would have them twice and is refused; after the old one's they are found once."""
    write(tmp_path, rows)
    run(config())
    before = publications(tmp_path / "store")
    for row in rows[:9:3]:
        row["kind"] = "toys"
    write(tmp_path, rows)
    with pytest.raises(GateError) as caught:
        run(config(), category="toys")
    assert caught.value.exit_code == 3
    assert caught.value.came.startswith(
        "ids_unique 3 (3 ids in more than one place, such as 'p00' in 'fruit', 'toys'; "
    )
    assert publications(tmp_path / "store") == before
    run(config(), category="fruit")
    run(config(), category="toys")
    assert {name: entry.rows for name, entry in entries(tmp_path / "store").items()} == {
        "fruit": 11,
        "shoes": 13,
        "toys": 16,
    }
    hits = lookup.open(str(tmp_path / "store")).search("fruit number", k=100)
    assert sorted((hit.id, hit.partition) for hit in hits) == sorted((row["id"], row["kind"]) for row in rows)
    assert accounted(manifest_of(tmp_path / "store"), 40)


def test_a_device_that_the_encoders_do_not_use_is_refused(
    tmp_path: Path, rows: Rows, config: Callable[..., Config]
) -> None:
    """A GPU asked for, whether there is one or not, is no reason to publish from the CPU without a word."""
    write(tmp_path, rows)
    with pytest.raises(InputError, match=r"came: encoders.device=cuda:7\nto do: set encoders.device=cpu"):
        run(config("encoders.device=cuda:7"))
    assert not publications(tmp_path / "store")


@pytest.mark.parametrize("kind", ["publications", "snapshots"])
def test_a_damaged_publication_or_manifest_is_mended_by_hand(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str], kind: str
) -> None:
    """Each run says so and changes nothing, without a publication too; one that is to start anew encodes nothing."""
    write(tmp_path, rows)
    run(config())
    before = answers(tmp_path / "store")
    damaged = next((tmp_path / "store" / kind).iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-9])
    for _ in range(2):
        with pytest.raises(IntegrityError) as caught:
            run(config())
        assert "--no-parent" in caught.value.fix
    shutil.rmtree(tmp_path / "store" / "publications")
    with pytest.raises(IntegrityError, match="--no-parent"):
        run(config())
    encoded.clear()
    report = run(config(), no_parent=True)
    assert (report.status, report.parent, report.units_reused, report.indexes_reused) == ("published", None, 4, 3)
    assert not encoded
    assert answers(tmp_path / "store") == before


def test_a_category_whose_rows_are_all_rejected(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """Its partition goes, its rejects are counted, and the others answer as before."""
    write(tmp_path, rows)
    run(config())
    before = entries(tmp_path / "store")
    for row in rows:
        if row["kind"] == "shoes":
            row["id"] = None
    write(tmp_path, rows)
    report = run(config(), category="shoes")
    assert (report.rows_in, report.rows_embedded, report.rejects) == (13, 0, {"missing_id": 13})
    assert report.rows_in_snapshot == 27
    after = entries(tmp_path / "store")
    assert after == {name: before[name] for name in ("fruit", "toys")}
    assert accounted(manifest_of(tmp_path / "store"), 40)
    rows[1]["id"] = "back"
    write(tmp_path, rows)
    again = run(config(), category="shoes")
    assert (again.rows_embedded, again.rows_in_snapshot, again.rejects) == (1, 28, {"missing_id": 12})
    assert accounted(manifest_of(tmp_path / "store"), 40)
    full = run(config())
    assert (full.rows_embedded, full.rejects) == (28, {"missing_id": 12})


def test_a_resumed_run_does_not_read_finished_units(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the catalog alone decides the vectors, the marks of the run that failed are enough."""
    write(tmp_path, rows)
    read: list[int] = []
    reading = transforms.read_fingerprinted

    def counted(unit: Any, *rest: Any) -> pa.Table:
        read.append(unit.number)
        if len(read) == 3:
            raise MemoryError("no room")
        return reading(unit, *rest)

    monkeypatch.setattr(transforms, "read_fingerprinted", counted)
    with pytest.raises(VitrineError, match="no room"):
        run(texts_only(config), "--direct_num_workers=1")
    done, read[:] = read[:2], [-1, -2, -3]
    report = run(texts_only(config))
    assert sorted(read[3:] + done) == [0, 1, 2, 3]
    assert (report.units_reused, report.rows_embedded, len(encoded)) == (2, 40, 40)
    assert accounted(manifest_of(tmp_path / "store"), 40)


def test_marks_of_other_units_are_not_taken_for_these(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that failed and was cut into other units leaves nothing that its successor mistakes for its own."""
    write(tmp_path, rows)
    reading = transforms.read_fingerprinted

    def fail(unit: Any, *rest: Any) -> pa.Table:
        if unit.number == 3:
            raise MemoryError("no room")
        return reading(unit, *rest)

    monkeypatch.setattr(transforms, "read_fingerprinted", fail)
    with pytest.raises(VitrineError, match="no room"):
        run(texts_only(config), "--direct_num_workers=1")
    monkeypatch.setattr(transforms, "read_fingerprinted", reading)
    report = run(texts_only(config, "shards.unit_rows=20"))
    assert (report.units, report.units_reused, report.rows_embedded) == (2, 0, 40)
