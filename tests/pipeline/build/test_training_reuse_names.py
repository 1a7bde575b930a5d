"""`index.retrain: auto`: how indexes are named by their training, what damage does, and records of earlier versions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from index_builders.settings import IndexSettings
from lookup.store.entries.index_record import IndexRecord
from pipeline import run as stages
from tests.support.command import vitrine
from tests.support.nights import AUTO, LARGE, OTHER, SMALL, file_of, index_of, night, titles, training_of
from tests.support.stores import make_format_1, manifest_of


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of one run on 1,500 titles. Tests must not change it."""
    folder = tmp_path_factory.mktemp("first")
    assert night(folder, titles(1500)).exit_code == 0
    return folder


@pytest.fixture
def parent(first: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(first, tmp_path / "parent"))


# --- names ---


def test_an_unchanged_catalog_keeps_its_index(parent: Path) -> None:
    """With a training used again too, the next night changes nothing; nor does changing between always and auto."""
    assert night(parent, titles(1450)).exit_code == 0
    kept = index_of(parent)
    assert training_of(parent).reused
    for retrain in ("auto", "always", "auto"):
        done = night(parent, titles(1450), *SMALL, LARGE, f"index.retrain={retrain}")
        assert "unchanged: " in done.stdout, done.stderr
    assert index_of(parent) == kept


def test_always_names_an_index_by_its_rows(tmp_path: Path) -> None:
    """`retrain` and its bounds are no part of the identity of settings; auto on a store of always builds nothing."""
    one = IndexSettings(exact_below=512)
    other = IndexSettings(exact_below=512, retrain="auto", retrain_max_error=2, text_queries=False)
    assert one.identity(1500, 32) == other.identity(1500, 32)
    assert night(tmp_path, titles(1500), *SMALL, LARGE, "index.retrain=always").exit_code == 0
    assert index_of(tmp_path).inputs == training_of(tmp_path).content
    assert "unchanged: " in night(tmp_path, titles(1500)).stdout


def test_an_index_is_named_by_its_training(parent: Path) -> None:
    """Rows that get the same training by another way, through a night between, get the same name and bytes."""
    shutil.copytree(parent / "store", parent / "direct")
    for rows in (1450, 1440):
        assert night(parent, titles(rows)).exit_code == 0
    assert night(parent, titles(1440), store="direct").exit_code == 0
    through, direct = (manifest_of(parent / place).partitions[0].index for place in ("store", "direct"))
    assert (through.name, through.files) == (direct.name, direct.files)
    assert through.training == direct.training


def test_a_killed_run_finds_what_it_built(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended before it published, a run is run again: same name, same bytes as without, and no second build."""
    shutil.copytree(parent / "store", parent / "killed")

    def killed(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages, "_publish", killed)
        assert night(parent, titles(1450), store="killed").exit_code == 130
    done = night(parent, titles(1450), store="killed")
    assert re.search("all .* kept", done.stdout), done.stderr
    assert night(parent, titles(1450)).exit_code == 0
    indexes = {place: manifest_of(parent / place).partitions[0].index for place in ("store", "killed")}
    assert indexes["store"].name == indexes["killed"].name
    assert indexes["store"].files == indexes["killed"].files


def test_partitions_come_and_go(tmp_path: Path) -> None:
    """One category run again has its training, a new one its own, one that vanished leaves nothing behind."""
    parted = (*AUTO, LARGE, "catalog.partition=kind")
    a, b, c = titles(1400), titles(1400, OTHER), titles(700, first=9000)
    night(tmp_path, a + b, *parted, kind=["a"] * 1400 + ["b"] * 1400)
    before = {entry.name: entry.index for entry in manifest_of(tmp_path / "store").partitions}
    assert (
        night(
            tmp_path,
            a[:1380] + b,
            *parted,
            "gates.max_moved_share=1",
            "--category",
            "a",
            kind=["a"] * 1380 + ["b"] * 1400,
        ).exit_code
        == 0
    )
    after = {entry.name: entry.index for entry in manifest_of(tmp_path / "store").partitions}
    assert after["b"] == before["b"]
    assert after["a"].training is not None
    assert (after["a"].training.reused, after["a"].training.trained_by) == (True, before["a"].inputs)
    assert night(tmp_path, a[:1380] + c, *parted, kind=["a"] * 1380 + ["c"] * 700).exit_code == 0
    last = {entry.name: entry.index for entry in manifest_of(tmp_path / "store").partitions}
    assert set(last) == {"a", "c"}
    assert last["a"] == after["a"]
    assert last["c"].training is not None
    assert last["c"].training.reason == "the parent snapshot has no index of this partition"


# --- damage, and records of earlier versions ---


def test_a_damaged_parent_is_not_trained_after(parent: Path) -> None:
    """No night waits for a person: the index is trained anew, which its record and the log say, and goes on from
    there.
    """
    file = file_of(parent, "store")
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    done = night(parent, titles(1450))
    assert done.exit_code == 0, done.stderr
    assert not training_of(parent).reused
    assert str(file.relative_to(parent / "store")) in training_of(parent).reason
    assert vitrine("verify", parent / "store").exit_code == 0
    assert night(parent, titles(1440)).exit_code == 0
    assert training_of(parent).reused


def test_a_damaged_index_of_the_same_rows_is_built_again(parent: Path) -> None:
    """Where it was trained on these rows, training again gives its bytes: nothing is changed, and nothing lost."""
    before = index_of(parent)
    file_of(parent, "store").unlink()
    done = night(parent, titles(1500))
    assert done.exit_code == 0, done.stderr
    assert index_of(parent).files == before.files
    assert index_of(parent).name == before.name


def test_an_index_of_an_earlier_version_is_kept(parent: Path) -> None:
    """Records without what came later still stand: nothing is built again, and a change trains anew once."""
    assert night(parent, titles(1500)).exit_code == 0  # the catalog lies elsewhere
    make_format_1(parent / "store", IndexRecord.later)
    earlier = index_of(parent)
    assert earlier.training is None
    assert night(parent, titles(1500)).exit_code == 0
    assert index_of(parent) == earlier
    assert "unchanged: " in night(parent, titles(1500)).stdout
    assert night(parent, titles(1450)).exit_code == 0
    assert training_of(parent).reason.startswith("an earlier version built the parent's index")
    assert night(parent, titles(1440)).exit_code == 0
    assert training_of(parent).reused
