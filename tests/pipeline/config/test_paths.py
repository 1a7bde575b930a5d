"""Catalog, photos and store lie apart, or the config is refused: a store's own Parquet is no catalog."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.paths import path_problems, place_of
from tests.support.command import TITLES_ONLY, run_titles, told, vitrine, write_titles
from tests.support.stores import publications

TITLES = ["red dress", "blue shoe", "green lamp"]
SHOWN = ("config", "show", "-c", "configs/weightless.yaml", "catalog.image_root=null")


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `feed` of two catalog files, one of them deeper, with links to it and from it. Not to be changed."""
    folder = tmp_path_factory.mktemp("paths")
    write_titles(folder / "feed" / "a.parquet", TITLES)
    write_titles(folder / "feed" / "deep" / "b.parquet", TITLES)
    (folder / "link").symlink_to(folder / "feed")
    (folder / "feed" / "out").symlink_to(folder / "elsewhere")
    (folder / "elsewhere").mkdir()
    return folder


# catalog.path, store.path, and the key that is wrong; None: they lie apart
LAID_OUT = [
    ("feed", "feed/store", "store.path"),
    ("feed", "feed", "store.path"),
    ("feed/", "./feed/../feed/deep/store", "store.path"),
    ("feed", "link/store", "store.path"),
    ("link", "feed/store", "store.path"),
    ("file://{0}/feed", "feed/store", "store.path"),
    ("{0}/feed", "file://{0}/link/store", "store.path"),
    ("feed/deep", "feed", "store.path"),
    ("feed/a.parquet", "feed", "store.path"),
    ("feed/*.parquet", "feed", "store.path"),
    ("feed/**", "feed/store", "store.path"),
    ("feed/**/*.parquet", "feed/deep/store", "store.path"),
    ("feed/*/*/*.parquet", "feed/store", "store.path"),
    ("feed/d*/*.parquet", "feed/deep", "store.path"),
    ("feed/d*/*.parquet", "feed/store", None),
    ("feed/*.parquet", "feed/store", None),
    ("feed/a.parquet", "feed/store", None),
    ("feed", "feed-store", None),
    ("feed", "store", None),
    ("feed", "feed/out", None),
    ("feed", "feed/out/store", None),
    ("s3://shop/feed", "s3://shop/feed/store", "store.path"),
    ("s3://shop/feed/", "s3a://shop/feed//store", "store.path"),
    ("s3://shop/feed/*/*.parquet", "s3://shop/feed/x", "store.path"),
    ("s3://shop/feed/a.parquet", "s3://shop/feed/store", None),
    ("s3://shop/feed", "s3://shop/feeds", None),
    ("s3://shop/feed", "gs://shop/feed/store", None),
    ("s3://shop/feed", "s3://store", None),
    ("s3://shop", "s3://shop/store", "store.path"),
    ("abfs://shop@account.dfs.core.windows.net/feed", "az://shop/feed/store", "store.path"),
]


