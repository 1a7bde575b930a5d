"""Files that appear whole: the pages, reports and lock files that others read while they are replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from encoders.models.lock import LOCK, Lock
from foundation.disk import replace_file, sync


def test_a_file_is_replaced_at_once_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old bytes stand until the new ones are on the disk; a disk that fails leaves them, and nothing beside."""
    path, seen = tmp_path / "page.html", list[tuple[bytes, int]]()
    path.write_bytes(b"old")
    fsync = os.fsync

    def watched(handle: int) -> None:
        seen.append((path.read_bytes(), os.fstat(handle).st_size))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    replace_file(path, b"newer")
    assert seen == [(b"old", 5)]
    assert path.read_bytes() == b"newer"

    def full(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        replace_file(path, b"lost")
    assert path.read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["page.html"]


def test_files_and_folders_are_synced_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file its bytes, of a folder its names; what is not there is an error."""
    synced = list[int]()
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    (tmp_path / "file").touch()
    sync(tmp_path / "file")
    sync(tmp_path)
    assert synced == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")


def test_a_lock_file_is_as_readable_as_other_files(tmp_path: Path) -> None:
    """Hosts that share a models folder read models.lock under other accounts than the one that pulled."""
    Lock().write(tmp_path)
    (tmp_path / "other").touch()
    assert stat.S_IMODE((tmp_path / LOCK).stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == sorted([LOCK, "other"])
