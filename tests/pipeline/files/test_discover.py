"""Which files a catalog has: known by their content, and whatever is left out is named wherever a user looks."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lookup
from foundation.errors import InputError
from pipeline.files.discover import find_files
from tests.support.command import TITLES_ONLY, run_titles, told, vitrine, write_titles
from tests.support.stores import last_log, manifest_of

WHOLE = ("000000000000", "20260101_query_0_0", "B.PARQUET", "d.pq", "part-00000.snappy.parquet", "deep/part-0001")


def write_parts(folder: Path, names: tuple[str, ...] = WHOLE) -> Path:
    """A Parquet file of one row under each name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": [name], "title": ["red dress"]}), folder / name)
    return folder


def plan(catalog: object) -> dict[str, Any]:
    """What `vitrine plan --json` says of a catalog of titles."""
    where = (f"catalog.path={catalog}", "store.path=unused", "--json")
    done = vitrine("plan", "-c", "configs/weightless.yaml", *TITLES_ONLY, *where)
    assert done.exit_code == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_files_are_known_by_content_and_what_is_left_out_is_named_everywhere(tmp_path: Path) -> None:
    """Parts of every writer are read whatever their names; a CSV, an empty or unfinished file, a backup, a checksum, a
    pipe, a socket and a broken link are named by plan, run, log, report and run.json; `_` and `.` are silent.
    """
    catalog = write_parts(tmp_path / "catalog")
    (catalog / "prices.csv").write_text("id,price\n1,2\n")
    (catalog / "part-0009").touch()
    (catalog / "part-0002.crc").write_bytes(b"crc\x00\x01\x02")
    write_parts(catalog, ("e.parquet.tmp", "f.parquet.bak", "_old.parquet", ".g.parquet", "_temporary/h.parquet"))
    (catalog / "_SUCCESS").touch()
    os.mkfifo(catalog / "pipe.parquet")
    (catalog / "gone.parquet").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.path.relpath(catalog / "door"))
        said = plan(catalog)
        done = run_titles(catalog, tmp_path / "store")
    assert done.exit_code == 0, done.stderr
    left_out = (
        "prices.csv",
        "part-0009",
        "part-0002.crc",
        "e.parquet.tmp",
        "f.parquet.bak",
        "pipe.parquet",
        "gone",
        "door",
    )
    report = json.loads(last_log(tmp_path / "store", "run.json"))
    assert said["rows"] == report["rows_in"] == report["rows_embedded"] == len(WHOLE)
    for notices in (said["notices"], report["notices"]):
        assert [(one["what"], one["count"]) for one in notices] == [("files_left_out", len(left_out))]
    pages = [last_log(tmp_path / "store", name) for name in ("log.txt", "report.html", "run.json", "plan.json")]
    for page in (done.stdout, json.dumps(said), *pages):
        assert all(name in page for name in left_out), page
        assert not any(name in page for name in ("_SUCCESS", ".g.parquet", "_temporary", "_old"))
    metrics = last_log(tmp_path / "store", "metrics.prom")
    assert re.search(r'^vitrine_run_notices\{.*what="files_left_out"\} 8.0$', metrics, re.MULTILINE)


def test_links_are_followed_and_nothing_is_read_twice(tmp_path: Path) -> None:
    """A linked folder and a linked file are read; a loop, and what a second name leads to, are named and left out."""
    elsewhere = write_parts(tmp_path / "elsewhere", ("a.parquet",))
    catalog = write_parts(tmp_path / "catalog", ("b.parquet", "deep/c.parquet"))
    (catalog / "linked").symlink_to(elsewhere)
    (catalog / "one.parquet").symlink_to(write_parts(tmp_path / "other", ("d.parquet",)) / "d.parquet")
    (catalog / "deep" / "loop").symlink_to(catalog)
    os.link(catalog / "b.parquet", catalog / "zz.parquet")
    found = find_files(str(catalog))
    names = [str(Path(file.path).relative_to(catalog)) for file in found.files]
    assert names == ["b.parquet", "deep/c.parquet", "linked/a.parquet", "one.parquet"]
    said = [(str(Path(path).relative_to(catalog)), why) for path, why in found.left_out]
    assert said == [
        ("deep/loop", f"the same folder as {catalog}"),
        ("zz.parquet", f"the same file as {catalog / 'b.parquet'}"),
    ]


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("a.parquet", b"id,title\n1,tea\n", ["a.parquet: text: CSV", "vitrine import"]),
        ("part-7", b"PAR1 and no end", ["part-7: Parquet without its end"]),
        ("part-8", b"an end, no beginning PAR1", ["part-8: Parquet with a damaged beginning"]),
        ("part-9", b"PARE" + bytes(20) + b"PARE", ["part-9: encrypted Parquet", "without encryption"]),
    ],
)
def test_what_was_meant_to_be_parquet_and_is_not_is_an_error(
    tmp_path: Path, name: str, raw: bytes, words: list[str]
) -> None:
    """Rows of a cut, damaged, encrypted or misnamed file would be missing: exit 2, with the file and what to do."""
    catalog = write_parts(tmp_path / "catalog")
    (catalog / name).write_bytes(raw)
    done = run_titles(catalog, tmp_path / "store")
    assert done.exit_code == 2
    assert all(word in "\n".join(told(done.stderr)) for word in words), done.stderr


