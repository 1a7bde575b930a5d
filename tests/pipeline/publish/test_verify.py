"""Every altered byte of a published snapshot is found, told by name, and mended by the next run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest

import lookup
from foundation.errors import IntegrityError
from index_builders.rows import shards
from lookup.store.store import Store
from pipeline.publish.verify import verify_store
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.stores import digests, in_another_second

WORDS = [
    f"{a} {b} {c}" for a in ("red", "blue", "green", "black") for b in range(15) for c in ("dress", "shoe", "lamp")
]
TITLES = [f"{word} number {n}" for n, word in enumerate(WORDS * 4)][:600]
TRAINED = ("index.exact_below=512", "index.large={type: ivf_pq, nlist: 8, nbits: 4}", "shards.unit_rows=300")
FLIPS = 150  # in each file
KINDS = ("publication", "manifest", "segments", "shard", "rejects", "index", "ids", "refine")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog of 600 titles and 12 repeated ids, and its published store. Tests must not change it."""
    folder = tmp_path_factory.mktemp("whole")
    ids = [f"P{number}" for number in range(600)] + [f"P{number}" for number in range(0, 600, 50)]
    titles = [*TITLES, *TITLES[::50]]
    write_titles(folder / "c.parquet", titles, 306, id=ids)
    done = run_titles(folder / "c.parquet", folder / "store", *TRAINED)
    assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    """A copy of that store. Each test damages its own."""
    return Path(shutil.copytree(whole / "store", tmp_path / "store"))


def file_of(kind: str, store: Path) -> Path:
    """A file of the published snapshot of that kind; of several the last, to see that nothing stops at the first."""
    current = Store.open(str(store)).current()
    patterns = {
        "publication": "publications/*.json",
        "manifest": f"snapshots/{current}.json",
        "segments": f"snapshots/{current}.segments",
        "shard": "shards/" + "[0-9a-f]" * 32 + ".parquet",
        "rejects": "shards/*.rejects.parquet",
        "index": "indexes/*/index.faiss",
        "ids": "indexes/*/ids.parquet",
        "refine": "indexes/*/refine.npy",
    }
    return sorted(store.glob(patterns[kind]))[-1]


