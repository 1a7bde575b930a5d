"""Files of a store that lie in one another's places, each whole in itself: found by run, open and verify."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import Result

import lookup
from foundation.errors import IntegrityError
from index_builders.fill.threads import threads
from lookup.store.entries.index_record import IndexRecord
from lookup.store.publications.rollback import publish_again
from lookup.store.records import read_record, write_record
from lookup.store.store import Store
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.stores import manifest_of

ROWS = 520
DRESSES, LAMPS = [f"red dress number {n}" for n in range(ROWS)], [f"tall lamp number {n}" for n in range(ROWS)]
TRAINED = (
    "index.exact_below=512",
    "index.large={type: ivf_pq, nlist: 4, nbits: 4}",
    "index.held_out_queries=20",
    "gates.min_recall=0",
    f"shards.unit_rows={ROWS + 6}",
    "catalog.partition=kind",
    "catalog.attributes=[title, price]",
)


def write(path: Path, price: float) -> Path:
    """A dress and a lamp category, alike in every number: a unit of each, with six repeated ids."""
    ids = [f"{kind}{n}" for kind in "DL" for n in [*range(ROWS), *range(6)]]
    titles = [*DRESSES, *DRESSES[:6], *LAMPS, *LAMPS[:6]]
    kinds = [kind for kind in ("dresses", "lamps") for _ in range(ROWS + 6)]
    prices = [price, *[5.0] * (len(ids) - 1)]
    return write_titles(path, titles, ROWS + 6, id=ids, kind=kinds, price=prices)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a published store, and the catalog of the next night. Tests must not change it."""
    folder = tmp_path_factory.mktemp("whole")
    with threads(1):
        done = run_titles(write(folder / "c.parquet", 1.0), folder / "store", *TRAINED)
        assert done.exit_code == 0, done.stderr
        write(folder / "next.parquet", 2.0)
        yield folder


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    """A copy of that store. Each test mixes up its own."""
    return Path(shutil.copytree(whole / "store", tmp_path / "store"))


def places(store: Path, kind: str) -> tuple[Path, Path]:
    """Where the files of a kind lie, of the dresses and of the lamps."""
    manifest = manifest_of(store)
    if kind.startswith("shard"):
        records = manifest.shards.entries
        files = {
            "shard record": [f"shards/{one.name}.json" for one in records],
            "shard": [one.file.path for one in records if one.file],
            "shard rejects": [one.rejects.path for one in records if one.rejects],
        }
        one, other = (store / path for path in files[kind])
        return one, other
    file = {"folder": "", "record": "record.json", "index": "index.faiss", "ids": "ids.parquet", "refine": "refine.npy"}
    one, other = (store / f"indexes/{entry.index.name}/{file[kind]}" for entry in manifest.partitions)
    return one, other


def part_of(path: Path, store: Path) -> str:
    """The shard or the index that a file is of: `shards/7f1d`."""
    kind, name, *_ = path.relative_to(store).parts
    return f"{kind}/{name.partition('.')[0]}"


def swap(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def copy(one: Path, other: Path) -> None:
    if one.is_dir():
        shutil.rmtree(other)
        shutil.copytree(one, other)
    else:
        shutil.copyfile(one, other)


def rename(one: Path, other: Path) -> None:
    if other.is_dir():
        shutil.rmtree(other)
    one.rename(other)


KINDS = ("shard record", "shard", "shard rejects", "folder", "record", "index", "ids", "refine")
MIXES = tuple(itertools.product((swap, copy, rename), KINDS))
Mix = tuple[Callable[[Path, Path], None], str]


def name_of(mix: Mix) -> str:
    return f"{mix[0].__name__} {mix[1]}"


def check_what_is_found(store: Path) -> None:
    """Every hit of a reader that opens is of the category that its place in the index says."""
    try:
        reader = lookup.open(str(store))
        for text, category, letter in (("red dress", "dresses", "D"), ("tall lamp", "lamps", "L")):
            hits = reader.search(text=text, k=30)
            assert {(hit.id[0], hit.partition) for hit in hits} == {(letter, category)}
            assert all(hit.attributes["title"].startswith(text) for hit in hits)
    except IntegrityError as found:
        refused = str(found)
        assert "shards/" in refused or "indexes/" in refused


def check_mended(done: Result, store: Path) -> None:
    """The run published a snapshot that is whole, with each product where it belongs."""
    assert done.exit_code == 0, done.stderr
    assert vitrine("verify", store).exit_code == 0
    reader = lookup.open(str(store))
    prices = {hit.id: hit.attributes["price"] for hit in reader.search(text=DRESSES[0], k=ROWS)}
    assert prices["D0"] == 2.0
    for partition, letter in zip(manifest_of(store).partitions, "DL", strict=True):
        ids = pq.read_table(store / partition.index.files["ids"].path).column("id").to_pylist()
        assert ids == [f"{letter}{n}" for n in range(ROWS)]
    check_what_is_found(store)


def check_mixed_up(mixes: list[Mix], whole: Path, store: Path) -> None:
    for mix, kind in mixes:
        if all(path.exists() for path in places(store, kind)):
            mix(*places(store, kind))
    done = vitrine("verify", store)
    assert (done.exit_code, done.stdout) == (4, "")
    # Of two mixes the second can make the first whole: any of the shards or indexes that they touched is named.
    touched = {part_of(path, store) for _, kind in mixes for path in places(store, kind)}
    assert any(part in told(done.stderr)[0] for part in touched)
    check_what_is_found(store)
    check_mended(run_titles(whole / "next.parquet", store, *TRAINED), store)


@pytest.mark.parametrize("mix", MIXES, ids=name_of)
def test_mixed_up_files_are_found_and_mended(mix: Mix, whole: Path, store: Path) -> None:
    """Whatever is swapped, copied or renamed between two equal categories, verify exits 4, no reader answers wrong, and
    the next night's run publishes each product in its own category.
    """
    check_mixed_up([mix], whole, store)


PAIRS = [pair for pair in itertools.combinations(MIXES, 2) if pair[0][1] != pair[1][1]]


@pytest.mark.nightly
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: " and ".join(map(name_of, pair)))
def test_two_mixes_are_found_and_mended(pair: tuple[Mix, Mix], whole: Path, store: Path) -> None:
    """The same of every two mixes of different kinds of files together."""
    check_mixed_up(list(pair), whole, store)