def test_a_csv_alone_is_refused_with_what_makes_it_parquet(tmp_path: Path) -> None:
    """A catalog of CSV, as a file or in a folder, ends with exit 2 and a command that converts it."""
    (tmp_path / "feed").mkdir()
    (tmp_path / "feed" / "feed.csv").write_text("id;title\n0012;tea\n")
    for path in (tmp_path / "feed", tmp_path / "feed" / "feed.csv"):
        done = run_titles(path, tmp_path / "store")
        expected, came, fix = told(done.stderr)
        assert (done.exit_code, "Parquet file" in expected, "feed.csv: text: CSV" in came) == (2, True, True)
        assert "vitrine import" in fix


def test_a_table_whose_log_decides_which_files_count_is_refused(tmp_path: Path) -> None:
    """Reading every file of a Delta table would bring back rows that were deleted; a glob reads them on purpose."""
    catalog = write_parts(tmp_path / "catalog", ("a.parquet",))
    (catalog / "_delta_log").mkdir()
    done = run_titles(catalog, tmp_path / "store")
    assert done.exit_code == 2
    assert "a Delta table" in told(done.stderr)[1]
    assert plan(catalog / "*.parquet")["rows"] == 1


def test_a_glob_of_folders_reads_what_is_in_them(tmp_path: Path) -> None:
    """Folders that a glob matches are walked, as their files would be; what it matches and is no Parquet is named."""
    for number in range(3):
        write_titles(tmp_path / f"day-{number}" / "part", ["tea"])
    (tmp_path / "day-notes.txt").write_text("nothing")
    found = find_files(str(tmp_path / "day-*"))
    assert [Path(file.path).parent.name for file in found.files] == ["day-0", "day-1", "day-2"]
    assert [(Path(path).name, why) for path, why in found.left_out] == [("day-notes.txt", "text")]


def test_objects_of_a_bucket_are_known_by_content_too(tmp_path: Path) -> None:
    """On a file system that is not this machine's, both ends of each object decide; a cut one is an error."""
    fs = fsspec.filesystem("memory")
    whole = write_titles(tmp_path / "a", ["tea"]).read_bytes()
    for name, raw in {"0000": whole, "deep/B.PARQUET": whole, "x.csv": b"a,b", "_SUCCESS": b"", "empty": b""}.items():
        fs.pipe(f"/feed/{name}", raw)
    found = find_files("memory://feed")
    assert [file.path for file in found.files] == ["memory:///feed/0000", "memory:///feed/deep/B.PARQUET"]
    assert found.left_out == (("memory:///feed/empty", "empty: 0 bytes"), ("memory:///feed/x.csv", "text: CSV"))
    fs.pipe("/feed/cut", whole[:-9])
    with pytest.raises(InputError, match="cut: Parquet without its end"):
        find_files("memory://feed")
    fs.rm("/feed", recursive=True)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError("Access Denied"), ["an object that may be read", "PermissionError: Access Denied"]),
        (FileNotFoundError("no key"), ["as long as it is listed", "FileNotFoundError: no key"]),
        (TimeoutError(), ["that gives what it lists", "TimeoutError", "see whether it can be reached"]),
    ],
)
def test_an_object_that_a_bucket_does_not_give_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: list[str]
) -> None:
    """What a bucket raises for one of the objects that it listed ends plan in three parts with the object's name."""
    fs = fsspec.filesystem("memory")
    for name in ("a", "b"):
        fs.pipe(f"/feed/{name}", write_titles(tmp_path / name, ["tea"]).read_bytes())

    def given(path: str, start: int | None = None, end: int | None = None) -> bytes:
        if path.endswith("b"):
            raise error
        return bytes(fs.store[path].getbuffer()[start:end])

    monkeypatch.setattr(type(fs), "cat_file", lambda _, *arguments: given(*arguments))
    done = run_titles("memory://feed", tmp_path / "store")
    fs.rm("/feed", recursive=True)
    assert done.exit_code == (2 if isinstance(error, PermissionError) else 1)
    message = "\n".join(told(done.stderr))
    assert all(word in message for word in ["memory:///feed/b: ", *words]), message


