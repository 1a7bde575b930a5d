"""Bad input: one message in three parts, the right exit code, and a published snapshot that is left as it was."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3

from lookup.store.manifest import path_of
from lookup.store.store import Store
from tests.support.bounded import arrow_memory
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.stores import digests, publications, publish_by_hand

COLOURS = ("red", "blue", "green", "black", "white")
KINDS = ("dress", "shoe", "lamp", "kite", "apron", "chair", "scarf", "bag")
TITLES = [f"{colour} {kind}" for colour in COLOURS for kind in KINDS]
KIND = [title.split()[1].capitalize() for title in TITLES]
BY_KIND = "catalog.partition=kind"


@pytest.fixture(scope="module")
def titles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good catalog of two row groups and the store of its run. Tests must not change it."""
    folder = tmp_path_factory.mktemp("titles")
    catalog = write_titles(folder / "catalog" / "good.parquet", TITLES, 20, kind=KIND)
    assert run_titles(catalog, folder / "store", BY_KIND).exit_code == 0
    return folder


@pytest.fixture
def place(titles: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(titles, tmp_path / "titles"))


def no_such_file(folder: Path) -> Path:
    return folder / "absent.parquet"


def empty_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "readme.txt").write_text("nothing here")
    return folder


def no_rows(folder: Path) -> Path:
    return write_titles(folder / "a.parquet", [], kind=pa.array([], pa.string()))


def missing_column(folder: Path) -> Path:
    folder.mkdir()
    pq.write_table(pa.table({"id": ["1"], "titles": ["red dress"], "kind": ["Dress"]}), folder / "a.parquet")
    return folder


def missing_id(folder: Path) -> Path:
    folder.mkdir()
    pq.write_table(pa.table({"ids": ["1"], "title": ["red dress"], "kind": ["Dress"]}), folder / "a.parquet")
    return folder


def wrong_type(folder: Path) -> Path:
    folder.mkdir()
    pq.write_table(pa.table({"id": ["1"], "title": [3.5], "kind": ["Dress"]}), folder / "a.parquet")
    return folder


