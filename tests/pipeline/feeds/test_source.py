"""Where a feed may come from, and as what."""

from __future__ import annotations

import bz2
import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from pipeline.feeds.catalog_file import CatalogFile
from tests.support.command import told, vitrine
from tests.support.feeds import column, import_rows, imported

TEXT = "id,title\n" + "".join(f"{n},title {n}\n" for n in range(2_000))
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip in two members": lambda raw: gzip.compress(raw[:5000]) + gzip.compress(raw[5000:]),
    "zstd": lambda raw: pa.compress(raw, "zstd", asbytes=True),
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("packed", PACKED)
def test_compression_is_known_by_content(packed: str, tmp_path: Path) -> None:
    """A name that says something else changes nothing."""
    rows, _ = import_rows(tmp_path, PACKED[packed](TEXT.encode()), name="feed.csv.old")
    assert column(rows, "title") == [f"title {n}" for n in range(2_000)]


@pytest.mark.parametrize("packed", ["gzip", "zstd", "bzip2"])
@pytest.mark.parametrize("cut", [0.5, 0.98])
def test_what_ends_too_early_is_refused(packed: str, cut: float, tmp_path: Path) -> None:
    """Exit code 2, and nothing is written: half a feed is no feed."""
    raw = PACKED[packed](TEXT.encode() * 40)
    (tmp_path / "feed").write_bytes(raw[: int(len(raw) * cut)])
    done = vitrine("import", tmp_path / "feed", "--to", tmp_path / "shop")
    assert done.exit_code == 2
    assert told(done.stderr)[0] == "a file that is whole"
    assert not (tmp_path / "shop").exists()


def test_a_folder_and_a_url_are_feeds(tmp_path: Path) -> None:
    """Files of a folder but those that begin with `_` or `.`; objects of a bucket, compressed as they are."""
    folder = tmp_path / "feed"
    folder.mkdir()
    (folder / "a.csv").write_text("id,title\n1,one\n")
    (folder / "b.csv").write_text("id,title\n2,two\n")
    (folder / "_c.csv").write_text("id,title\n3,three\n")
    rows, report = imported(folder, tmp_path / "shop")
    assert column(rows, "id") == ["1", "2"]
    assert [one["rows"] for one in report["files"]] == [1, 1]
    with fsspec.open("memory://feeds/a.csv.gz", "wb") as file:
        file.write(gzip.compress(TEXT.encode()))
    rows, report = imported("memory://feeds/a.csv.gz", tmp_path / "remote")
    assert len(rows) == 2_000
    assert report["files"][0]["name"] == "memory:///feeds/a.csv.gz"


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    """As a shell gives for `<(command)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(TEXT.encode(),))
    writer.start()
    rows, _ = imported(pipe, tmp_path / "shop")
    writer.join()
    assert len(rows) == 2_000


def test_a_closed_stdin_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has none then."""
    monkeypatch.setattr("pipeline.feeds.source.sys", type("Sys", (), {"stdin": None}))
    done = vitrine("import", "-", "--to", tmp_path / "shop")
    assert done.exit_code == 2
    assert told(done.stderr)[1] == "stdin is closed"


@pytest.mark.parametrize("encoding", ["klingon", "base64", "idna", "undefined"])
@pytest.mark.parametrize("text", ["id,title\n1,a\n", "<shop><item><id>1</id></item></shop>", '[{"id": 1}]'])
def test_an_encoding_that_is_none_is_refused(encoding: str, text: str, tmp_path: Path) -> None:
    """What Python calls a codec, and what nobody knows, whatever the syntax."""
    (tmp_path / "feed").write_text(text)
    done = vitrine("import", tmp_path / "feed", "--to", tmp_path / "shop", "--encoding", encoding)
    assert done.exit_code == 2
    assert told(done.stderr)[1] == f"--encoding {encoding}"


WRONG = {
    "nothing": ("nowhere.csv", "which does not exist"),
    "an empty folder": ("empty", "which has no file"),
    "a device": ("/dev/zero", "a device"),
    "an unknown sample": ("sample:bazaar", "sample:bazaar"),
    "an unknown scheme": ("nothing9://x/y", "nothing9"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_source_is_refused(case: str, tmp_path: Path) -> None:
    """Exit code 2 with what was named."""
    (tmp_path / "empty").mkdir()
    source, expected = WRONG[case]
    named = source if ":" in source or source.startswith("/") else str(tmp_path / source)
    done = vitrine("import", named, "--to", tmp_path / "shop")
    assert done.exit_code == 2
    assert expected in told(done.stderr)[1]


def test_the_feeds_own_folder_is_not_written_into(tmp_path: Path) -> None:
    """The catalog would be read as a feed the next time."""
    (tmp_path / "a.csv").write_text("id,title\n1,one\n")
    done = vitrine("import", tmp_path, "--to", tmp_path)
    assert done.exit_code == 2
    assert told(done.stderr)[0] == "--to apart from SOURCE"


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1; the products of the import before are whole, and no file of the failed one is left."""
    import_rows(tmp_path, "id,title\n1,one\n")
    before = {path.name: path.read_bytes() for path in (tmp_path / "shop").iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CatalogFile, "write", full)
    done = vitrine("import", tmp_path / "feed.csv", "--to", tmp_path / "shop")
    assert done.exit_code == 1
    assert "room on the disk" in told(done.stderr)[0]
    assert {path.name: path.read_bytes() for path in (tmp_path / "shop").iterdir()} == before


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no text of lines does not fill the memory."""
    monkeypatch.setattr("pipeline.feeds.delimited.text_encoding._MOST_LINE_BYTES", 2**20)
    monkeypatch.setattr("pipeline.feeds.delimited.text_encoding.BLOCK_BYTES", 2**19)
    (tmp_path / "feed").write_bytes(b"id,title\n" + b"x" * 2**21)
    done = vitrine("import", tmp_path / "feed", "--to", tmp_path / "shop")
    assert done.exit_code == 2
    assert told(done.stderr)[0] == "a feed of lines"