def test_a_folder_of_a_bucket_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec's walk would leave it out without a word, and its rows with it."""
    fs = fsspec.filesystem("memory")
    for name in ("a/1", "b/1"):
        fs.pipe(f"/feed/{name}", write_titles(tmp_path / name, ["tea"]).read_bytes())
    listed = type(fs).ls

    def ls(self: Any, path: str, *more: Any, **named: Any) -> Any:
        if path.endswith("/b"):
            raise PermissionError(13, "Access Denied", path)
        return listed(self, path, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(type(fs), "ls", ls)
        patched.setattr(type(fs), "find", fsspec.AbstractFileSystem.find)  # as most drivers have it
        done = run_titles("memory://feed", tmp_path / "store")
    fs.rm("/feed", recursive=True)
    assert done.exit_code == 1, done.stderr
    assert "Access Denied: '/feed/b'" in told(done.stderr)[1]


def test_a_category_in_the_path_only(tmp_path: Path) -> None:
    """Folders like `kind=Home%20%26%20Garden` are a column; the name that stands for null is null; it is told."""
    for name in ("Shoes", "Home%20%26%20Garden", "__HIVE_DEFAULT_PARTITION__"):
        write_titles(
            tmp_path / "c" / f"kind={name}" / "part-0", [f"red {name}", "blue shoe"], id=[name + "1", name + "2"]
        )
    more = ("catalog.partition=kind", "catalog.attributes=[title,kind]")
    done = run_titles(tmp_path / "c", tmp_path / "store", *more)
    assert done.exit_code == 0, done.stderr
    assert {one.name: one.rows for one in manifest_of(tmp_path / "store").partitions} == {
        "Home & Garden": 2,
        "Shoes": 2,
        "_none": 2,
    }
    assert "columns read from folders like `name=value`:" in done.stdout
    hits = lookup.open(str(tmp_path / "store")).search("red", k=9, where="kind = Shoes")
    assert {hit.attributes["kind"] for hit in hits} == {"Shoes"}


def test_a_column_that_older_files_lack(tmp_path: Path) -> None:
    """It is null in their rows, and told; its type is that of the others. One that no file has is an error."""
    write_titles(tmp_path / "c" / "2025", ["red tea"], id=["a"])
    write_titles(tmp_path / "c" / "2026", ["red jam"], id=["b"], price=[2.5])
    more = ("catalog.attributes=[title,price]", "catalog.partition=null")
    done = run_titles(tmp_path / "c", tmp_path / "store", *more)
    assert done.exit_code == 0, done.stderr
    assert f"price: {tmp_path / 'c' / '2025'}" in done.stdout
    reader = lookup.open(str(tmp_path / "store"))
    assert {hit.id: hit.attributes["price"] for hit in reader.search("red", k=9)} == {"a": None, "b": 2.5}
    assert [hit.id for hit in reader.search("red", k=9, where="price < 3")] == ["b"]
    refused = run_titles(tmp_path / "c", tmp_path / "store", "catalog.attributes=[title,prices]")
    assert refused.exit_code == 2
    assert "no column 'prices'" in told(refused.stderr)[1]


def test_a_file_that_says_otherwise_than_its_folder_is_told(tmp_path: Path) -> None:
    """What the file says counts, as before; plan and run name the column, the file and both values."""
    for folder, kind, month in (("Shoes/month=01", "Hats", 1), ("Lamps/month=02", "Lamps", 2)):
        write_titles(tmp_path / f"c/kind={folder}/a.parquet", ["red dress", "blue shoe"],
                     id=[f"{kind}1", f"{kind}2"], kind=[kind] * 2, month=[month] * 2)  # fmt: skip
    words = ("catalog.partition=kind", "catalog.attributes=[title, month]")
    done = run_titles(tmp_path / "c", tmp_path / "s", *words)
    assert done.exit_code == 0, done.stderr
    given = (*TITLES_ONLY, f"catalog.path={tmp_path / 'c'}", f"store.path={tmp_path / 's'}", *words)
    planned = vitrine("plan", "-c", "configs/weightless.yaml", *given)
    for said in (planned.stdout, last_log(tmp_path / "s", "log.txt")):
        assert said.count("in its first rows") == 1
        assert "kind=Shoes/month=01/a.parquet has 'Hats' in its first rows, and the folder 'Shoes'" in said
    assert [one.name for one in manifest_of(tmp_path / "s").partitions] == ["Hats", "Lamps"]


def test_folders_that_are_not_utf8_stay_apart(tmp_path: Path) -> None:
    """Two values that cannot be unquoted are not one."""
    for folder in ("%FE", "%FF", "caf%C3%A9"):
        name = folder.strip("%")
        write_titles(tmp_path / f"c/kind={folder}/a.parquet", ["red dress", "blue shoe"], id=[f"{name}1", f"{name}2"])
    done = run_titles(tmp_path / "c", tmp_path / "s", "catalog.partition=kind")
    assert done.exit_code == 0, done.stderr
    assert [one.name for one in manifest_of(tmp_path / "s").partitions] == ["%FE", "%FF", "caf\u00e9"]