def no_parquet(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.parquet").write_text("id,title\n1,red dress\n")
    return folder


def cut_file(folder: Path) -> Path:
    whole = write_titles(folder / "a.parquet", TITLES, kind=KIND)
    whole.write_bytes(whole.read_bytes()[:-100])
    return folder


def empty_file(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.parquet").write_bytes(b"")
    return folder


CATALOGS: list[tuple[Callable[[Path], Path], Sequence[str]]] = [
    (no_such_file, ["absent.parquet", "does not exist"]),
    (empty_folder, ["at least one Parquet file", "readme.txt: text"]),
    (no_rows, ["at least one row"]),
    (missing_column, ["no column 'title'", "nearest: 'titles'", "catalog.columns.title=titles"]),
    (missing_id, ["no column 'id'", "nearest: 'ids'", "catalog.columns.id=ids; a file that is no part"]),
    (wrong_type, ["column 'title' has the type double"]),
    (no_parquet, ["a Parquet file", "a.parquet"]),
    (cut_file, ["a Parquet file", "a.parquet"]),
    (empty_file, ["at least one Parquet file", "a.parquet: empty"]),
]


@pytest.mark.parametrize(("make", "words"), CATALOGS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_catalog_that_cannot_be_used(
    make: Callable[[Path], Path], words: Sequence[str], place: Path, tmp_path: Path
) -> None:
    """`plan` and `run` say in one message what is wrong with the catalog, exit 2, and the old snapshot stays."""
    before = digests(place / "store")
    catalog = make(tmp_path / "bad")
    done = run_titles(catalog, place / "store", BY_KIND)
    assert (done.exit_code, done.stdout) == (2, "")
    message = "\n".join(told(done.stderr))
    assert all(word in message for word in words), message
    assert digests(place / "store") == before
    assert report_of(place / "store")["exit_code"] == 2
    assert vitrine("verify", place / "store").exit_code == 0


def report_of(store: Path) -> dict[str, object]:
    last = sorted((store / "runs").iterdir())[-1]
    assert (last / "report.html").is_file()
    report: dict[str, object] = json.loads((last / "run.json").read_text())
    return report


def test_a_category_that_does_not_exist(place: Path) -> None:
    """`run`, `plan` and `search` name the nearest categories."""
    catalog, store = place / "catalog", place / "store"
    before = digests(store)
    done = run_titles(catalog, store, BY_KIND, "--category", "Dresss")
    assert done.exit_code == 2
    assert "'Dress'" in told(done.stderr)[0]
    done = vitrine("search", store, "--text", "red", "--category", "Scarv")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "'Scarf'" in told(done.stderr)[0]
    assert digests(store) == before


def test_an_unreadable_row_group(tmp_path: Path) -> None:
    """A damaged page of the catalog: exit 1 and the file named; with the bytes back the run ends as if undisturbed."""
    catalog = write_titles(tmp_path / "catalog" / "a.parquet", TITLES, 20, kind=KIND)
    small_units = (BY_KIND, "shards.unit_rows=20", "run.workers=1")
    assert run_titles(catalog, tmp_path / "undisturbed", *small_units).exit_code == 0

    good, facts = catalog.read_bytes(), catalog.stat()
    group = pq.ParquetFile(catalog).metadata.row_group(1)
    (column,) = (c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == "title")
    start = column.dictionary_page_offset or column.data_page_offset
    bad = bytearray(good)
    end = start + column.total_compressed_size
    bad[end - 8 : end] = bytes(byte ^ 0xFF for byte in bad[end - 8 : end])
    catalog.write_bytes(bad)
    os.utime(catalog, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    store = tmp_path / "store"
    done = run_titles(catalog, store, *small_units)
    assert (done.exit_code, done.stdout) == (1, "")
    assert str(catalog) in told(done.stderr)[0]
    assert not publications(store)
    assert not list((store / "tmp").iterdir())
    assert report_of(store)["status"] == "failed"

    catalog.write_bytes(good)
    os.utime(catalog, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert run_titles(catalog, store, *small_units).exit_code == 0
    assert named_files(store) == named_files(tmp_path / "undisturbed")


def named_files(store: Path) -> dict[str, str]:
    """The files that the published manifest names, and their bytes' digests as they are now."""
    manifest = json.loads(vitrine("inspect", store, "--json").stdout)["manifest"]
    shards = [file for shard in manifest["shards"] for file in (shard["file"], shard["rejects"])]
    indexes = [file for partition in manifest["partitions"] for file in partition["index"]["files"].values()]
    paths = [file["path"] for file in [*shards, *indexes] if file]
    return {path: blake3((store / path).read_bytes()).hexdigest() for path in paths}


# --- queries ---


def test_a_query_photo_that_is_none(published: Path, tmp_path: Path) -> None:
    """A file that is no photo, and one that is absent, are told; the same for a file of queries."""
    (tmp_path / "photo.jpg").write_text("no photo at all")
    for image, word in ((tmp_path / "photo.jpg", "a photo: JPEG"), (tmp_path / "absent.jpg", "absent.jpg")):
        done = vitrine("search", published, "--image", image)
        assert (done.exit_code, done.stdout) == (2, "")
        assert word in "".join(told(done.stderr))
        pq.write_table(pa.table({"image": [image.name]}), tmp_path / "queries.parquet")
        done = vitrine("search", published, "--queries", tmp_path / "queries.parquet")
        assert (done.exit_code, done.stdout) == (2, "")
        assert word in "".join(told(done.stderr))


@pytest.mark.parametrize(
    ("table", "word"),
    [
        (pa.table({"words": ["red"]}), "a column text or image"),
        (pa.table({"text": [1]}), "text: int64"),
        (pa.table({"image": [b"bytes"]}), "image: binary"),
        (pa.table({"text": pa.array([], pa.string())}), "at least one query"),
        (pa.table({"text": ["red", None]}), "neither in row 1"),
    ],
    ids=["no column", "numbers", "bytes", "no row", "empty row"],
)
def test_a_file_of_queries_that_asks_nothing(table: pa.Table, word: str, published: Path, tmp_path: Path) -> None:
    """What is wrong with a queries file is told, exit 2."""
    pq.write_table(table, tmp_path / "queries.parquet")
    done = vitrine("search", published, "--queries", tmp_path / "queries.parquet")
    assert (done.exit_code, done.stdout) == (2, "")
    assert word in "\n".join(told(done.stderr))


def test_queries_and_judgments_are_measured_before_they_are_decoded(published: Path, tmp_path: Path) -> None:
    """2 GB of text in kilobytes, as queries and as judgments: one message, exit 2, and the memory is not taken."""
    n, long = 2100, "red dress " * 100_000
    long_ones = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([long]))
    names = pa.array([f"q{number}" for number in range(n)])
    bomb, fine, judged = (tmp_path / f"{name}.parquet" for name in ("bomb", "fine", "judged"))
    pq.write_table(pa.table({"query_id": names, "text": long_ones}), bomb, compression="zstd", store_schema=False)
    pq.write_table(pa.table({"query_id": names, "text": names}), fine)
    gains = pa.array(np.ones(n, np.int64))
    table = pa.table({"query_id": names, "id": long_ones, "gain": gains})
    pq.write_table(table, judged, compression="zstd", store_schema=False)
    with arrow_memory() as pool:
        done = [
            vitrine("search", published, "--queries", bomb),
            vitrine("eval", published, "--queries", fine, "--qrels", judged),
        ]
    for one, option, path in zip(done, ("--queries", "--qrels"), (bomb, judged), strict=True):
        assert (one.exit_code, one.stdout) == (2, "")
        expected, came, fix = told(one.stderr)
        assert "at most 5,000,000 rows and 268,435,456 bytes" in expected
        assert str(path) in came
        assert option in fix
    assert pool.max_memory() < 400_000_000


def test_queries_come_in_the_forms_of_catalogs(published: Path, tmp_path: Path) -> None:
    """Text as bytes without the mark, and as a dictionary, asks as strings do; bytes that are not UTF-8 are told."""
    forms = (pa.array(["red"]), pa.array([b"red"]), pa.array(["red"]).dictionary_encode(), pa.array([b"\xff"]))
    done = []
    for text in forms:
        pq.write_table(pa.table({"text": text}), tmp_path / "queries.parquet")
        done.append(vitrine("search", published, "--queries", tmp_path / "queries.parquet", "--json"))
    assert [one.exit_code for one in done] == [0, 0, 0, 2]
    ids = [re.findall('"id": "([^"]+)"', one.stdout) for one in done[:3]]
    assert ids[0]
    assert ids[0] == ids[1] == ids[2]
    assert "text in UTF-8" in told(done[3].stderr)[0]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ([], "say what to look for, behind the store"),
        (["--text", " \u200b "], "visible character"),
        (["--text", "\udcff"], "visible character"),
        (["--text", "red", "--queries", "x.parquet"], "leave one out"),
        (["--queries", "absent.parquet"], "absent.parquet"),
    ],
)
def test_a_question_that_cannot_be_asked(options: list[str], word: str, published: Path) -> None:
    """Nothing asked, nothing visible asked, or two things at once: exit 2."""
    done = vitrine("search", published, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert word in "\n".join(told(done.stderr))


def test_a_snapshot_without_photos_says_so(titles: Path, demo: Path) -> None:
    """A photo query to a snapshot of texts is refused with what to set."""
    done = vitrine("search", titles / "store", "--image", demo / "query-photos" / "red-dress.jpg")
    assert done.exit_code == 2
    assert "encoders.image" in told(done.stderr)[2]


# --- stores ---


def refusals(place: Path) -> list[tuple[str, str, str]]:
    """What every command that reads the store says of it: all end with exit code 4 and write nothing."""
    store = place / "store"
    before, said = digests(store), []
    for done in (
        vitrine("verify", store),
        vitrine("inspect", store),
        vitrine("search", store, "--text", "red"),
        run_titles(place / "catalog", store, BY_KIND),
    ):
        assert (done.exit_code, done.stdout) == (4, "")
        said.append(told(done.stderr))
    assert digests(store) == before
    return said


def test_a_store_of_a_newer_format(place: Path) -> None:
    """A manifest of format 3 under its right id: every command exits 4 and tells the format; nothing is written."""
    store = place / "store"
    current = Store.open(str(store)).current() or ""
    manifest = json.loads((store / path_of(current)).read_text())
    newer = json.dumps({**manifest, "format": 3, "unheard_of": []}).encode()
    name = f"{current.rpartition('-')[0]}-{blake3(newer).hexdigest()[:16]}"
    (store / path_of(name)).write_bytes(newer)
    publish_by_hand(store, name)
    assert all("format 3" in came for _, came, _ in refusals(place))


def test_a_store_in_which_nothing_is_published(place: Path, tmp_path: Path) -> None:
    """An empty folder, a folder of something else, and a store before its first snapshot: exit 2, run first."""
    (tmp_path / "empty").mkdir()
    refused = tmp_path / "refused"
    assert (
        run_titles(place / "catalog", refused, BY_KIND, "gates.max_reject_share=0", "catalog.text=[nothing]").exit_code
        == 2
    )
    for store in (tmp_path / "empty", place / "catalog", refused):
        before = sorted(store.rglob("*"))
        for command in (["verify"], ["inspect"], ["search", "--text", "red"]):
            done = vitrine(command[0], store, *command[1:])
            assert (done.exit_code, done.stdout) == (2, "")
            assert "vitrine run" in told(done.stderr)[2]
        assert sorted(store.rglob("*")) == before


JUNK = [
    b"",
    b"\n",
    b"junk\n",
    b"\x00\xff\x00\n",
    b"../../etc/passwd\n",
    b"20200101T000000Z-0123456789abcdef\n",
    b"x" * 99,
]


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_a_pointer_that_names_nothing(junk: bytes, place: Path) -> None:
    """A publication, or CURRENT of a store of format 1, with junk or a snapshot that is not there: exit 4 from every
    command, `run` too, and it stays.
    """
    store = place / "store"
    publish_by_hand(store, junk.decode("latin-1")).write_bytes(junk)
    assert all("publications/0000000002.json" in expected for expected, _, _ in refusals(place))
    publish_by_hand(store, junk.decode("latin-1"))
    assert all("publications/0000000003.json" in expected for expected, _, _ in refusals(place))
    shutil.rmtree(store / "publications")
    (store / "CURRENT").write_bytes(junk)
    assert all("CURRENT" in expected for expected, _, _ in refusals(place))


# --- configs ---


def test_every_problem_of_a_config_at_once(place: Path, tmp_path: Path) -> None:
    """Two problems of a file and one of the command line are in one message, an unknown key with the nearest."""
    text = "catalog: {path: x.parquet, imge: image_link}\nindex: {k: many}\nstore: {path: store}\n"
    (tmp_path / "c.yaml").write_text(text)
    before = digests(place / "store")
    done = vitrine("run", "-c", tmp_path / "c.yaml", f"store.path={place / 'store'}", "run.wrkers=2")
    assert (done.exit_code, done.stdout) == (2, "")
    came = told(done.stderr)[1]
    assert came.startswith("3 problems:")
    assert all(key in came for key in ("catalog.imge", "index.k", "run.wrkers"))
    assert "did you mean catalog.image?" in came
    assert "did you mean run.workers?" in came
    assert digests(place / "store") == before
    assert len(list((place / "store" / "runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("url", "word"), [("nope://bucket/catalog", "nope"), ("nope://bucket/*.parquet", "nope")], ids=["folder", "glob"]
)
def test_a_catalog_address_that_nothing_can_read(url: str, word: str, tmp_path: Path) -> None:
    """A URL of an unknown kind is told in three parts, exit 2."""
    done = run_titles(Path("unused"), tmp_path / "store", f"catalog.path={url}")
    assert (done.exit_code, done.stdout) == (2, "")
    assert word in told(done.stderr)[1]
