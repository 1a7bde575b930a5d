"""Files whose names come from outside: a pipe or a device is told as what it is, at once, by every reader."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foundation.regular_files import IrregularFileError, OversizedFileError, open_regular, read_regular
from tests.support.command import told, vitrine


def test_a_regular_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    """As many bytes as the bound are read, one more is an error that says both, links are followed unless refused."""
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"0123456789")
    link.symlink_to(path)
    assert read_regular(path, 10) == read_regular(link, 10) == b"0123456789"
    with pytest.raises(OversizedFileError, match="file: 10 bytes or more, at most 9 are read"):
        read_regular(path, 9)
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(link, 10, follow_links=False)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 10)


def test_what_is_no_regular_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    """A pipe without a writer, an endless device, a folder and a socket: an error that names the kind, without a wait,
    and no handle left open.
    """
    os.mkfifo(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    before = len(os.listdir("/proc/self/fd"))
    server.bind(str(tmp_path / "socket"))
    kinds = {"pipe": "a pipe", "socket": "a socket", ".": "a folder", "/dev/zero": "a device"}
    for name, kind in kinds.items():
        with pytest.raises(IrregularFileError, match=f"{kind}, not a regular file") as caught:
            open_regular(tmp_path / name)
        assert caught.value.kind == kind
    assert len(os.listdir("/proc/self/fd")) == before
    server.close()


def test_a_file_that_says_it_is_empty_is_bounded_too() -> None:
    """What says it has 0 bytes is read no further than the bound."""
    with pytest.raises(OversizedFileError):
        read_regular("/proc/self/status", 10)


def _asked(name: str, published: Path, place: Path) -> list[object]:
    """A command that is given `place` where it expects a file."""
    if name == "queries with photos":
        pq.write_table(pa.table({"image": [str(place)]}), place.parent / "queries.parquet")
        return ["search", published, "--queries", place.parent / "queries.parquet"]
    return {
        "query photo": ["search", published, "--image", place],
        "queries": ["search", published, "--queries", place],
        "config": ["plan", "-c", place],
    }[name]


@pytest.mark.parametrize("what", ["pipe", "/dev/zero"])
@pytest.mark.parametrize("name", ["query photo", "queries with photos", "queries", "config"])
def test_no_command_waits_for_what_is_no_file(name: str, what: str, published: Path, tmp_path: Path) -> None:
    """A pipe nobody writes to, and a device without an end, in place of a file: told at once, exit 2."""
    if what == "pipe":
        os.mkfifo(tmp_path / what)
    done = vitrine(*_asked(name, published, tmp_path / what))
    assert (done.exit_code, done.stdout) == (2, "")
    assert {"pipe": "a pipe", "/dev/zero": "a device"}[what] in told(done.stderr)[1]


def test_a_query_photo_is_bounded_as_those_of_products(published: Path, tmp_path: Path) -> None:
    """A file of more bytes than the run allowed is not read to its end: the setting is named."""
    with (tmp_path / "huge.jpg").open("wb") as huge:
        huge.truncate(2**40)
    done = vitrine("search", published, "--image", tmp_path / "huge.jpg")
    expected, came, fix = told(done.stderr)
    assert done.exit_code == 2
    assert f"{20_000_000:,}" in expected
    assert f"{2**40:,}" in came
    assert "catalog.max_photo_bytes" in fix


def test_room_is_taken_for_what_a_file_has(tmp_path: Path) -> None:
    """A bound is no size: of a small file no more room is taken than it needs, whatever may be read."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_regular(path, 2**62) == b"0123456789"
