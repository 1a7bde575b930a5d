"""Runs that make other bits of equal inputs, as networks do on another batch: no name ever has two contents."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from encoders.types.hashed_text import HashedText
from index_builders.rows import training_set
from tests.support.command import run_titles, vitrine, write_titles
from tests.support.kept_files import KeptFiles
from tests.support.nights import SMALL, titles
from tests.support.stores import manifest_of

ROWS = titles(700)
TRAINED = (*SMALL, "index.large={type: ivf_pq, nlist: 8, nbits: 4}", "shards.unit_rows=350")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two shards and a trained index. Tests must not change it."""
    folder = tmp_path_factory.mktemp("first")
    assert publish(folder).exit_code == 0
    return folder


@pytest.fixture
def folder(first: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(first, tmp_path / "copy"))


def publish(folder: Path, *more: str) -> Result:
    """A run of the same titles, in two units."""
    return run_titles(write_titles(folder / "c.parquet", ROWS, 350), folder / "store", *TRAINED, *more)


def nudge(patch: pytest.MonkeyPatch, text: str) -> None:
    """The text tower gives `text` a vector that is one unit in the last place of float16 shorter in one coordinate."""
    forward = HashedText.forward

    def nudged(self: HashedText, chunk: Any, role: Any) -> Any:
        vectors = forward(self, chunk, role)
        for row in (row for row, one in enumerate(chunk) if one == text):
            at = np.argmax(np.abs(vectors[row]))
            vectors[row, at] = np.nextafter(np.float16(vectors[row, at]), np.float16(0))
        return vectors

    patch.setattr(HashedText, "forward", nudged)


def retrain_otherwise(patch: pytest.MonkeyPatch) -> None:
    """Clusterings start from other rows, under the same settings: as with another FAISS, or other threads."""
    real = training_set.coarse_centroids

    def other(xt: Any, nlist: int, metric: Any, seed: int, compute: Any) -> Any:
        return real(xt, nlist, metric, seed + 1, compute)

    patch.setattr(training_set, "coarse_centroids", other)


def shards_of(store: Path) -> list[str]:
    return [one.path for one in manifest_of(store).files() if one.path.startswith("shards/")]


def check_all(store: Path) -> None:
    done = vitrine("verify", store, "--all")
    assert done.exit_code == 0, done.stderr


def lose_shard(store: Path) -> Path:
    return store / shards_of(store)[0]


def lose_record(store: Path) -> Path:
    """The record of the first shard: without it nobody knows what its vectors are of."""
    (record,) = [one for one in store.glob("shards/*.json") if shards_of(store)[0] in one.read_text()]
    return record


LOSSES = {
    "its file": (lose_shard, ()),
    "its file, no parent": (lose_shard, ("--no-parent",)),
    "its record, no parent": (lose_record, ("--no-parent",)),  # the manifest of a parent has it
}


@pytest.mark.parametrize(("lost", "more"), LOSSES.values(), ids=LOSSES.keys())
def test_other_last_bits_are_another_shard_and_index(
    lost: Callable[[Path], Path], more: tuple[str, ...], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a shard is not used again, and one text gets other last bits, shard and index have new names; those of
    before stand as they were, and with what was lost put back both snapshots verify.
    """
    store = folder / "store"
    kept, old = KeptFiles(store), manifest_of(store)
    kept.remember()
    before, place = shards_of(store), lost(store)
    place.rename(tmp_path / "lost")
    nudge(monkeypatch, ROWS[0])
    done = publish(folder, *more)
    assert done.exit_code == 0, done.stderr
    new = manifest_of(store)
    assert shards_of(store)[1:] == before[1:]
    assert shards_of(store)[0] != before[0]
    assert new.partitions[0].index.name != old.partitions[0].index.name
    assert not place.exists()
    (tmp_path / "lost").rename(place)
    kept.check()
    check_all(store)


@pytest.mark.parametrize(
    ("lost", "more"), [("gone", ()), ("damaged", ("--no-parent",))], ids=["gone, on top", "damaged, no parent"]
)
def test_an_index_that_comes_out_otherwise_has_another_name(
    lost: str, more: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose record alone is lost has it written again as the parent's manifest says. Without a parent it is built
    again: where that gives other bytes, the one before stays as it was.
    """
    store = folder / "store"
    kept = KeptFiles(store)
    kept.remember()
    index = manifest_of(store).partitions[0].index
    (record,) = [one for one in store.glob("indexes/*/record.json") if index.files["index"].path in one.read_text()]
    whole = record.read_bytes()
    if lost == "gone":
        record.unlink()
    else:
        record.write_bytes(whole[:-9])
    retrain_otherwise(monkeypatch)
    done = publish(folder, *more)
    assert done.exit_code == 0, done.stderr
    again = manifest_of(store).partitions[0].index
    if more:
        assert again.files["index"].blake3 != index.files["index"].blake3
        assert (again.inputs, again.name == index.name) == (index.inputs, False)
        record.write_bytes(whole)
    else:
        assert (again, record.read_bytes()) == (index, whole)
    kept.check()
    check_all(store)
