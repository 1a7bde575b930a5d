"""Runs after runs: what is done again, what is kept byte by byte, and that every row stays accounted for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import lookup
from foundation.errors import GateError, InputError, IntegrityError, VitrineError
from lookup.store.manifest import Manifest
from pipeline.config.encoding import towers
from pipeline.config.load import Config, load_config
from pipeline.embed import transforms
from tests.support.command import run
from tests.support.stores import everything, manifest_of, products
from tests.support.tiny_fusions import random_fusion
from tests.support.tiny_models import text_model

KINDS = ["fruit", "shoes", "toys"]
LOOSE = ["gates.max_reject_share=1", "gates.max_degraded_share=1", "gates.max_row_drop=1"]
Rows = list[dict[str, Any]]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """40 products of three kinds, each with a small photo of its own on the disk."""
    (tmp_path / "photos").mkdir()
    made = []
    for i in range(40):
        photo = f"photos/{i}.png"
        Image.new("RGB", (16, 16), (6 * i, 255 - 6 * i, 40)).save(tmp_path / photo)
        made.append({"id": f"p{i:02}", "title": f"{KINDS[i % 3]} number {i}", "kind": KINDS[i % 3], "photo": photo})
    return made


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Config]:
    """The config of the test's catalog, in units of ten rows."""

    def made(*more: str, store: str = "store") -> Config:
        fixed = [
            f"catalog.path={tmp_path}/catalog.parquet",
            f"store.path={tmp_path}/{store}",
            "catalog.text=[title]",
            "catalog.image=photo",
            "catalog.partition=kind",
            "shards.unit_rows=10",
        ]
        return load_config(None, [*fixed, *LOOSE, *more], {}).config

    return made


def write(folder: Path, rows: Rows) -> None:
    """The catalog, in row groups of ten."""
    schema = pa.schema([(name, pa.string()) for name in ("id", "title", "kind", "photo")])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "catalog.parquet", row_group_size=10)


def texts_only(config: Callable[..., Config], *more: str) -> Config:
    """The same without photos."""
    return config("catalog.image=null", "encoders.image=null", *more)


def accounted(manifest: Manifest, rows: int) -> bool:
    """Whether live rows and live rejects make up `rows`, in the shards and in the partitions."""
    live = sum(segment.rows for shard in manifest.shards for segment in shard.segments)
    return live == manifest.rows and live + sum(manifest.rejects().values()) == rows


def answers(store: Path, category: str | None = None) -> list[list[tuple[str, float, str]]]:
    """Ids, scores and partitions of the hits of some texts."""
    reader = lookup.open(str(store))
    asked = ["fruit number 3", "shoes", "toys number 17"]
    return [[(h.id, h.score, h.partition) for h in reader.search(text, category=category, k=12)] for text in asked]


def entries(store: Path) -> dict[str, Any]:
    """The partition entries of the published manifest, by name."""
    return {partition.name: partition for partition in manifest_of(store).partitions}


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


def test_one_changed_title_costs_its_unit_and_its_partition(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str]
) -> None:
    """Only the unit is encoded and only the partition's index is built again; other partitions' entries are equal."""
    write(tmp_path, rows)
    run(config())
    before, kept = entries(tmp_path / "store"), products(tmp_path / "store")
    encoded.clear()
    rows[12]["title"] = "violet fruit"
    write(tmp_path, rows)
    report = run(config())
    assert (report.status, report.units_reused, report.indexes_reused) == ("published", 3, 2)
    assert sorted(encoded) == sorted(row["title"] for row in rows[10:20])
    after = entries(tmp_path / "store")
    assert [name for name in KINDS if before[name] != after[name]] == [rows[12]["kind"]]
    assert {name: raw for name, raw in products(tmp_path / "store").items() if name in kept} == kept
    assert accounted(manifest_of(tmp_path / "store"), 40)
    run(config(store="fresh"))
    assert manifest_of(tmp_path / "fresh").content == manifest_of(tmp_path / "store").content


def test_a_changed_photo_under_the_same_path_is_seen(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str]
) -> None:
    """The catalog file is untouched, yet the photo's unit is encoded again and its product is found by the new one."""
    write(tmp_path, rows)
    run(config())
    encoded.clear()
    chequered = Image.new("RGB", (64, 64), (255, 255, 255))
    for at in range(0, 64, 16):
        chequered.paste((0, 0, 0), (at, 0, at + 8, 64))
    chequered.save(tmp_path / rows[25]["photo"])
    report = run(config())
    assert (report.status, report.units_reused, report.indexes_reused) == ("published", 3, 2)
    assert len(encoded) == 10
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


def test_a_category_run_replaces_only_its_partition(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str]
) -> None:
    """Other partitions' entries are equal, their pending changes wait, and answers are those of a full run."""
    write(tmp_path, rows)
    run(config())
    before = entries(tmp_path / "store")
    rows[1]["title"], rows[2]["title"] = "red boots, kind of shoes", "a toy that is not asked for"  # shoes, toys
    write(tmp_path, rows)
    encoded.clear()
    report = run(config(), category="shoes")
    assert sorted(encoded) == sorted(row["title"] for row in rows if row["kind"] == "shoes")
    assert (report.rows_in, report.rows_embedded, report.rows_in_snapshot) == (13, 13, 40)
    after = entries(tmp_path / "store")
    assert [name for name in KINDS if before[name] != after[name]] == ["shoes"]
    assert accounted(manifest_of(tmp_path / "store"), 40)
    again = run(config(), category="shoes")
    assert again.status == "unchanged"
    run(config(store="fresh"))
    assert answers(tmp_path / "store", "shoes") == answers(tmp_path / "fresh", "shoes")
    run(config())
    assert answers(tmp_path / "store") == answers(tmp_path / "fresh")
    assert manifest_of(tmp_path / "store").content == manifest_of(tmp_path / "fresh").content