def test_the_snapshot_has_every_kind_of_file(whole: Path) -> None:
    """What follows guards a snapshot of two shards, rejects and a trained index with refine vectors."""
    store = whole / "store"
    named = Store.open(str(store)).published()[1]
    paths = {file.path for file in named.files()}
    assert {str(file_of(kind, store).relative_to(store)) for kind in KINDS[3:]} <= paths
    assert len(named.shards.entries) == 2
    assert named.rejects() == {"duplicate_id": 12}
    assert vitrine("verify", store).exit_code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_flipped_bit_is_found(kind: str, store: Path) -> None:
    """Of single bits flipped at random in any file, every one fails verification, and the file is named."""
    file = file_of(kind, store)
    good = file.read_bytes()
    rng = np.random.default_rng(KINDS.index(kind))
    for position, bit in zip(rng.integers(0, len(good), FLIPS), rng.integers(0, 8, FLIPS), strict=True):
        bad = bytearray(good)
        bad[position] ^= 1 << bit
        file.write_bytes(bad)
        with pytest.raises(IntegrityError, match=file.name):
            verify_store(str(store))
    file.write_bytes(good)
    verify_store(str(store))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def append(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\n")


def flip(file: Path) -> None:
    bad = bytearray(file.read_bytes())
    bad[len(bad) // 2] ^= 1
    file.write_bytes(bad)


def remove(file: Path) -> None:
    file.unlink()


DAMAGES = [cut, halve, empty, append, flip, remove]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_told_and_no_reader_opens(
    kind: str, damage: Callable[[Path], None], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify` exits 4 with the file, what was written and what is there; readers refuse before FAISS sees a byte."""
    file = file_of(kind, store)
    before, size = digests(store)[str(file.relative_to(store))], file.stat().st_size
    damage(file)
    after = digests(store).get(str(file.relative_to(store)))
    done = vitrine("verify", store)
    assert (done.exit_code, done.stdout) == (4, "")
    expected, came, _ = told(done.stderr)
    named = file.stem if file.exists() or kind != "publication" else "publications/"  # the only one of the store
    assert named in f"{expected} {came}"
    if kind not in ("publication", "manifest"):
        assert f"{size} bytes and blake3 {before}" in expected
        changed = f"{file.stat().st_size} bytes" if file.exists() and file.stat().st_size != size else f"blake3 {after}"
        assert (changed if file.exists() else "no such file") in came
    monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("an index was opened"))
    if kind not in ("shard", "rejects"):  # those are not read to open a snapshot
        with pytest.raises(IntegrityError, match=named):
            lookup.open(str(store))


def test_a_reader_refuses_an_altered_shard_when_it_needs_it(store: Path) -> None:
    """Attributes of hits come from shards: with one altered, a search that needs it fails and names it."""
    reader = lookup.open(str(store))
    for file in sorted((store / "shards").glob("*.parquet")):
        flip(file)
    with pytest.raises(IntegrityError, match="shards/"):
        reader.search(text="red dress")


def test_all_damaged_files_are_named_at_once(store: Path) -> None:
    """verify goes on after the first problem."""
    damaged = [file_of(kind, store) for kind in ("shard", "index", "refine")]
    for file in damaged:
        flip(file)
    expected, came, _ = told(vitrine("verify", store).stderr)
    for file in damaged:
        assert str(file.relative_to(store)) in expected
        assert str(file.relative_to(store)) in came


@pytest.mark.parametrize("kind", KINDS[3:])
@pytest.mark.parametrize("damage", [halve, flip, remove], ids=lambda damage: damage.__name__)
def test_the_next_run_mends(kind: str, damage: Callable[[Path], None], whole: Path, store: Path) -> None:
    """`vitrine run` writes what does not validate anew, byte for byte, and the snapshot stays the published one."""
    before = digests(store)
    damage(file_of(kind, store))
    assert digests(store) != before
    done = run_titles(whole / "c.parquet", store, *TRAINED)
    assert done.exit_code == 0, done.stderr
    after = digests(store)
    records = {name for name in before if name.endswith(".json")}  # an index built again was timed again
    assert {name: after[name] for name in before.keys() - records} == {n: before[n] for n in before.keys() - records}
    assert after.keys() == before.keys()
    assert vitrine("verify", store).exit_code == 0


def test_a_mended_file_with_other_bytes_is_published(whole: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the same rows are written in other bytes (by another pyarrow), they are another file, which a new snapshot
    names.
    """
    real = pq.ParquetWriter

    def other(*arguments: object, **named: object) -> pq.ParquetWriter:
        return real(*arguments, **{**named, "compression": "snappy"})

    file = file_of("shard", store)
    before = digests(store)
    file.unlink()
    monkeypatch.setattr(shards.pq, "ParquetWriter", other)
    assert run_titles(whole / "c.parquet", store, *TRAINED).exit_code == 0
    after = digests(store)
    assert str(file.relative_to(store)) not in after
    assert len(after) == len(before) - 1 + 5  # a shard, its record, a manifest with its segments and a publication
    assert vitrine("verify", store).exit_code == 0


def test_a_valid_manifest_that_says_something_else_is_found(whole: Path, store: Path) -> None:
    """A manifest that parses, but is not the one that was written, is refused by verify, inspect, search and run."""
    file = file_of("manifest", store)
    fields = json.loads(file.read_text())
    for change in ({"dim": 16}, {"shards": fields["shards"][:1]}, {"partitions": []}, {"config": {}}):
        file.write_text(json.dumps({**fields, **change}, indent=1) + "\n")
        for done in (
            vitrine("verify", store),
            vitrine("inspect", store),
            vitrine("search", store, "--text", "red"),
            run_titles(whole / "c.parquet", store, *TRAINED),
        ):
            assert (done.exit_code, done.stdout) == (4, "")
            assert file.name in told(done.stderr)[0]


def test_every_snapshot_that_is_damaged_is_named(whole: Path, store: Path) -> None:
    """`--all` goes on after a manifest or its segments that are lost; without it the published one is whole."""
    first = Store.open(str(store)).current()
    for number in (1, 2):
        in_another_second()
        assert run_titles(whole / "c.parquet", store, *TRAINED, f"index.seed={number}").exit_code == 0
    _, second, _ = Store.open(str(store)).snapshots()
    (store / f"snapshots/{first}.segments").unlink()
    flip(store / f"snapshots/{second}.json")
    assert vitrine("verify", store).exit_code == 0
    done = vitrine("verify", store, "--all")
    assert done.exit_code == 4
    assert all(f"snapshots/{name}" in told(done.stderr)[0] for name in (first, second))