@pytest.mark.parametrize(("catalog", "store", "key"), LAID_OUT)
def test_a_store_among_the_catalogs_files_is_refused(
    catalog: str, store: str, key: str | None, feed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the two are spelled, exit 2 names the key, both places and one beside; neighbours are let through."""
    shown = [word if "/" not in word else os.path.abspath(word) for word in SHOWN]
    monkeypatch.chdir(feed)
    catalog, store = catalog.format(feed), store.format(feed)
    done = vitrine(*shown, f"catalog.path={catalog}", f"store.path={store}")
    assert done.exit_code == (2 if key else 0), done.stderr
    if key:
        came = told(done.stderr)[1]
        assert came.startswith(f"1 problem:\n  {key}\n")
        assert all(word in came for word in (catalog, store, "set store.path to a folder"))


def test_the_folder_that_is_offered_fits(feed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the message says to set is let through."""
    monkeypatch.chdir(feed)
    refused = [(catalog.format(feed), store.format(feed)) for catalog, store, key in LAID_OUT if key]
    assert len(refused) > 10
    for catalog, store in refused:
        (problem,) = path_problems(catalog, None, store)
        offered = problem.fix.rpartition("such as ")[2]
        assert not list(path_problems(catalog, None, offered)), offered


def test_photos_in_the_store_are_refused_and_a_store_beside_photos_is_not(tmp_path: Path) -> None:
    """image_root inside of the store is the key to correct; a store under the photos' folder disturbs nobody."""
    write_titles(tmp_path / "feed" / "a.parquet", TITLES)
    where = (f"catalog.path={tmp_path / 'feed'}", f"store.path={tmp_path / 'store'}")
    for root, code in ((tmp_path / "store" / "photos", 2), (tmp_path / "store", 2), (tmp_path, 0)):
        done = vitrine("config", "show", "-c", "configs/weightless.yaml", *where, f"catalog.image_root={root}")
        assert done.exit_code == code, done.stderr
        assert code == 0 or "\n  catalog.image_root\n" in told(done.stderr)[1]


def test_every_command_refuses_before_it_makes_anything(tmp_path: Path) -> None:
    """plan, run and both trainings end with exit 2, and neither a store nor a model was begun."""
    write_titles(tmp_path / "feed" / "a.parquet", TITLES)
    for command in (["plan"], ["run"], ["train", "--from", "builtin", "--out", "x"], ["train", "fusion", "--out", "x"]):
        where = (f"catalog.path={tmp_path / 'feed'}", f"store.path={tmp_path / 'feed' / 'store'}")
        done = vitrine(*command, "-c", "configs/weightless.yaml", *where, "catalog.image_root=null")
        assert done.exit_code == 2
        assert "store.path" in told(done.stderr)[1]
    assert sorted(path.name for path in (tmp_path / "feed").iterdir()) == ["a.parquet"]


def test_a_second_night_beside_the_catalog_file(tmp_path: Path) -> None:
    """A catalog of one file with the store in the same folder runs night after night."""
    catalog = write_titles(tmp_path / "feed" / "a.parquet", TITLES)
    for _ in range(2):
        assert run_titles(catalog, tmp_path / "feed" / "store").exit_code == 0


def test_results_are_not_written_into_a_store_or_a_catalog(published: Path, demo: Path, tmp_path: Path) -> None:
    """--html and --out inside of the store, and --out among the catalog's files, are refused, and write nothing."""
    before = publications(published)
    for command in (["search", published, "--text", "red"], ["inspect", published]):
        done = vitrine(*command, "--html", published / "publications" / next(iter(before)))
        assert done.exit_code == 2
        assert "--html" in told(done.stderr)[0]
    assert publications(published) == before
    where = (f"catalog.path={demo / 'catalog'}", f"catalog.image_root={demo}", f"store.path={tmp_path / 'store'}")
    for out in (tmp_path / "store" / "model", demo / "catalog" / "model"):
        for command in (["train", "--from", "builtin"], ["train", "fusion", "fusion.type=transformer"]):
            done = vitrine(*command, "-c", "configs/weightless.yaml", *where, "--out", out)
            assert done.exit_code == 2
            assert "--out" in told(done.stderr)[0]
        assert not out.exists()


STEPS = st.lists(st.sampled_from(["a", "b", ".", "..", "c"]), max_size=6)


@settings(max_examples=200, deadline=None)
@given(STEPS, STEPS)
def test_places_are_compared_as_the_system_resolves_them(catalog: list[str], store: list[str]) -> None:
    """A folder holds another exactly when its real path begins the other's."""
    one, other = ("/".join(["/nowhere/x/y/z", *steps]) for steps in (catalog, store))
    held = (os.path.realpath(other) + "/").startswith(os.path.realpath(one).rstrip("/") + "/")
    assert place_of(one).holds(place_of(other)) == held


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("key", "value", "sign"),
    [
        ("catalog.path", "/tmp/a\\0b", "U+0000"),
        ("catalog.image_root", "/tmp/a\\0b", "U+0000"),
        ("store.path", "/tmp/a\\0b", "U+0000"),
        ("store.path", "a\\nb", "U+000A"),
        ("index.queries", "a\\x1Bb.parquet", "U+001B"),
        ("encoders.text.model", "./a\\0b", "U+0000"),
        ("fusion.model", "./a\\0b", "U+0000"),
    ],
)
def test_a_path_with_a_control_character_is_refused(
    feed: Path, tmp_path: Path, command: str, key: str, value: str, sign: str
) -> None:
    """No system opens NUL, and a message shows nothing of the others: the key, the character and what to do."""
    more = ["encoders.text={type: hf_text, model: x}"] if key.startswith("encoders") else []
    more += ["fusion={type: transformer, model: x}"] if key == "fusion.model" else []
    where = (f"catalog.path={feed / 'feed'}", f"store.path={tmp_path / 'store'}")
    done = vitrine(command, "-c", "configs/weightless.yaml", *TITLES_ONLY, *where, *more, f'{key}="{value}"')
    assert done.exit_code == 2
    expected, came, fix = told(done.stderr)
    assert sign in expected + came
    assert key in expected + came + fix
    assert f"write {key} without it" in came + fix


@pytest.mark.parametrize("command", ["plan", "run", "verify", "inspect"])
@pytest.mark.parametrize("name", ["x" * 300, "x/" * 2500], ids=["name", "whole"])
def test_a_path_that_is_too_long_is_a_matter_of_the_path(feed: Path, tmp_path: Path, command: str, name: str) -> None:
    """It is no disk that somebody could mend: exit 2, and a shorter path is asked for."""
    store = tmp_path / name
    given = ("-c", "configs/weightless.yaml", *TITLES_ONLY, f"catalog.path={feed / 'feed'}", f"store.path={store}")
    done = vitrine(command, *given) if command in ("plan", "run") else vitrine(command, store)
    assert done.exit_code == 2
    expected, came, fix = told(done.stderr)
    assert "at most 255" in expected
    assert name.rstrip("/") in came
    assert "a shorter path" in fix


def test_photo_threads_have_a_most() -> None:
    """A million threads would not start; the bound is told."""
    refused = vitrine(*SHOWN, "catalog.path=feed", "store.path=store", "run.photo_threads=1000000")
    assert refused.exit_code == 2
    assert "less than or equal to 1024" in told(refused.stderr)[0] + told(refused.stderr)[1]
    assert vitrine(*SHOWN, "catalog.path=feed", "store.path=store", "run.photo_threads=1024").exit_code == 0