def test_a_first_run_may_be_of_one_category(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """The empty store gets that partition alone; the next category joins it."""
    write(tmp_path, rows)
    assert run(config(), category="toys").rows_embedded == 13
    assert list(entries(tmp_path / "store")) == ["toys"]
    second = run(config(), category="fruit")
    assert (second.rows_embedded, second.rows_in_snapshot) == (14, 27)
    assert list(entries(tmp_path / "store")) == ["fruit", "toys"]
    assert accounted(manifest_of(tmp_path / "store"), 27)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("encoders.text.dim=64", "text"),
        ("fusion.text_weight=0.3", "fusion"),
        ("catalog.attributes=[title, photo]", "attributes"),
        ("catalog.partition_levels=2", "catalog.partition_levels"),
        ("catalog.columns.title=kind", "catalog.columns"),
        ("catalog.text=[kind]", "catalog.text"),
        ("catalog.more_images=photo", "catalog.more_images"),
        ("catalog.max_text_chars=5", "catalog.max_text_chars"),
        ("catalog.image_root=.", "catalog.image_root"),
    ],
)
def test_a_category_is_not_mixed_with_others_read_or_encoded_otherwise(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str], override: str, named: str
) -> None:
    """One category under other settings is refused before any work, and what differs is named."""
    write(tmp_path, rows)
    run(config())
    before = everything(tmp_path / "store")
    encoded.clear()
    with pytest.raises(InputError) as caught:
        run(config(override), category="toys")
    assert caught.value.exit_code == 2
    assert caught.value.expected.startswith(f"{named} as in the published snapshot")
    assert caught.value.came.startswith(f"{named}: ")
    assert not encoded
    assert everything(tmp_path / "store") == before


def test_a_category_run_after_the_fusion_moved(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """The same fusion in another folder is the published one; another one is refused, in the same folder too."""
    write(tmp_path, rows)
    identities = [tower.identity for tower in towers(config()) if tower]

    def using(folder: str) -> Config:
        return config(f"fusion={{type: transformer, model: {tmp_path / folder}}}")

    random_fusion(tmp_path / "here", "transformer", 256, 0, identities)
    run(using("here"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert run(using("there"), category="toys").rows_in == 13
    (tmp_path / "there").rename(tmp_path / "kept")
    for folder in ("here", "there"):
        random_fusion(tmp_path / folder, "transformer", 256, 1, identities)
        with pytest.raises(InputError, match="fusion as in the published snapshot"):
            run(using(folder), category="toys")


def test_a_category_run_after_an_encoder_moved(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """The same model in another folder is the published encoder; another model in its place is not."""
    write(tmp_path, rows)

    def using(folder: str) -> Config:
        return config(f"encoders.text={{type: hf_text, max_tokens: 16, model: {tmp_path / folder}}}")

    text_model(tmp_path / "here", "bert")
    run(using("here"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert run(using("there"), category="toys").rows_in == 13
    text_model(tmp_path / "here", "distilbert")
    with pytest.raises(InputError, match="text as in the published snapshot"):
        run(using("here"), category="toys")


def test_rows_that_moved_to_another_category(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """A run of the new category alone would have them twice and is refused; after the old one's they are found once."""
    write(tmp_path, rows)
    run(config())
    before = (tmp_path / "store" / "CURRENT").read_bytes()
    for row in rows[:9:3]:
        row["kind"] = "toys"
    write(tmp_path, rows)
    with pytest.raises(GateError) as caught:
        run(config(), category="toys")
    assert caught.value.exit_code == 3
    assert caught.value.came.startswith("ids_unique 3 (3 ids in more than one place, such as 'p00'; run the whole ")
    assert (tmp_path / "store" / "CURRENT").read_bytes() == before
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


def test_a_category_run_builds_its_own_index_alone(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """New settings of the index are for the category only: the others' indexes stay the published ones."""
    write(tmp_path, rows)
    run(config())
    before = entries(tmp_path / "store")
    report = run(config("index.seed=9"), category="shoes")
    after = entries(tmp_path / "store")
    assert (report.status, report.indexes_reused, report.partitions[0].reused) == ("published", 2, True)
    assert [name for name in KINDS if before[name] != after[name]] == ["shoes"]
    assert len(list((tmp_path / "store" / "indexes").iterdir())) == 4
    assert [gate.name for gate in report.gates if not gate.passed] == []


def test_a_device_that_the_encoders_do_not_use_is_refused(
    tmp_path: Path, rows: Rows, config: Callable[..., Config]
) -> None:
    """A GPU asked for, whether there is one or not, is no reason to publish from the CPU without a word."""
    write(tmp_path, rows)
    with pytest.raises(InputError, match=r"came: encoders.device=cuda:7\nto do: set encoders.device=cpu"):
        run(config("encoders.device=cuda:7"))
    assert not (tmp_path / "store" / "CURRENT").exists()


@pytest.mark.parametrize("kind", ["CURRENT", "snapshots"])
def test_a_damaged_current_or_manifest_is_mended_by_hand(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str], kind: str
) -> None:
    """Each run says so and changes nothing, without CURRENT too; one that is to start anew encodes nothing."""
    write(tmp_path, rows)
    run(config())
    before = answers(tmp_path / "store")
    current = tmp_path / "store" / "CURRENT"
    damaged = current if kind == "CURRENT" else next((tmp_path / "store" / kind).iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-9])
    for _ in range(2):
        with pytest.raises(IntegrityError) as caught:
            run(config())
        assert "CURRENT" in caught.value.fix
    current.unlink()
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