@pytest.mark.parametrize("seed", range(2))
def test_some_two_mixes_are_found_and_mended(seed: int, whole: Path, store: Path) -> None:
    """The same of a few of them, in every test run."""
    chosen = PAIRS[int(np.random.default_rng(seed).integers(len(PAIRS)))]
    check_mixed_up(list(chosen), whole, store)


# --- what lies in its place, and says the wrong thing ---


def test_an_index_of_other_rows_is_refused(whole: Path, store: Path) -> None:
    """An index in the manifest that was made of the other category's rows: no reader opens it, verify tells. So are ids
    of an earlier version's, which does not say what it was made of. A record that bears its name and lies ends a run
    that has no parent, when that asks its index; else what the parent says of an index counts.
    """
    opened = Store.open(str(store))
    one, other = (entry.index for entry in manifest_of(store).partitions)
    for made in (other.made_of, None):
        wrong = other.model_copy(update={"name": one.name, "inputs": one.inputs, "made_of": made})
        write_record(opened, f"indexes/{one.name}/record.json", wrong)
        assert read_record(opened, f"indexes/{one.name}/record.json", IndexRecord, one.name) == wrong
        done = run_titles(whole / "next.parquet", store, *TRAINED, "--no-parent")
        assert done.exit_code == (3 if made is None else 4)
        assert (other.files["ids"].path if made else "index_rows") in told(done.stderr)[0]
        assert "dresses" in done.stderr
        assert run_titles(whole / "next.parquet", store, *TRAINED).exit_code == 0
        manifest = manifest_of(store)
        assert manifest.partitions[0].index == one
        entry = manifest.partitions[0].model_copy(update={"index": wrong})
        base = opened.latest()
        assert base is not None
        both = (entry, manifest.partitions[1])
        opened.publish(manifest.model_copy(update={"partitions": both, "parent": base.snapshot}), base, "a test")
        assert vitrine("verify", store).exit_code == 4
        with pytest.raises(IntegrityError, match=r"indexes/.*ids\.parquet"):
            lookup.open(str(store)).search(text="red dress")
        publish_again(opened, base.snapshot, "back")


def test_another_index_ids_beside_an_index_are_refused(whole: Path, store: Path) -> None:
    """A record that says rightly what its index was made of, and names the ids of another one, refuses a run that takes
    it up: ids are compared with those of the rows before anything is published.
    """
    one, other = (entry.index for entry in manifest_of(store).partitions)
    wrong = one.model_copy(update={"files": {**one.files, "ids": other.files["ids"]}})
    write_record(Store.open(str(store)), f"indexes/{one.name}/record.json", wrong)
    done = run_titles(whole / "next.parquet", store, *TRAINED, "--no-parent")
    assert done.exit_code == 3
    expected, came, _ = told(done.stderr)
    assert "index_rows <= 0" in expected
    assert "index_rows 1 (partitions whose index was made of other rows than theirs: dresses;" in came


def test_a_hit_that_two_files_tell_apart(whole: Path, store: Path) -> None:
    """An id in the index that is not the shard's at that position ends the search with exit 4, naming both files."""
    opened, manifest = Store.open(str(store)), manifest_of(store)
    one, other = manifest.partitions
    files = {**one.index.files, "ids": other.index.files["ids"]}
    entry = one.model_copy(update={"index": one.index.model_copy(update={"files": files})})
    parent = {"parent": opened.current()}
    opened.publish(manifest.model_copy(update={"partitions": (entry, other), **parent}), opened.latest(), "a test")
    done = vitrine("search", store, "--text", "red dress")
    expected, came, _ = told(done.stderr)
    assert done.exit_code == 4
    assert other.index.files["ids"].path in expected
    assert any(entry.file is not None and entry.file.path in came for entry in manifest.shards.entries)
    done = vitrine("verify", store)
    assert done.exit_code == 4
    assert "'D0'" in told(done.stderr)[1]
    assert "'L0'" in told(done.stderr)[1]


def test_notes_of_another_run_are_not_gone_on_from(whole: Path, store: Path) -> None:
    """Notes of a killed run that were exchanged with one another's, or came from another run, decide nothing."""
    assert run_titles(whole / "next.parquet", store, *TRAINED).exit_code == 0
    one, other = sorted((store / "runs").iterdir())
    for note in ("plan.json", "key.json"):
        shutil.copyfile(one / note, other / note)
    (other / "run.json").unlink()
    assert run_titles(whole / "c.parquet", store, *TRAINED).exit_code == 0
    prices = {hit.id: hit.attributes["price"] for hit in lookup.open(str(store)).search(text=DRESSES[0], k=ROWS)}
    assert prices["D0"] == 1.0
    last = sorted((store / "runs").iterdir())[-1]
    (last / "run.json").unlink()
    swap(*sorted((last / "units").iterdir()))
    assert "unchanged: " in run_titles(whole / "c.parquet", store, *TRAINED).stdout
